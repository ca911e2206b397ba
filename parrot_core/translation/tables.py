"""Tables of delimited text as spreadsheets and people write them, read strictly."""

import csv
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from parrot_core.errors import MissingError, UsageError


def read_table(
    path: Path, *, delimiters: str, needed: Collection[str], hint: str
) -> Iterator[tuple[int, list[str]]]:
    """Yields the header of a table and its rows, each with the line on which it begins.

    White space around the header's names is removed, empty rows are left out, short ones filled up
    with empty cells.

    Args:
        path: The file, in UTF-8 or, with a byte order mark as Excel's "Unicode text" has, UTF-16.
        delimiters: Signs that may separate cells; the one that the first line has most often does.
        needed: Columns that must be there, once.
        hint: What to do about columns that are missing.

    Raises:
        MissingError: if there is no such file.
        UsageError: if cells cannot be told apart: an open quotation mark, more cells than columns,
            letters that are not UTF-8; names the line where it can.
    """
    if not path.is_file():
        raise MissingError(f"no such table: {path}", hint="Check the path.")
    csv.field_size_limit(sys.maxsize)  # a text may be long
    with path.open("rb") as file:
        wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    line = 1
    try:
        with path.open(encoding="utf-16" if wide else "utf-8-sig", newline="") as text:
            # Excel writes what the computer's region separates lists with.
            delimiter = max(delimiters, key=text.readline().count)
            text.seek(0)
            # Strict, because an open quotation mark would swallow all rows after it.
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(rows, [])]
            _check_columns(names, needed, path=path, hint=hint)
            yield line, names
            line = rows.line_num + 1
            for cells in rows:
                if len(cells) > len(names) and any(map(str.strip, cells)):
                    raise UsageError(
                        f"{path}:{line}: more cells than columns",
                        hint=f"A text with {delimiter!r} in it stands in quotation marks.",
                    )
                if any(map(str.strip, cells)):
                    yield line, cells + [""] * (len(names) - len(cells))
                line = rows.line_num + 1
    except csv.Error as error:
        raise UsageError(
            f"{path}:{line}: not a table: {error}",
            hint="A quotation mark in a text is doubled, and the text stands in quotation marks.",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8", hint='Save it as "CSV UTF-8" so that no letter is lost.'
        ) from error


def _check_columns(names: list[str], needed: Collection[str], *, path: Path, hint: str) -> None:
    missing = sorted(set(needed) - set(names))
    doubled = sorted(name for name in needed if names.count(name) > 1)
    if missing or doubled:
        problem = f"no column {', '.join(missing)}" if missing else f"two columns {doubled[0]}"
        raise UsageError(f"{path}:1: {problem}", hint=hint)
