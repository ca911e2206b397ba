"""Records of a JSON array, of JSON lines or of Parquet, one at a time: any file costs one record.

An array is read in blocks and decoded element by element, so that a gigabyte of LLaVA samples is
neither held as text nor as objects, and every record keeps the line on which it begins. The rows of
a Parquet file are counted like lines.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from parrot_core.errors import MissingError, UsageError

_BLOCK = 1 << 20  # characters read at a time
_ROWS = 1024  # of a Parquet file, decoded at a time
_SPACE = " \t\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record and where it is.

    Attributes:
        path: The file.
        line: Line (of Parquet: row) on which the record begins, from 1.
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
        """The place as `file:line` of JSON lines, else `file:[index]`."""
        place = str(self.line) if self.path.suffix == ".jsonl" else f"[{self.index}]"
        return f"{self.path}:{place}"


def scan_records(path: Path, *, on_read: Callable[[int], None] | None = None) -> Iterator[Record]:
    """Yields every record of a file in order, those that are not JSON among them.

    A fault in a line of JSON lines costs that record; one in an array ends the scan, because what
    follows it cannot be told apart.

    Args:
        path: Parquet (`*.parquet`), JSON lines (`*.jsonl`) or else a JSON array.
        on_read: Called now and then with how many bytes of the file have been read.

    Raises:
        MissingError: if there is no such file.
        UsageError: if the file is none of these.
    """
    if not path.is_file():
        raise MissingError(f"no such data file: {path}", hint="Check the path.")
    report = on_read or (lambda _: None)
    if path.suffix == ".parquet":
        return _scan_parquet(path, report)
    return (_scan_lines if path.suffix == ".jsonl" else _scan_array)(path, report)


def keep_sources(sources: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Refuses to write over files that are read.

    Args:
        sources: Files that are read.
        outputs: Files that are to be written.

    Raises:
        UsageError: if one is among the others, under whatever name.
    """
    read = {source.resolve() for source in sources}
    for path in outputs:
        if path.resolve() in read:
            raise UsageError(
                f"{path} is read, and would be written over", hint="Choose another --out."
            )


def _scan_parquet(path: Path, on_read: Callable[[int], None]) -> Iterator[Record]:
    import pyarrow as pa
    from pyarrow import parquet

    index = 0
    try:
        with parquet.ParquetFile(path) as file:
            size, rows = path.stat().st_size, file.metadata.num_rows
            for batch in file.iter_batches(batch_size=_ROWS):
                for value in batch.to_pylist():
                    yield Record(path=path, line=index + 1, index=index, value=value)
                    index += 1
                on_read(size * index // rows)
    except (pa.ArrowException, OSError) as error:
        where = f" from row {index + 1} on" if index else ""
        raise UsageError(
            f"{path} is not readable as Parquet{where}: {str(error).splitlines()[0]}",
            hint="Fetch or write the file again.",
        ) from error


def _scan_lines(path: Path, on_read: Callable[[int], None]) -> Iterator[Record]:
    index = done = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            done += len(line)
            if not line.strip():
                continue
            value, problem = None, None
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                value = json.loads(text.rstrip())  # else a cut line would be faulty in the next
            except UnicodeDecodeError as error:
                problem = f"not UTF-8 at byte {error.start} of the line"
            except json.JSONDecodeError as error:
                problem = f"not JSON: {error.msg} at column {error.colno}"
            except RecursionError:
                problem = "not usable JSON: nested too deeply"
            yield Record(path=path, line=number, index=index, value=value, problem=problem)
            index += 1
            if index % _ROWS == 0:
                on_read(done)


def _scan_array(path: Path, on_read: Callable[[int], None]) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        window = _Window(file, on_read)
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

    def __init__(self, file: TextIO, on_read: Callable[[int], None]) -> None:
        self.text = ""
        self.at = 0
        self._file = file
        self._on_read = on_read
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
        self._on_read(self._file.buffer.tell())
        if block:
            _ = self.line
            self.text = self.text[self.at :] + block
            self.at = self._counted = 0
        return bool(block)
