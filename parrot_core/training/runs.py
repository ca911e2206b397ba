"""The folder of a run: what is written there, and never half."""

import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock, Timeout
from safetensors import SafetensorError

import parrot_core
from parrot_core.errors import MissingError, UsageError
from parrot_core.recipe import Recipe, recipe_as_json

logger = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
RUN_FILE = "run.json"
_SAVING = ".saving"
_LOCK = ".lock"
_KILLED_RUNS_END_WITHIN = 10.0
"""Seconds. The system lifts a lock when the last process is gone that had it: data is loaded in
processes that look every five seconds whether the one that trains is still there."""


@contextmanager
def open_run(output: Path) -> Iterator[None]:
    """Makes the folder of a run, and keeps other runs out of it meanwhile.

    Raises:
        MissingError: if it cannot be written.
        UsageError: if another run is at work in it.
    """
    lock = FileLock(output / _LOCK)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_KILLED_RUNS_END_WITHIN)
    except Timeout as error:
        raise UsageError(
            f"another run is at work in {output}", hint="Wait for it, or choose another --output."
        ) from error
    except NotImplementedError:
        logger.warning("the disk of %s cannot lock: start no second run there meanwhile", output)
    except OSError as error:
        raise MissingError(
            f"cannot write to {output}: {error.strerror}", hint="Choose another --output."
        ) from error
    try:
        shutil.rmtree(output / _SAVING, ignore_errors=True)  # left by a run that was cut off
        yield
    finally:
        (output / _LOCK).unlink(missing_ok=True)  # a run's folder is handed on, and this is no part
        lock.release()


def _umask() -> int:
    """What the user keeps from others; it can only be asked for by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def save_run(
    output: Path,
    *,
    recipe: Recipe,
    stage: str,
    facts: Mapping[str, Any],
    save: Callable[[Path], None],
) -> None:
    """Puts a trained model into its run's folder, whole or not at all.

    Everything is written beside what is there first, and takes its place only when it is complete;
    `run.json` comes last, so a folder that has it is whole.

    Args:
        output: Folder of the run.
        recipe: Saved with the run, every default filled in.
        stage: `language-model`, `1` or `2`.
        facts: What else to note in `run.json`.
        save: Writes the model's files into the folder that it is given.

    Raises:
        MissingError: if there is no room; what the folder held before is still there.
    """
    staging = output / _SAVING
    run = {
        "stage": stage,
        "recipe": recipe.name,
        "seed": recipe.seed,
        **facts,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "parrot": parrot_core.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    try:
        staging.mkdir()
        save(staging)
        (staging / "recipe.json").write_text(recipe_as_json(recipe), encoding="utf-8")
        (staging / RUN_FILE).write_text(json.dumps(run, indent=2), encoding="utf-8")
        files = sorted(path for path in staging.rglob("*") if path.is_file())
        usual = 0o666 & ~_umask()
        for path in files:
            path.chmod(usual)  # some are written for their owner alone, but checkpoints are shared
            with path.open("rb") as file:
                os.fsync(file.fileno())
    except (OSError, SafetensorError) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise MissingError(
            f"cannot save to {output}: {error}",
            hint="Make room and run the stage again with --resume; what the folder held before is "
            "untouched.",
        ) from error
    (output / RUN_FILE).unlink(missing_ok=True)  # from here on the folder holds two runs' files
    names = {path.relative_to(staging) for path in files}
    for stale in output.glob("*.safetensors*"):
        if stale.relative_to(output) not in names:  # would be loaded in place of the new ones
            stale.unlink()
    for name in sorted(names, key=lambda name: name.name == RUN_FILE):
        target = output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(target)
    shutil.rmtree(staging)


@contextmanager
def log_file(
    output: Path, *, after: int = 0, active: bool = True
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Opens `log.jsonl` and yields a function that appends one object, at once.

    Args:
        output: Folder of the run.
        after: The step of the checkpoint that the run goes on from: lines up to it stay, those of
            later steps will be written again.
        active: Whether this process writes; the function does nothing elsewhere.

    Raises:
        MissingError: if there is no room, here or by the function.
    """
    if not active:
        yield lambda entry: None  # noqa: ARG005 - another process writes it
        return
    path = output / LOG_FILE
    kept = [entry for entry in read_log(output) if entry["step"] <= after] if after else []
    staged = output / f".{LOG_FILE}"
    # Without a buffer: what found no room would be written again, and fail again, at the end.
    with staged.open("wb", buffering=0) as file:

        def append(entry: Mapping[str, Any]) -> None:
            line = (json.dumps(entry) + "\n").encode()
            try:
                while line:  # a disk that fills up takes a part of it first
                    line = line[file.write(line) :]
            except OSError as error:
                raise MissingError(
                    f"cannot write to {path}: {error.strerror}",
                    hint="Make room; --resume goes on from the newest checkpoint.",
                ) from error

        for entry in kept:
            append(entry)
        os.fsync(file.fileno())
        staged.replace(path)
        yield append


def read_log(output: Path) -> list[dict[str, Any]]:
    """Reads the lines of a run's log; a killed process may have left the last one half-written."""
    path = output / LOG_FILE
    lines = path.read_bytes().splitlines() if path.is_file() else []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def read_run(path: Path) -> dict[str, Any]:
    """What `run.json` says of a finished run; nothing, if there is none or it cannot be read."""
    if not path.is_file():
        return {}
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # neither JSON nor UTF-8
        logger.warning("%s is not readable and is passed over: %s", path, error)
        return {}
    return run if isinstance(run, dict) else {}


def find_stage(name: str, *, stage: str, beside: Path, default: Path) -> Path | None:
    """Finds the newest finished run of a stage of a recipe.

    Args:
        name: Of the recipe.
        stage: `language-model` or `1`.
        beside: The folder of the run that wants it; its siblings are looked at first.
        default: Where such a run lies if nobody said otherwise.
    """
    siblings = sorted(beside.parent.glob(f"*/{RUN_FILE}")) if beside.parent.is_dir() else []
    found = []
    for path in [*siblings, default / RUN_FILE]:
        run = read_run(path)
        if run.get("stage") == stage and run.get("recipe") == name:
            found.append((run.get("finished", ""), path.parent))
    return max(found)[1] if found else None
