"""The library's Trainer with Parrot's batches, learning rates, log and checkpoints."""

import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    Trainer,
)

from parrot_core.errors import MissingError, UsageError
from parrot_core.model.supervision import IGNORED_LABEL
from parrot_core.training import checkpoints
from parrot_core.training.batches import (
    FILLER_KEY,
    IMAGES_KEY,
    LANGUAGES_KEY,
    Batch,
    RankBatches,
)
from parrot_core.training.settings import Engine, Run, Schedule
from parrot_core.training.stopping import StopRequest, ignore_interrupts
from parrot_core.training.tally import Tally
from parrot_core.training.warnings import RouterWatch
from parrot_core.training.world import sum_over, wait_for_all

logger = logging.getLogger(__name__)

TRAINED_FILE = "trained.safetensors"

_TORCH_WRITES = ("PytorchStreamWriter", "inline_container")
"""Named in the errors of torch's writer of files, which are no `OSError`."""


class ParrotTrainer(Trainer):
    """One loop for a laptop's core and for DeepSpeed on many GPUs.

    Args:
        schedule: How to optimise.
        engine: How to execute.
        run: Where the run stands, and who hears of it.
        batches: This process's micro-batches, from the first step to the last.
        experts: E; 0 without experts.
        library: The library's own arguments.
    """

    def __init__(
        self,
        *,
        schedule: Schedule,
        engine: Engine,
        run: Run,
        batches: RankBatches,
        experts: int,
        **library: Any,  # noqa: ANN401 - the library's
    ) -> None:
        super().__init__(**library)
        self._schedule = schedule
        self._engine = engine
        self._run = run
        self._batches = batches
        self._routers = RouterWatch()
        self.tally = Tally(run.languages, experts=experts, device=self.args.device)
        if run.resume is not None and run.world.is_first:
            self.tally.restore(dict(run.resume.counted))
        elif run.resume is not None:
            self.tally.restore_steps(run.resume.counted["steps"])
        self.stop = StopRequest()
        self.loss: float | None = None
        self.tokens_per_second: float | None = None
        self.samples_per_second: float | None = None
        self._since = time.perf_counter()

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This process's batches, ready-made: the library is to divide nothing."""
        workers = self._engine.data_workers
        samples: Any = self.train_dataset
        return DataLoader(
            samples,
            batch_sampler=self._batches,
            collate_fn=self.data_collator,
            num_workers=workers,
            worker_init_fn=ignore_interrupts if workers else None,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor | int | None]:
        """The micro-batches of a step, counted, and their supervised tokens on all processes."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        for batch in batches:
            if FILLER_KEY not in batch:
                tokens = int(batch["attention_mask"].sum())
                self.tally.count_input(tokens=tokens, samples=len(batch[LANGUAGES_KEY]))
        return batches, items

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> Tensor:
        """Supervised tokens of a step on all processes, by which each one's losses are divided."""
        items = torch.zeros((), dtype=torch.int64)
        for batch in batch_samples:
            if FILLER_KEY not in batch:
                items += (batch["labels"][:, 1:] != IGNORED_LABEL).sum()
        return sum_over(self._run.world, items).to(device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the library's
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:  # noqa: ANN401 - the library's
        """The loss of a micro-batch, scaled so that averaging over processes sums it."""
        languages, images = inputs.pop(LANGUAGES_KEY), inputs.pop(IMAGES_KEY)
        is_filler = inputs.pop(FILLER_KEY, None) is not None
        packing = {"pack": True} if self._engine.packing else {}
        outputs = model(**inputs, **packing, num_items_in_batch=num_items_in_batch)
        loss = outputs["loss"]
        if is_filler:
            loss = loss * 0.0
        else:
            self.tally.count_output(
                loss=loss,
                labels=inputs["labels"],
                languages=languages,
                token_losses=outputs.get("token_losses"),
                routing_weights=outputs.get("routing_weights"),
                images=images,
            )
        loss = loss * self._run.world.size
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over the parameters that learn, in one group per learning rate."""
        if self.optimizer is None:
            schedule = self._schedule
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

    def floating_point_ops(self, inputs: Batch) -> int:  # noqa: ARG002 - the library's
        """Not counted: the library's estimate does not know visual tokens."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes a line of the log, from what all processes counted since the last.

        Raises:
            UsageError: if the loss or the gradient's norm is no number.
        """
        if "loss" not in logs:
            return  # the library's last words on the whole run
        counted = self.tally.drain(self._run.world)
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self.loss = counted.pop("loss")
        self.tokens_per_second = counted.pop("tokens") / seconds
        self.samples_per_second = counted.pop("samples") / seconds
        self._check_finite("loss", self.loss)
        self._check_finite("gradient's norm", float(logs.get("grad_norm", 0.0)))
        if self.loss == 0.0:
            logger.warning("the loss is 0 at step %d: see the labels", self.state.global_step)
        self._routers.look_at(counted.get("routing_by_language", {}))
        line = {
            "step": self.state.global_step,
            "loss": self.loss,
            "learning_rate": float(logs["learning_rate"]),
            "tokens_per_second": self.tokens_per_second,
            "samples_per_second": self.samples_per_second,
            **({"grad_norm": float(logs["grad_norm"])} if "grad_norm" in logs else {}),
            **counted,
        }
        if self._run.world.is_first:
            self._run.log(line)
        super().log(_flat(line), start_time)
        self.state.log_history.clear()  # it is in the run's own log

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise UsageError(
                f"the {what} is {value} at step {self.state.global_step}",
                hint="Lower the learning rate, or see whether the data or the weights are broken.",
            )

    def save_model(
        self,
        output_dir: str | None = None,
        _internal_call: bool = False,  # noqa: FBT001, FBT002 - the library's
    ) -> None:
        """Saves the parameters that learn; DeepSpeed's are in its own files."""
        if output_dir is None or self.is_deepspeed_enabled or not self.args.should_save:
            return
        learner: Any = self.model
        learning = {
            name: parameter.detach().cpu().contiguous()
            for name, parameter in learner.named_parameters()
            if parameter.requires_grad
        }
        save_file(learning, Path(output_dir) / TRAINED_FILE)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        learner: Any = model or self.model
        own = dict(learner.named_parameters())
        with torch.no_grad():
            for name, value in load_file(Path(resume_from_checkpoint) / TRAINED_FILE).items():
                own[name].copy_(value)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:  # noqa: ANN401 - the library's
        """Saves a checkpoint that is whole or of no account.

        Raises:
            MissingError: if there is no room; the checkpoints before it are still there.
            UsageError: if the loss stopped being a number, and the weights with it, since the last
                line of the log; likewise.
        """
        run, step = self._run, self.state.global_step
        folder = Path(str(self.args.output_dir))
        counted = self.tally.collect(run.world)
        self._check_finite("loss", counted["loss"])
        try:
            if run.world.is_first:
                checkpoints.begin(folder, step)
            wait_for_all(run.world)
            super()._save_checkpoint(model, trial)
            wait_for_all(run.world)
            if run.world.is_first:
                path = folder / f"{checkpoints.PREFIX}{step}"
                checkpoints.finish(path, step=step, identity=run.identity, counted=counted)
                checkpoints.remove_old(folder, keep=self._engine.keep)
        except (OSError, SafetensorError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not any(n in str(error) for n in _TORCH_WRITES):
                raise  # not about the disk
            free = shutil.disk_usage(folder).free / 1e6
            checkpoints.remove_old(folder, keep=self._engine.keep)
            raise MissingError(
                f"cannot save the checkpoint of step {step} in {folder}: {_reason(error)} "
                f"({free:,.1f} MB are free there)",
                hint="Make room; --resume goes on from the checkpoint before.",
            ) from error
        wait_for_all(run.world)


def _flat(line: Mapping[str, Any]) -> dict[str, float]:
    """A line of the log with one number for each name, as TensorBoard wants them."""
    flat: dict[str, float] = {}
    for name, value in line.items():
        if not isinstance(value, Mapping):
            flat[name] = value
            continue
        for language, entry in value.items():
            values = entry if isinstance(entry, list) else [entry]
            for number, part in enumerate(values):
                suffix = f"/{number}" if isinstance(entry, list) else ""
                flat[f"{name}/{language}{suffix}"] = part
    flat.pop("step")
    return flat


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RuntimeError):
        return "the disk did not take all of it"
    return str(error).strip().splitlines()[0]
