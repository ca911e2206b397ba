"""Reading someone's answers: TSV, XLSX or JSONL with the columns `index` and `prediction`."""

import codecs
import json
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from parrot_core.benchmarks.base import UNDETERMINED, Question
from parrot_core.benchmarks.tables import language_of_code, language_of_name, whole_number
from parrot_core.benchmarks.tsv import column_names, read_records
from parrot_core.errors import MissingError, UsageError

_log = logging.getLogger(__name__)

_WORKBOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_STRINGS = "xl/sharedStrings.xml"
_RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LARGEST_PART = 1 << 30  # bytes of one part of a spreadsheet, unpacked


def read_predictions(path: Path, questions: Sequence[Question]) -> dict[str, object]:
    """Reads answers and puts them to their questions.

    A row belongs to the question of its `index`; where several tables are scored at once, `key`,
    `SUB_DATASET` or `language` tells which. Rows that are said to be of other tables or languages
    are left out. A file of the toolkit's that joins tables has numbered their rows anew, and is
    read by its `original_index`.

    Args:
        path: A `.tsv`, `.xlsx` or `.jsonl` file.
        questions: What was asked.

    Returns:
        Answers by the question's key.

    Raises:
        MissingError: if the file is not there.
        UsageError: if it is of another kind, or a row has no index, one that the data have not, or
            one that is there twice.
    """
    if not path.is_file():
        raise MissingError(f"no such file of answers: {path}", hint="Check --predictions.")
    readers = {".tsv": _from_tsv, ".xlsx": _from_xlsx, ".jsonl": _from_jsonl}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"answers in a {path.suffix or 'nameless'} file: {path}",
            hint=f"Give one of: {', '.join(readers)}.",
        )
    finder = _Finder(questions, path=path)
    rows = list(reader(path))
    if any("original_index" in row for _, row in rows) and not all(map(finder.knows, rows)):
        rows = [(origin, {**row, "index": row.get("original_index")}) for origin, row in rows]
    predictions: dict[str, object] = {}
    for origin, row in rows:
        if "prediction" not in row:
            raise UsageError(f"{origin}: no prediction", hint="Add a column `prediction`.")
        key = finder.key_of(row, origin=origin)
        if key is None:
            continue
        if key in predictions:
            raise UsageError(
                f"{origin}: index {key.rpartition('/')[2]} is there twice", hint="Keep one row."
            )
        predictions[key] = _as_answer(row["prediction"], origin=origin)
    if not predictions:
        raise UsageError(
            f"{path} has no answers to these questions", hint="Check that it is the right file."
        )
    if elsewhere := len(rows) - len(predictions):
        _log.warning("%s: %d answers are to other tables or languages: left out", path, elsewhere)
    return predictions


def _as_answer(value: object, *, origin: str) -> object:
    """Returns an answer as it stands; what is null is an answer without words.

    Raises:
        UsageError: if it is neither a text nor a number.
    """
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise UsageError(
            f"{origin}: the prediction is neither a text nor a number",
            hint="One answer for each question, as text.",
        )
    return value


class _Finder:
    """Finds the question that a row answers."""

    def __init__(self, questions: Sequence[Question], *, path: Path) -> None:
        """Arranges questions by what a row may say of them."""
        self._keys = {question.key for question in questions}
        self._languages = {question.language for question in questions}
        self._tables = {question.table.lower(): question.table for question in questions}
        self._named = language_of_name(path.stem)
        self._by_place: dict[tuple[str | None, int], set[str]] = {}
        for question in questions:
            for place in (None, question.table, question.language):
                self._by_place.setdefault((place, question.index), set()).add(question.key)

    def knows(self, entry: tuple[str, Mapping[str, Any]]) -> bool:
        """Whether a row's question is found, or not asked for."""
        origin, row = entry
        try:
            self.key_of(row, origin=origin)
        except UsageError:
            return False
        return True

    def key_of(self, row: Mapping[str, Any], *, origin: str) -> str | None:
        """Returns the key of the question that a row answers; None if it says that it is not here.

        Raises:
            UsageError: if there is none, or more than one.
        """
        key = str(row.get("key"))
        if key in self._keys:
            return key
        index = whole_number(str(row.get("index", "")))
        if index is None:
            raise UsageError(
                f"{origin}: index {row.get('index', '')!r} is no whole number",
                hint="A column `index` says which question a row answers.",
            )
        for place in self._places(row):
            found = self._by_place.get((place, index), set())
            if len(found) == 1:
                return next(iter(found))
            if found:
                raise UsageError(
                    f"{origin}: index {index} is in several tables",
                    hint="Add a column `language` or `SUB_DATASET`, or score one table at a time.",
                )
        if self._is_elsewhere(row):
            return None
        raise UsageError(
            f"{origin}: the data have no index {index}",
            hint="Check that --predictions and --data belong together.",
        )

    def _places(self, row: Mapping[str, Any]) -> list[str | None]:
        """Returns where to look for a row's index: what it says itself, or the file's name."""
        table, language = self._stated(row)
        if table in self._tables:
            return [self._tables[table]]
        if language is not None and UNDETERMINED not in self._languages:
            return [language]
        return [self._named, None]

    def _is_elsewhere(self, row: Mapping[str, Any]) -> bool:
        """Whether a row says that it is of a language of which nothing is asked."""
        table, language = self._stated(row)
        return (
            table not in self._tables
            and language is not None
            and not self._languages & {language, UNDETERMINED}
        )

    def _stated(self, row: Mapping[str, Any]) -> tuple[str, str | None]:
        """Returns the table and the language that a row says it is of."""
        table = str(row.get("sub_dataset") or row.get("table") or "")
        language = language_of_name(table)
        if language is None and row.get("language"):
            language = language_of_code(str(row["language"]))
        return table.lower(), language


