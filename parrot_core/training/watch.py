"""What happens between the steps of a run."""

import time
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from parrot_core.training.settings import Progress, Run
from parrot_core.training.trainer import ParrotTrainer
from parrot_core.training.world import any_of


class Watch(TrainerCallback):
    """What happens between steps: counting, progress, saving, and being asked to stop."""

    def __init__(self, trainer: ParrotTrainer, *, run: Run, save_every: int | None) -> None:
        self._trainer = trainer
        self._run = run
        self._save_every = save_every
        self._began = time.perf_counter()
        self._first_step = run.resume.step if run.resume is not None else 0
        self.stopped = False

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the library's arguments
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Gives parameters that a step did not use a gradient of zero, as among processes.

        AdamW would pass them over, momentum and all, if the step happened to have no image.
        """
        trainer = self._trainer
        if trainer.is_deepspeed_enabled:
            return
        learner: Any = trainer.model
        for parameter in learner.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the library's arguments
        state: TrainerState,
        control: TrainerControl,
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Reports progress, and says what is due."""
        trainer, is_last = self._trainer, state.global_step == state.max_steps
        trainer.tally.count_step()
        if self._run.on_progress is not None and self._run.world.is_first:
            done = state.global_step - self._first_step
            spent = time.perf_counter() - self._began
            self._run.on_progress(
                Progress(
                    step=state.global_step,
                    steps=state.max_steps,
                    loss=trainer.loss,
                    tokens_per_second=trainer.tokens_per_second,
                    samples_per_second=trainer.samples_per_second,
                    seconds_left=spent / done * (state.max_steps - state.global_step),
                )
            )
        if is_last:
            control.should_log = True  # the library leaves it out
        elif self._save_every and state.global_step % self._save_every == 0:
            control.should_save = True
        if any_of(self._run.world, trainer.stop.received) and not is_last:
            self.stopped = True
            control.should_save = control.should_training_stop = True
