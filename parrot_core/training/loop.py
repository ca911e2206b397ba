"""The one training loop, for every stage: the transformers Trainer with Parrot's habits."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import (
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from parrot_core.data.samples import Sample
from parrot_core.errors import UsageError

logger = logging.getLogger(__name__)

LOGGED_EVERY = 10
"""Optimiser steps between two lines of the log."""

_BATCHES_IN_A_GROUP = 16

Log = Callable[[Mapping[str, Any]], None]
Batch = dict[str, Tensor]


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
        bfloat16: Whether to compute in bfloat16 (autocast).
        group_by_length: Whether the samples of a batch are about equally long, which spares
            padding; without, every batch is a fair draw.
        seed: Of the order of samples and of whatever is drawn while training.
        learning_rates: Of single parameters that do not follow `learning_rate`, by name.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a stage stands: optimiser steps done and to do, and the latest loss."""

    step: int
    steps: int
    loss: float | None


def train(
    model: PreTrainedModel,
    samples: Dataset[Sample],
    *,
    collate: Callable[[list[Sample]], Batch],
    schedule: Schedule,
    log: Log,
    on_progress: Callable[[Progress], None] | None = None,
) -> float:
    """Trains the parameters of a model that require gradients.

    Args:
        model: Its forward takes what `collate` makes, and returns a loss.
        samples: What to learn from.
        collate: Makes a batch of samples.
        schedule: How.
        log: Takes one object per logged step: `step`, `loss`, `learning_rate`,
            `tokens_per_second`, `samples_per_second`.
        on_progress: Called after every step.

    Returns:
        The last logged loss.

    Raises:
        UsageError: if the loss stops being a number.
    """
    set_seed(schedule.seed)
    watch = _Watch(log=log, on_progress=on_progress)
    # The Trainer wants a folder for checkpoints of its own; Parrot's are written by `save_run`.
    with TemporaryDirectory() as scratch:
        trainer = _Trainer(
            model=model,
            args=_arguments(schedule, Path(scratch)),
            train_dataset=samples,
            data_collator=watch.counting(collate),
            callbacks=[watch],
        )
        trainer.schedule = schedule
        trainer.remove_callback(_console_callback(trainer))
        trainer.train()
    if watch.loss is None:
        raise UsageError("no step was trained", hint="Give more samples, epochs or steps.")
    return watch.loss


def _arguments(schedule: Schedule, scratch: Path) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    devices = max(1, torch.cuda.device_count())
    per_device, rest = divmod(schedule.global_batch_size, devices)
    if rest or not per_device:
        nearest = [count for count in (per_device * devices, (per_device + 1) * devices) if count]
        raise UsageError(
            f"a global batch of {schedule.global_batch_size} does not divide among {devices} GPUs",
            hint=f"Set global_batch_size to {' or '.join(map(str, nearest))}.",
        )
    return TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=per_device,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine",
        max_steps=schedule.steps if schedule.steps is not None else -1,
        num_train_epochs=schedule.epochs,
        warmup_steps=schedule.warmup_steps,
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.max_grad_norm,
        bf16=schedule.bfloat16,
        seed=schedule.seed,
        data_seed=schedule.seed,
        logging_steps=LOGGED_EVERY,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a loss that is no number is to be seen, not averaged away
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
    )