def _from_tsv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    names = column_names(path)
    if "prediction" not in names:
        raise UsageError(f"{path}: no column `prediction`", hint="Columns: index, prediction.")
    for record in read_records(path):
        cells: dict[str, Any] = {"prediction": "", **record.cells}
        yield f"{path.name}:{record.line}", cells


def _from_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(codecs.BOM_UTF8).strip()
            if not text:
                continue
            origin = f"{path.name}:{number}"
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise UsageError(
                    f"{origin}: not JSON in UTF-8: {error}", hint="Mend or remove it."
                ) from error
            if not isinstance(row, dict):
                raise UsageError(f"{origin}: not a JSON object", hint="One object a line.")
            if "fingerprint" in row and "prediction" not in row:
                continue  # the first line of a run's own answers
            yield origin, {str(name).lower(): value for name, value in row.items()}


def _from_xlsx(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads the first sheet of a spreadsheet; its first row names the columns."""
    try:
        with zipfile.ZipFile(path) as book:
            strings = _shared_strings(book)
            sheet = ElementTree.fromstring(_part(book, _first_sheet(book, path=path), path=path))
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise UsageError(
            f"{path} is not a spreadsheet that can be read: {error}",
            hint="Save it as .xlsx again, or as .tsv.",
        ) from error
    names: dict[str, str] = {}
    for number, row in enumerate(sheet.iter(f"{_SPACE}row"), start=1):
        cells = dict(_cells(row, strings))
        if not names:
            names = {column: str(text).strip().lower() for column, text in cells.items()}
            if "prediction" not in names.values():
                raise UsageError(
                    f"{path}: no column `prediction`", hint="Name it in the first row."
                )
            continue
        values = {names[column]: value for column, value in cells.items() if column in names}
        if values:
            yield f"{path.name}:{number}", {"prediction": "", **values}


def _first_sheet(book: zipfile.ZipFile, *, path: Path) -> str:
    """Returns the name of the part that holds the first sheet, which need not be `sheet1.xml`.

    Raises:
        KeyError: if the book has no sheet.
    """
    sheets = ElementTree.fromstring(_part(book, _WORKBOOK, path=path)).iter(f"{_SPACE}sheet")
    wanted = next((sheet.get(_RELATION_ID) for sheet in sheets), None)
    for relation in ElementTree.fromstring(_part(book, _RELATIONS, path=path)):
        target = relation.get("Target", "")
        if relation.get("Id") == wanted and target:
            return target[1:] if target.startswith("/") else f"xl/{target}"
    raise KeyError("no sheet")


def _part(book: zipfile.ZipFile, name: str, *, path: Path) -> bytes:
    if book.getinfo(name).file_size > _LARGEST_PART:
        raise UsageError(f"{path}: {name} is too large", hint="Save the answers as .tsv.")
    data = book.read(name)
    if b"<!DOCTYPE" in data[:2048]:
        raise UsageError(f"{path}: {name} declares a DTD", hint="Save the answers as .tsv.")
    return data


def _shared_strings(book: zipfile.ZipFile) -> list[str]:
    if _STRINGS not in book.namelist():
        return []
    root = ElementTree.fromstring(_part(book, _STRINGS, path=Path(book.filename or "")))
    return ["".join(text.text or "" for text in item.iter(f"{_SPACE}t")) for item in root]


def _cells(row: ElementTree.Element, strings: Sequence[str]) -> Iterator[tuple[str, object]]:
    for cell in row.iter(f"{_SPACE}c"):
        column = re.match(r"[A-Z]+", cell.get("r", ""))
        value = cell.find(f"{_SPACE}v")
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            text: object = "".join(part.text or "" for part in cell.iter(f"{_SPACE}t"))
        elif value is None or value.text is None:
            continue
        elif kind == "s":
            text = strings[int(value.text)]
        else:
            text = value.text if kind in ("str", "b", "e") else _number(value.text)
        if column:
            yield column[0], text


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
