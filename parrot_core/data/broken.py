"""Broken samples: none is passed over in silence, and no more than were allowed."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from parrot_core.data.images import ImageError
from parrot_core.data.samples import Sample
from parrot_core.errors import UsageError

logger = logging.getLogger(__name__)

_SHOWN = 10


class BrokenSamples:
    """Counts the broken samples that a run comes upon, over all its processes.

    Processes share the count through a file, to which each appends a line per sample; a run that
    is resumed counts on.

    Args:
        allowed: How many there may be.
        known: How many were left out before the run began; they count too.
        file: JSONL with a line per broken sample; None counts for this process alone.
    """

    def __init__(self, *, allowed: int, known: int = 0, file: Path | None = None) -> None:
        self.allowed = allowed
        self.known = known
        self._file = file
        self._found: dict[str, str] = {}

    def add(self, sample: Sample, error: UsageError) -> None:
        """Notes a sample that cannot be used.

        Raises:
            UsageError: with its place, if that is one too many.
        """
        if self.allowed == 0:
            raise with_place(sample.origin, error) from error
        found = self.found()
        is_new = sample.origin not in found
        if is_new:
            found[sample.origin] = error.problem
            self._append({"place": sample.origin, "id": sample.id, "problem": error.problem})
        if self.known + len(found) > self.allowed:
            raise too_many(
                list(found.items()), count=self.known + len(found), allowed=self.allowed
            ) from error
        if is_new:
            logger.warning("left out: %s: %s", sample.origin, error.problem)

    def found(self) -> dict[str, str]:
        """Returns the place of every sample found so far, by any process, and what is wrong."""
        if self._file is not None and self._file.is_file():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self._found[entry["place"]] = entry["problem"]
        return self._found

    def forget(self) -> None:
        """Begins to count anew."""
        self._found = {}
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _append(self, entry: dict[str, str]) -> None:
        if self._file is None:
            return
        # One write to a file that is opened to append: lines of several processes do not mix.
        line = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)


def with_place(origin: str, error: UsageError) -> UsageError:
    """Returns the same error with the place of the sample that it is about."""
    problem = f"{origin}: {error.problem}"
    if isinstance(error, ImageError):
        return ImageError(problem, kind=error.kind, hint=error.hint)
    return UsageError(problem, hint=error.hint)


def too_many(
    broken: Sequence[tuple[str, str]], *, count: int, allowed: int, image_kind: str | None = None
) -> UsageError:
    """Returns the error that there are more broken samples than were allowed.

    Args:
        broken: Places and problems of the first of them.
        count: How many there are.
        allowed: How many there may be.
        image_kind: What is wrong with the images (as in `ImageError`), if it is that.
    """
    lines = [f"{place}: {problem}" for place, problem in broken[:_SHOWN]]
    if count > len(lines):
        lines.append(f"… and {count - len(lines):,} more")
    if allowed:
        lines[-1] += f" ({count:,} broken samples, {allowed:,} are allowed)"
    remedy = "mend or remove" if image_kind is None else "see that the images are there, remove"
    hint = f"`parrot data check` finds them all: {remedy} them, or set max_bad_samples to {count}."
    problem = "\n".join(lines)
    if image_kind is None:
        return UsageError(problem, hint=hint)
    return ImageError(problem, kind=image_kind, hint=hint)