class _Trainer(Trainer):
    """The library's, with learning rates of single parameters."""

    schedule: Schedule

    def _get_train_sampler(self, train_dataset: Dataset[Sample] | None = None) -> Sampler[int]:
        """Batches of samples that are about equally long, so that little is padding."""
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        lengths = [0] * len(dataset)
        if self.schedule.group_by_length:
            samples: Iterable[Sample] = (dataset[index] for index in range(len(dataset)))
            lengths = [sum(len(turn.text) for turn in sample.turns) for sample in samples]
        return LengthGrouped(
            lengths, batch_size=self.schedule.global_batch_size, seed=self.args.seed
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over the parameters that learn, in one group per learning rate."""
        if self.optimizer is None:
            schedule = self.schedule
            own = schedule.learning_rates or {}
            groups: dict[float, list[nn.Parameter]] = {}
            learner: Any = model or self.model
            for name, parameter in learner.named_parameters():
                if parameter.requires_grad:
                    rate = own.get(name, schedule.learning_rate)
                    groups.setdefault(rate, []).append(parameter)
            self.optimizer = torch.optim.AdamW(
                [{"params": members, "lr": rate} for rate, members in groups.items()],
                lr=schedule.learning_rate,
                weight_decay=schedule.weight_decay,
                betas=(0.9, schedule.adam_beta2),
            )
        return self.optimizer


class LengthGrouped(Sampler[int]):
    """A seeded order in which neighbours are about equally long.

    Samples are shuffled, cut into groups of several batches, sorted within a group, and the batches
    shuffled again; every pass over the data draws another order.

    Args:
        lengths: Of each sample, in any unit.
        batch_size: Samples of a batch.
        seed: Of all orders.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called by the library before every pass."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yields every index once."""
        draw = random.Random(f"{self._seed}/{self._epoch}")
        order = draw.sample(range(len(self)), len(self))
        group = self._batch_size * _BATCHES_IN_A_GROUP
        batches = []
        for start in range(0, len(order), group):
            ranked = sorted(order[start : start + group], key=self._lengths.__getitem__)
            batches += [
                ranked[at : at + self._batch_size] for at in range(0, len(ranked), self._batch_size)
            ]
        whole = [batch for batch in batches if len(batch) == self._batch_size]
        rest = [batch for batch in batches if len(batch) < self._batch_size]
        draw.shuffle(whole)
        for batch in (*whole, *rest):  # a short batch anywhere else would shift all that follow
            yield from batch


class _Watch(TrainerCallback):
    """Turns the library's events into Parrot's log and progress."""

    def __init__(self, *, log: Log, on_progress: Callable[[Progress], None] | None) -> None:
        self.loss: float | None = None
        self._log = log
        self._on_progress = on_progress
        self._tokens = self._samples = 0
        self._since = time.perf_counter()

    def counting(self, collate: Callable[[list[Sample]], Batch]) -> Callable[[list[Sample]], Batch]:
        """Wraps a collator so that tokens and samples are counted as they pass."""

        def counted(samples: list[Sample]) -> Batch:
            batch = collate(samples)
            self._tokens += int(batch["attention_mask"].sum())
            self._samples += len(samples)
            return batch

        return counted

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the library's arguments
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, Any] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Appends a line to the log."""
        if not logs or "loss" not in logs:
            return
        self.loss = float(logs["loss"])
        if not math.isfinite(self.loss):
            raise UsageError(
                f"the loss is {self.loss} at step {state.global_step}",
                hint="Lower the learning rate, or see whether the data or the weights are broken.",
            )
        now = time.perf_counter()
        seconds = now - self._since
        self._log(
            {
                "step": state.global_step,
                "loss": self.loss,
                "learning_rate": float(logs["learning_rate"]),
                "tokens_per_second": self._tokens / seconds,
                "samples_per_second": self._samples / seconds,
            }
        )
        self._tokens = self._samples = 0
        self._since = now

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the library's arguments
        state: TrainerState,
        control: TrainerControl,
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Reports progress, and has the last step logged, which the library leaves out."""
        if state.global_step == state.max_steps:
            control.should_log = True
        if self._on_progress is not None:
            self._on_progress(
                Progress(step=state.global_step, steps=state.max_steps, loss=self.loss)
            )


def _console_callback(trainer: Trainer) -> type[TrainerCallback]:
    """The library's callback that prints its log, which only the command line may do."""
    callbacks: Iterable[TrainerCallback] = trainer.callback_handler.callbacks
    return next(type(entry) for entry in callbacks if type(entry).__name__ == "PrinterCallback")
