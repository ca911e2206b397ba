"""The one training loop, for every stage: the transformers Trainer with Parrot's habits."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, set_seed

from parrot_core.data.samples import Sample
from parrot_core.errors import GpuFullError, Stopped, UsageError
from parrot_core.machine import room_on_gpu
from parrot_core.training.batches import (
    BatchPlan,
    Drawn,
    LengthGrouped,
    Order,
    RankBatches,
    RunCollator,
    count_steps,
    plan_batches,
)
from parrot_core.training.deepspeed import deepspeed_config
from parrot_core.training.settings import Engine, Run, Schedule
from parrot_core.training.trainer import ParrotTrainer
from parrot_core.training.watch import Watch

_AMPERE = 8  # compute capability from which there is TF32


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What came of training.

    Attributes:
        loss: The last logged; None if no step was left to do.
        weights: On the first process, all weights, where the model itself holds only a share.
    """

    loss: float | None
    weights: Mapping[str, Tensor] | None = None


def train(
    model: PreTrainedModel,
    samples: Dataset[Sample],
    *,
    collate: Callable[[list[Sample]], Mapping[str, Any]],
    schedule: Schedule,
    run: Run,
    engine: Engine | None = None,
    order: Order | None = None,
) -> Trained:
    """Trains the parameters of a model that require gradients.

    Args:
        model: Its forward takes what `collate` makes, and returns a loss.
        samples: What to learn from.
        collate: Makes a batch of samples.
        schedule: How to optimise.
        run: Where the run stands, and who hears of it.
        engine: How to execute; plainly, by default.
        order: In which order samples are seen; by default all of them in every pass, and samples of
            about as many letters together.

    Raises:
        UsageError: if the loss stops being a number, the batch does not divide, or there is nothing
            to learn from.
        MissingError: if a checkpoint cannot be saved.
        GpuFullError: if the GPU's memory is too small.
        Stopped: if the process was asked to stop; the run is saved.
    """
    engine = engine or Engine()
    set_seed(schedule.seed)
    plan = plan_batches(
        schedule.global_batch_size,
        processes=run.world.size,
        per_device_at_most=engine.per_device_batch_size,
    )
    order = order or _order(samples, schedule)
    steps = schedule.steps
    if steps is None:
        steps = count_steps(
            len(order), global_batch_size=plan.global_batch_size, epochs=schedule.epochs
        )
    if not steps:
        raise UsageError("no step was trained", hint="Give more samples, epochs or steps.")
    config: Any = model.config
    has_images = "vision_config" in config.sub_configs
    with _folder(run.checkpoints) as folder:
        trainer = ParrotTrainer(
            schedule=schedule,
            engine=engine,
            run=run,
            batches=RankBatches(order, plan=plan, rank=run.world.rank, steps=steps),
            experts=config.num_experts if has_images and config.experts_enabled else 0,
            model=model,
            args=_arguments(schedule, engine, plan, folder, model, steps),
            train_dataset=Drawn(samples),
            data_collator=RunCollator(
                collate,
                languages=run.languages,
                seed=schedule.seed,
                dropped_channels=schedule.vision_feature_dropout,
                channels=config.vision_row.hidden_size(config.vision_config) if has_images else 0,
            ),
        )
        watch = Watch(
            trainer, run=run, save_every=engine.save_every if run.checkpoints is not None else None
        )
        trainer.add_callback(watch)
        trainer.remove_callback(_console_callback(trainer))
        with trainer.stop.listening():
            path = None if run.resume is None else str(run.resume.path)
            try:
                trainer.train(resume_from_checkpoint=path)
            except torch.OutOfMemoryError as error:
                raise _too_little_memory(plan, error) from error
        if watch.stopped:
            raise Stopped(
                f"stopped at step {trainer.state.global_step} of {steps}",
                hint="Saved; the same command with --resume goes on from there."
                if run.checkpoints is not None
                else None,
            )
        weights = None
        if engine.zero == 3:
            weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return Trained(loss=trainer.loss, weights=weights)


@contextmanager
def _folder(checkpoints: Path | None) -> Iterator[Path]:
    """The folder for checkpoints; the library wants one even where none are saved."""
    if checkpoints is not None:
        yield checkpoints
        with suppress(OSError):
            checkpoints.rmdir()  # nothing was saved there
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def _order(samples: Any, schedule: Schedule) -> LengthGrouped:  # noqa: ANN401 - can be gone through
    """Batches of samples that are about equally long, so that little is padding."""
    lengths = [0] * len(samples)
    if schedule.group_by_length:
        lengths = [sum(len(turn.text) for turn in sample.turns) for sample in samples]
    return LengthGrouped(lengths, batch_size=schedule.global_batch_size, seed=schedule.seed)


def _too_little_memory(plan: BatchPlan, error: torch.OutOfMemoryError) -> GpuFullError:
    peak = torch.cuda.max_memory_allocated()
    smaller = (
        f"device_batch_size = {plan.per_device // 2} (it is {plan.per_device}), "
        if plan.per_device > 1
        else ""
    )
    return GpuFullError(
        f"{room_on_gpu(error)}, and the step wanted more than {peak / 1e9:.1f}",
        hint=f"Set {smaller}gradient_checkpointing = true, zero = 3, or offload; "
        "parrot train --estimate says what each needs.",
    )


def _arguments(
    schedule: Schedule,
    engine: Engine,
    plan: BatchPlan,
    folder: Path,
    model: PreTrainedModel,
    steps: int,
) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    config: Any = model.config
    deepspeed = None
    if engine.zero:
        deepspeed = deepspeed_config(
            engine.zero,
            plan=plan,
            hidden_size=config.get_text_config().hidden_size,
            max_grad_norm=schedule.max_grad_norm,
            bfloat16=schedule.bfloat16,
            offload=engine.offload,
            overlap=cuda,
        )
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=plan.per_device,
        gradient_accumulation_steps=plan.accumulation,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine",
        max_steps=steps,
        warmup_steps=_warmup_steps(schedule, steps),
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.max_grad_norm,
        bf16=schedule.bfloat16,
        tf32=engine.tf32 if cuda and torch.cuda.get_device_capability()[0] >= _AMPERE else None,
        seed=schedule.seed,
        data_seed=schedule.seed,
        logging_steps=engine.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a loss that is no number is to be seen, not averaged away
        save_strategy="no",
        report_to=list(engine.report_to) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        # Of a vision encoder that learns, what comes after the layer that is read is never used.
        ddp_find_unused_parameters=any(
            parameter.requires_grad
            for name, parameter in model.named_parameters()
            if name.startswith("vision_encoder.")
        ),
        activation_checkpointing=engine.gradient_checkpointing,
        deepspeed=deepspeed,
    )
    # A process learns on one GPU. Of several that it sees, the library would divide every batch
    # among all by its first dimension, which of pictures and of samples is not the same.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _warmup_steps(schedule: Schedule, steps: int) -> int:
    """Steps in which the learning rate rises from 0.

    A share is rounded down. Rounded up, as the library would, even the only step of a short run
    would be one of them, and teach nothing.
    """
    if schedule.warmup_steps < 1:
        return int(schedule.warmup_steps * steps)
    return int(schedule.warmup_steps)


def _console_callback(trainer: Trainer) -> type[TrainerCallback]:
    """The library's callback that prints its log, which only the command line may do."""
    callbacks: Iterable[TrainerCallback] = trainer.callback_handler.callbacks
    return next(type(entry) for entry in callbacks if type(entry).__name__ == "PrinterCallback")
