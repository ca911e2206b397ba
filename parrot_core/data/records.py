"""Records of a JSON array or of JSON lines, one at a time: a file of any size costs one record.

An array is read in blocks and decoded element by element, so that a gigabyte of LLaVA samples is
neither held as text nor as objects, and every record keeps the line on which it begins.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from parrot_core.errors import MissingError, UsageError

_BLOCK = 1 << 20  # characters read at a time
_SPACE = " \t\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record and where it is.

    Attributes:
        path: The file.
        line: Line on which the record begins, from 1.
        index: Which record of the file it is, from 0.
        value: What was decoded, or None if it is not JSON.
        problem: Why it is not JSON, or None if it is.
    """

    path: Path
    line: int
    index: int
    value: Any
    problem: str | None = None

    @property
    def origin(self) -> str:
        """The place as `file:line` of JSON lines, or `file:[index]` of a JSON array."""
        place = str(self.line) if self.path.suffix == ".jsonl" else f"[{self.index}]"
        return f"{self.path}:{place}"


def scan_records(path: Path) -> Iterator[Record]:
    """Yields every record of a file in order, those that are not JSON among them.

    A fault in a line of JSON lines costs that record; one in an array ends the scan, because what
    follows it cannot be told apart.

    Raises:
        MissingError: if there is no such file.
        UsageError: if the file is neither JSON lines nor a JSON array.
    """
    if not path.is_file():
        raise MissingError(f"no such data file: {path}", hint="Check the path.")
    return _scan_lines(path) if path.suffix == ".jsonl" else _scan_array(path)


def _scan_lines(path: Path) -> Iterator[Record]:
    index = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            value, problem = None, None
            try:
                value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                problem = f"not UTF-8 at byte {error.start} of the line"
            except json.JSONDecodeError as error:
                problem = f"not JSON: {error.msg} at column {error.colno}"
            except RecursionError:
                problem = "not usable JSON: nested too deeply"
            yield Record(path=path, line=number, index=index, value=value, problem=problem)
            index += 1


def _scan_array(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        window = _Window(file)
        index, line = 0, 1
        try:
            if window.peek() != "[":
                raise UsageError(
                    f"{path} is not a JSON array of samples",
                    hint="Wrap the samples in [ ], or name JSON lines *.jsonl.",
                )
            window.skip()
            while (following := window.peek()) != "]":
                if index:
                    if following != ",":
                        raise json.JSONDecodeError("expected ',' or ']'", window.text, window.at)
                    window.skip()
                    window.peek()
                line = window.line
                yield Record(path=path, line=line, index=index, value=window.decode())
                index += 1
            window.skip()
            if window.peek():
                raise json.JSONDecodeError("text after the array", window.text, window.at)
        except json.JSONDecodeError as error:
            line = window.line_of(error.pos)
            problem = f"not JSON: {error.msg}"
        except UnicodeDecodeError:
            line, problem = window.line, "not UTF-8 from here on"
        except RecursionError:
            problem = "not usable JSON: nested too deeply"
        else:
            return
        yield Record(path=path, line=line, index=index, value=None, problem=problem)


class _Window:
    """The part of a file's text that is being decoded."""

    def __init__(self, file: IO[str]) -> None:
        self.text = ""
        self.at = 0
        self._file = file
        self._lines_before = 1  # number of the line on which `text` begins
        self._counted = 0  # where in `text` the count of `line` stands
        self._ended = False
        self._decoder = json.JSONDecoder()

    @property
    def line(self) -> int:
        """The line of the current character."""
        self._lines_before += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._lines_before

    def line_of(self, position: int) -> int:
        """The line of a character of the text at or after the current one."""
        return self.line + self.text.count("\n", self.at, position)

    def peek(self) -> str:
        """Skips white space and returns the character that follows, or "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text) or not self._more(_BLOCK):
                return self.text[self.at : self.at + 1]

    def skip(self) -> None:
        """Passes over the current character."""
        self.at += 1

    def decode(self) -> Any:  # noqa: ANN401 - JSON can be anything
        """Decodes the value that begins at the current character, and passes over it."""
        size = _BLOCK
        while True:
            try:
                value, end = self._decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError:
                if not self._more(size):
                    raise
            else:
                # A number that touches the end of the block may go on in the next.
                if end < len(self.text) or not self._more(size):
                    self.at = end
                    return value
            size *= 2  # so that a record of any length costs a few attempts, not one a block

    def _more(self, size: int) -> bool:
        """Reads on, dropping what has been passed over; False at the end of the file."""
        if self._ended:
            return False
        block = self._file.read(size)
        self._ended = not block
        if block:
            _ = self.line
            self.text = self.text[self.at :] + block
            self.at = self._counted = 0
        return bool(block)
