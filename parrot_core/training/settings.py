"""What the training loop is given: how to optimise, how to execute, and whom to tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parrot_core.recipe import Offload, Zero
from parrot_core.training.checkpoints import KEPT, Checkpoint
from parrot_core.training.world import World

LOGGED_EVERY = 10
"""Optimiser steps between two lines of the log, if nobody says otherwise."""

Log = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How a stage is optimised: AdamW, warm-up, then a cosine down to zero.

    Attributes:
        learning_rate: At its highest.
        global_batch_size: Samples per optimiser step.
        steps: Optimiser steps; None where `epochs` count.
        epochs: Passes over the data.
        warmup_steps: Below 1 a share of all steps, else steps.
        weight_decay: Of AdamW.
        adam_beta2: Of AdamW, the decay of its second moments.
        max_grad_norm: To which gradients are clipped.
        bfloat16: Whether to compute in bfloat16.
        group_by_length: Whether the samples of a batch are about equally long, which spares
            padding; without, every batch is a fair draw.
        seed: Of the order of samples and of whatever is drawn while training.
        learning_rates: Of single parameters that do not follow `learning_rate`, by name.
        vision_feature_dropout: Share of the vision features' channels that are zeroed.
    """

    learning_rate: float
    global_batch_size: int
    steps: int | None = None
    epochs: float = 1.0
    warmup_steps: float = 0.03
    weight_decay: float = 0.0
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    bfloat16: bool = False
    group_by_length: bool = True
    seed: int = 0
    learning_rates: Mapping[str, float] | None = None
    vision_feature_dropout: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """How a stage is executed; none of it changes what is learned.

    Attributes:
        zero: What DeepSpeed shards over processes; 0 does without DeepSpeed.
        offload: What DeepSpeed keeps in the host's memory.
        gradient_checkpointing: Compute activations again in the backward pass, to save memory.
        packing: Whether the samples of a forward pass are one row without padding; only Parrot's
            own model knows how.
        per_device_batch_size: The most samples of a forward pass; None sets no limit.
        data_workers: Processes that load data for each process; 0 loads in between.
        save_every: Optimiser steps between two checkpoints; None saves only when asked to stop.
        keep: How many of the newest checkpoints are kept.
        log_every: Optimiser steps between two lines of the log.
        tf32: Whether what is left in float32 may use TF32, on GPUs that have it.
        report_to: Further places for the log: `tensorboard`, `wandb`.
    """

    zero: Zero = 0
    offload: Offload = "none"
    gradient_checkpointing: bool = False
    packing: bool = False
    per_device_batch_size: int | None = None
    data_workers: int = 0
    save_every: int | None = None
    keep: int = KEPT
    log_every: int = LOGGED_EVERY
    tf32: bool = True
    report_to: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a stage stands.

    Attributes:
        step: Optimiser steps done.
        steps: Optimiser steps in all.
        loss: The latest logged.
        tokens_per_second: On all processes, the latest logged.
        samples_per_second: Likewise.
        seconds_left: At the speed so far.
    """

    step: int
    steps: int
    loss: float | None
    tokens_per_second: float | None = None
    samples_per_second: float | None = None
    seconds_left: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Where a run stands, and who hears of it.

    Attributes:
        log: Takes one object per logged step: `step`, `loss`, `learning_rate`,
            `tokens_per_second`, `samples_per_second`, and loss and routing by language.
        on_progress: Called after every step.
        world: The processes.
        languages: Codes by which loss and routing are told apart.
        checkpoints: Folder for them; None saves none.
        identity: What a checkpoint must have been of to be gone on from.
        resume: Where to go on from.
    """

    log: Log
    on_progress: Callable[[Progress], None] | None = None
    world: World = field(default_factory=World)
    languages: tuple[str, ...] = ()
    checkpoints: Path | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    resume: Checkpoint | None = None
