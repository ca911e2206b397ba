"""The file of a run's answers: a line each, appended as they come, bound to a fingerprint.

A process that is killed loses at most the batch in flight: a torn last line is cut off, and the
next run goes on after the last whole one. Processes that share a run write a file each.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrot_core.benchmarks.base import Prompt
from parrot_core.errors import UsageError

ANSWERS = "answers.jsonl"


def fingerprint_of(parts: Mapping[str, object]) -> str:
    """Returns what changes with anything that answers depend on (SHA-256, 16 hex digits)."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def digest_of_file(path: Path) -> str:
    """Returns a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_prompts(prompts: Sequence[Prompt]) -> str:
    """Returns the SHA-256 of what is asked, words and pictures' places."""
    digest = hashlib.sha256()
    row: tuple[object, ...]
    for prompt in prompts:
        row = (prompt.key, prompt.language, prompt.text, [image.key for image in prompt.images])
        if prompt.candidates:
            row = (*row, dict(prompt.candidates))
        digest.update(json.dumps(row, ensure_ascii=False).encode("utf-8"))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of the work: the batches `number`, `number + of`, … counted from 1."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Reads `2/4`, the second process of four.

        Raises:
            UsageError: if it is not written so, or out of range.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
            raise UsageError(f"not a share of the work: {text!r}", hint="Write --share 2/4.")
        return cls(int(number), int(of))

    @property
    def file_name(self) -> str:
        """Name of the file that this process writes."""
        return ANSWERS if self.of == 1 else f"answers.{self.number}-of-{self.of}.jsonl"


class AnswerFile:
    """The answers of one run in a folder.

    Args:
        folder: The run's folder; made if it is not there.
        fingerprint: Of the run. Answers of another run in the same place are kept beside, under
            their own fingerprint, and come back if that run is asked for again.
        identity: What the fingerprint is made of, written down in the first line.
        share: This process's part.

    Raises:
        UsageError: if the folder cannot be written to, or another run is writing in it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fingerprint: str,
        identity: Mapping[str, object],
        share: Share | None = None,
    ) -> None:
        """Prepares the folder; nothing is written before the first answer."""
        self.folder, self.fingerprint, self.identity = folder, fingerprint, dict(identity)
        self.path = folder / (share or Share()).file_name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._make_room(self.path)
        except OSError as error:
            raise _unwritable(folder, error) from error

    def read(self) -> dict[str, str]:
        """Returns the answers that are there, of every process that shares the run, by key."""
        answers: dict[str, str] = {}
        for path in sorted(self.folder.glob("answers*.jsonl")):
            if _fingerprint_in(path) == self.fingerprint:
                answers.update(_answer_in(row, path) for row in _whole_lines(path) if "key" in row)
        return answers

    @contextmanager
    def writer(self) -> Iterator["AnswerWriter"]:
        """Opens the file for appending; one process at a time.

        Raises:
            UsageError: if another process is writing it, or it cannot be written.
        """
        try:
            with self.path.open("a+b") as file:
                _lock(file, self.path)
                _cut_torn_line(file)
                writer = AnswerWriter(file)
                if file.tell() == 0:
                    writer.append({"fingerprint": self.fingerprint, "run": self.identity})
                yield writer
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def complete(self, order: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Replaces the file by one in the order of the questions, whoever answered them.

        Args:
            order: Keys, and what else a line says of each.
        """
        answers = self.read()
        target = self.folder / ANSWERS
        temporary = self.path.with_suffix(".part")  # its own: two may finish at the same time
        try:
            self._make_room(target)
            with temporary.open("wb") as file:
                writer = AnswerWriter(file)
                writer.append({"fingerprint": self.fingerprint, "run": self.identity})
                for key, row in order:
                    writer.append({"key": key, **row, "prediction": answers[key]})
                writer.sync()
            temporary.replace(target)
        except OSError as error:
            raise _unwritable(target, error) from error

    def _make_room(self, path: Path) -> None:
        """Puts another run's answers aside, and takes this run's back if they were."""
        there = _fingerprint_in(path)
        if there is not None and there != self.fingerprint:
            with path.open("rb") as file:
                _lock(file, path)
                path.replace(path.with_name(f"{path.stem}.{there}.jsonl.other"))
        aside = path.with_name(f"{path.stem}.{self.fingerprint}.jsonl.other")
        if not path.exists() and aside.exists():
            aside.replace(path)


class AnswerWriter:
    """Appends lines; a line is on its way to the disk when `append` returns."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - a binary file
        """Takes a file that is open for appending."""
        self._file = file

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes one line."""
        self._file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Waits until what was written would survive a power cut."""
        os.fsync(self._file.fileno())


def read_header(path: Path) -> dict[str, Any]:
    """Returns the first line of a run's answers: its fingerprint and what that is made of.

    Raises:
        UsageError: if the file does not begin so.
    """
    first = next(_whole_lines(path), None)
    if first is None or "fingerprint" not in first:
        raise UsageError(f"{path} is not a run's answers", hint="Name the folder of a run.")
    return first


def _lock(file: Any, path: Path) -> None:  # noqa: ANN401 - an open file
    """Takes the lock that whoever writes a file of answers holds, until the file is closed.

    Raises:
        UsageError: if another process has it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"{path} is being written by another process",
            hint="Wait for it, choose another --output, or share with --share 1/2.",
        ) from error


def _answer_in(row: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """Returns the key and the answer of a line."""
    key, answer = row["key"], row.get("prediction")
    if not isinstance(key, str) or not isinstance(answer, str):
        raise UsageError(f"{path} has a line that is no answer", hint="Remove the line.")
    return key, answer


def _fingerprint_in(path: Path) -> str | None:
    if not path.is_file():
        return None
    first = next(_whole_lines(path), {})
    return str(first.get("fingerprint", "unknown"))


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines that were written to their end."""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise UsageError(
                    f"{path} has a line that is no JSON object",
                    hint="Remove the line, or the file.",
                )
            yield row


def _cut_torn_line(file: Any) -> None:  # noqa: ANN401 - a binary file
    """Cuts off a last line that a killed process did not finish."""
    end = file.seek(0, os.SEEK_END)
    keep = end
    while keep > 0:
        start = max(0, keep - 4096)
        file.seek(start)
        newline = file.read(keep - start).rfind(b"\n")
        if newline >= 0:
            keep = start + newline + 1
            break
        keep = start
    if keep != end:
        file.truncate(keep)
    file.seek(0, os.SEEK_END)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write {path}: {error.strerror or error}",
        hint="Choose another --output, or free some space; what is written stays.",
    )
