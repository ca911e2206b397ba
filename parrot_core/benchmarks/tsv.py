"""Reading TSV files as a stream, with the place of every row, and nothing run as code.

The cell of pictures is handed out as bytes and need not be kept: with its row's offset it can be
read again. A table of half a gigabyte costs a few megabytes. `None`, `NA` and `null` are texts;
only an empty cell is absent.
"""

import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from string import ascii_uppercase
from typing import BinaryIO

from parrot_core.errors import MissingError, UsageError

Cells = dict[str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it stands: its cells by column, without the empty ones, and its place.

    Attributes:
        cells: Text by column name; single capitals keep their case, other names are lower-cased.
        picture: The cell of pictures, if it is not empty.
        line: Number of the row's first line, from 1.
        offset: Bytes before the row.
    """

    cells: Cells
    picture: bytes
    line: int
    offset: int


def read_records(path: Path) -> Iterator[Record]:
    """Yields the rows of a TSV file.

    Raises:
        MissingError: if the file is not there.
        UsageError: if it is empty, not UTF-8, or a row has another number of cells than the header.
    """
    if not path.is_file():
        raise MissingError(f"no such table: {path}", hint="Check the path of the TSV file.")
    csv.field_size_limit(sys.maxsize)
    with path.open("rb") as file:
        rows = _rows(file, path=path)
        header = next(rows, None)
        if header is None:
            raise UsageError(f"{path} is empty", hint="A table begins with its columns' names.")
        names = _names(header[0], path=path)
        picture_at = names.index("image") if "image" in names else -1
        for cells, line, offset in rows:
            if len(cells) == 1 and not cells[0].strip():
                continue
            if len(cells) > len(names):
                raise UsageError(
                    f"{path}:{line}: {len(cells)} cells for {len(names)} columns",
                    hint="Quote cells that hold tabs or line ends.",
                )
            yield Record(
                cells={
                    name: text
                    for place, (name, cell) in enumerate(zip(names, cells, strict=False))
                    if place != picture_at and (text := _text(cell, path=path, line=line))
                },
                picture=cells[picture_at] if 0 <= picture_at < len(cells) else b"",
                line=line,
                offset=offset,
            )


def picture_cell(path: Path, offset: int) -> bytes:
    """Reads the cell of pictures of the row that begins at an offset."""
    names = column_names(path)
    with path.open("rb") as file:
        file.seek(offset)
        cells = next(_rows(file, path=path))[0]
    return cells[names.index("image")]


def column_names(path: Path) -> list[str]:
    """Returns the names of a table's columns; single capitals keep their case.

    Raises:
        MissingError: if the file is not there.
        UsageError: if it is empty or not UTF-8.
    """
    if not path.is_file():
        raise MissingError(f"no such table: {path}", hint="Check the path of the TSV file.")
    with path.open("rb") as file:
        header = next(_rows(file, path=path), None)
    if header is None:
        raise UsageError(f"{path} is empty", hint="A table begins with its columns' names.")
    return _names(header[0], path=path)


def _names(header: list[bytes], *, path: Path) -> list[str]:
    names = [_column(_text(cell, path=path, line=1).removeprefix("\ufeff")) for cell in header]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(
            f"{path} has two columns `{twice}`",
            hint="Leave one of them out, or name it differently.",
        )
    return names


def _column(name: str) -> str:
    name = name.strip()
    return name if name in ascii_uppercase and len(name) == 1 else name.lower()


def _rows(file: BinaryIO, *, path: Path) -> Iterator[tuple[list[bytes], int, int]]:
    """Yields (cells, line, offset); rows without a quotation mark need no more than a split."""
    line_number, offset = 0, file.tell()
    while line := file.readline():
        start_line, start = line_number + 1, offset
        if b'"' not in line:
            line_number += 1
            offset += len(line)
            yield line.rstrip(b"\r\n").split(b"\t"), start_line, start
            continue
        lines = _CountedLines(chain((line,), iter(file.readline, b"")))
        try:
            texts = next(csv.reader(lines, delimiter="\t"))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(
                f"{path}:{start_line}: not a row of a TSV file: {error}",
                hint="Save the table as UTF-8, tab-separated, with double quotes.",
            ) from error
        if lines.ran_out:
            raise UsageError(
                f"{path}:{start_line}: a quotation mark that is never closed",
                hint='Write quotation marks within a quoted cell twice: "".',
            )
        line_number += lines.count
        offset += lines.bytes
        yield [text.encode("utf-8") for text in texts], start_line, start


class _CountedLines:
    """Lines as text, how many lines and bytes were taken, and whether more were wanted."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Takes lines of UTF-8."""
        self._lines = iter(lines)
        self.count = self.bytes = 0
        self.ran_out = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.ran_out = True
            raise StopIteration
        self.count += 1
        self.bytes += len(line)
        return line.decode("utf-8")


def _text(cell: bytes, *, path: Path, line: int) -> str:
    try:
        return cell.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}:{line}: not UTF-8 (byte {error.object[error.start]:#04x})",
            hint="Save the table as UTF-8.",
        ) from error
