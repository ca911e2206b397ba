"""Checkpoints of a run that is under way: whole or of no account, and at least two of them.

A checkpoint is a folder. Its last file is the marker `checkpoint.json`, which takes its place only
when everything else is on the disk: a folder without one is what a killed process left behind. It
names all files with their sizes, so that what was lost later, by a copy that was cut short, shows.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrot_core.errors import UsageError

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
MARKER = "checkpoint.json"
PREFIX = "checkpoint-"
KEPT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A whole checkpoint.

    Attributes:
        path: Its folder.
        step: Optimiser steps done.
        identity: What the run was: another run cannot go on from here.
        counted: What its log had counted and not yet written.
    """

    path: Path
    step: int
    identity: Mapping[str, Any]
    counted: Mapping[str, Any]


def whole_checkpoints(folder: Path) -> list[Checkpoint]:
    """Finds the whole checkpoints of a run, the oldest first."""
    found = []
    for marker in folder.glob(f"{PREFIX}*/{MARKER}"):
        try:
            entry = json.loads(marker.read_text(encoding="utf-8"))
            files = entry.pop("files", {})  # markers of earlier days name none
            checkpoint = Checkpoint(path=marker.parent, **entry)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            logger.warning("%s is not readable, its checkpoint is passed over: %s", marker, error)
            continue
        there = _sizes(marker.parent)
        damaged = [name for name, size in files.items() if there.get(name) != size]
        if damaged:
            logger.warning(
                "%s is passed over: %s missing or cut short", marker.parent, ", ".join(damaged)
            )
            continue
        found.append(checkpoint)
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def begin(folder: Path, step: int) -> Path:
    """Makes room for a checkpoint: whatever was in its place is gone, its marker first."""
    path = folder / f"{PREFIX}{step}"
    (path / MARKER).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def finish(path: Path, *, step: int, identity: Mapping[str, Any], counted: object) -> None:
    """Declares a checkpoint whole, after all of it has reached the disk.

    Raises:
        OSError: if it cannot be written.
    """
    flush_to_disk(path)
    staged = path / f".{MARKER}"
    entry = {"step": step, "identity": identity, "counted": counted, "files": _sizes(path)}
    with staged.open("w", encoding="utf-8") as file:
        json.dump(entry, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path / MARKER)
    for folder in (path, path.parent):
        _flush(folder)


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file below a folder but its marker."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def flush_to_disk(folder: Path) -> None:
    """Returns when every file below a folder has reached the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_old(folder: Path, *, keep: int = KEPT) -> None:
    """Removes all but the newest whole checkpoints, and what killed processes left half-written."""
    remove_others(folder, whole_checkpoints(folder)[-keep:])


def remove_others(folder: Path, kept: Sequence[Checkpoint]) -> None:
    """Removes all but these, whole or not."""
    paths = {checkpoint.path for checkpoint in kept}
    for path in folder.glob(f"{PREFIX}*"):
        if path not in paths:
            (path / MARKER).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)


def check_identity(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Refuses to go on from a checkpoint of another run.

    Raises:
        UsageError: naming what differs, with both values.
    """
    was, is_now = _flatten(checkpoint.identity), _flatten(identity)
    changed = [key for key in {**was, **is_now} if was.get(key) != is_now.get(key)]
    if not changed:
        return
    only_processes = set(changed) <= {"processes", "zero"}
    if only_processes and not was["zero"]:
        raise UsageError(
            f"{checkpoint.path} was saved without ZeRO, and this run uses ZeRO-{is_now['zero']}",
            hint=f"Resume with --processes 1, or without it: --set stage{is_now['stage']}.zero=0.",
        )
    if only_processes and "processes" in changed:
        raise UsageError(
            f"{checkpoint.path} was saved by {was['processes']} processes with ZeRO-{was['zero']}, "
            "each of which holds its share of the optimiser; "
            f"{is_now['processes'] or 'a process alone'} cannot read it",
            hint=f"Resume with --processes {was['processes']}.",
        )
    lines = [f"{key} was {was.get(key)!r}, is {is_now.get(key)!r}" for key in changed]
    more = f" and {len(lines) - 4} more" if len(lines) > 4 else ""
    raise UsageError(
        f"{checkpoint.path} is of another run: {'; '.join(lines[:4])}{more}",
        hint="Resume with the same recipe, data and --set, or choose another --output.",
    )


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
