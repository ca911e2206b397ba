"""Beginning a run, or going on with one that was cut off."""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from parrot_core.errors import MissingError, UsageError
from parrot_core.recipe import Recipe
from parrot_core.training.checkpoints import (
    FOLDER,
    MARKER,
    PREFIX,
    Checkpoint,
    check_identity,
    remove_others,
    whole_checkpoints,
)
from parrot_core.training.runs import RUN_FILE, open_run, read_log, read_run
from parrot_core.training.world import World, wait_for_all

_EXECUTION = (
    "device_batch_size",
    "offload",
    "tf32",
    "gradient_checkpointing",
    "fused_kernels",
    "packing",
    "cache_vision_features",
    "save_every",
    "keep",
    "zero",
    "data",
)
"""Keys of a stage that do not say what is learned, or that are part of an identity otherwise."""


def identity_of(
    recipe: Recipe,
    stage: int | str,
    *,
    data: Mapping[str, Any],
    start: str,
    zero: int,
    processes: int,
) -> dict[str, Any]:
    """What a run is: two of the same identity learn the same.

    Args:
        recipe: What it does.
        stage: `language-model`, 1 or 2.
        data: What it learns from.
        start: What it starts from.
        zero: What DeepSpeed shards; 0 if it is not used.
        processes: How many there are; with DeepSpeed each saves its own share.
    """
    whole = dataclasses.asdict(recipe)
    section = "language_model" if stage == "language-model" else f"stage{stage}"
    settings = {name: value for name, value in whole[section].items() if name not in _EXECUTION}
    identity = {
        "stage": str(stage),
        "recipe": recipe.name,
        "seed": recipe.seed,
        "languages": recipe.languages,
        "model": whole["model"],
        section: settings,
        "data": data,
        "start": start,
        "zero": zero,
        "processes": processes if zero else None,
    }
    plain: dict[str, Any] = json.loads(json.dumps(identity))  # as it will be read again
    return plain


class Runs:
    """The folder of a run, as one of its processes sees it.

    Args:
        output: The folder.
        world: The processes.
    """

    def __init__(self, output: Path, *, world: World) -> None:
        self.output = output
        self.checkpoints = output / FOLDER
        self.finished = False
        self._world = world

    @contextmanager
    def open(self) -> Iterator["Runs"]:
        """Makes the folder, and keeps other runs out of it meanwhile.

        Raises:
            MissingError: if it cannot be written.
            UsageError: if another run is at work in it.
        """
        with open_run(self.output) if self._world.is_first else nullcontext():
            wait_for_all(self._world)
            yield self

    def find(self, identity: Mapping[str, Any], *, resume: bool) -> Checkpoint | None:
        """Finds where a run begins: None is the beginning. A finished run sets `finished`.

        Args:
            identity: What the run is.
            resume: Whether it goes on with one that was cut off.

        Raises:
            UsageError: if that would throw away a run, or what is there is of another.
            MissingError: if what is there is damaged.
        """
        if resume:
            return self._resume(identity)
        self._begin()
        return None

    def _begin(self) -> None:
        """Begins anew.

        Raises:
            UsageError: if that would throw away a run that was cut off.
        """
        found = whole_checkpoints(self.checkpoints)
        if found and self._finished_identity() != found[-1].identity:
            raise UsageError(
                f"{self.output} holds a run that was cut off, saved at step {found[-1].step}",
                hint="Go on with it by --resume, choose another --output, or remove "
                f"{self.checkpoints}.",
            )
        wait_for_all(self._world)
        if self._world.is_first:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        wait_for_all(self._world)

    def _resume(self, identity: Mapping[str, Any]) -> Checkpoint | None:
        """Finds where to go on; None is the beginning. A finished run sets `finished`.

        Raises:
            UsageError: if what is there is of another run.
            MissingError: if all that is there is damaged.
        """
        if self._finished_identity() == identity:
            self.finished = True
            return None
        found = whole_checkpoints(self.checkpoints)
        if found:
            check_identity(found[-1], identity)
        elif any(self.checkpoints.glob(f"{PREFIX}*/{MARKER}")):
            raise MissingError(
                f"no checkpoint in {self.checkpoints} is whole any more",
                hint="Copy one there again, or begin anew without --resume.",
            )
        wait_for_all(self._world)
        if self._world.is_first:
            remove_others(self.checkpoints, found)  # what was cut off while it was saved
        wait_for_all(self._world)
        return found[-1] if found else None

    def _finished_identity(self) -> Mapping[str, Any] | None:
        """Of the run whose result the folder holds."""
        return read_run(self.output / RUN_FILE).get("identity")

    def last_loss(self) -> float | None:
        """The loss that the log ends with."""
        entries = read_log(self.output)
        return entries[-1]["loss"] if entries else None
