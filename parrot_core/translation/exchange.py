"""Tables of work for people, in the formats that their tools open: CSV, JSON lines, XLIFF 1.2."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from parrot_core.errors import MissingError, UsageError
from parrot_core.translation.tables import read_table

FORMATS = ("csv", "jsonl", "xliff")
"""File formats; CSV is UTF-8 with a byte order mark, which Excel and LibreOffice recognise."""

_XLIFF = "urn:oasis:names:tc:xliff:document:1.2"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
# What XML 1.0 cannot hold, however it is written.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNIT = re.compile(r"<(?:\w+:)?trans-unit\b")
_UNTOUCHED = ("needs-", "new")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkRow:
    """One row of a table of work.

    Attributes:
        row: Identity of the task.
        hash: Hash of what the task showed.
        language: Code of the language to translate into.
        step: The step.
        source: The source text.
        texts: The translation to work on, or the versions to choose from.
        reason: Why a review is wanted, or empty.
        answer: What the person wrote: a text, or the number of the best version from 1; empty if
            nothing; `=` for the translation as it is.
        comment: What else the person wrote.
        line: Line of the file it was read from on which it begins.
    """

    row: str
    hash: str
    language: str
    step: str
    source: str
    texts: tuple[str, ...]
    reason: str = ""
    answer: str = ""
    comment: str = ""
    line: int = 0


def write_rows(rows: Sequence[WorkRow], path: Path, *, kind: str, source_language: str) -> None:
    """Writes a table of work.

    Args:
        rows: The rows; for XLIFF of one language, and none of a vote.
        path: The file.
        kind: One of `FORMATS`.
        source_language: Code of the language of the source texts.

    Raises:
        UsageError: if the format cannot hold the rows.
    """
    writers: dict[str, Callable[[Sequence[WorkRow]], str]] = {
        "csv": _to_csv,
        "jsonl": _to_jsonl,
        "xliff": lambda found: _to_xliff(found, source_language=source_language),
    }
    if kind not in writers:
        raise UsageError(f"no such format: {kind!r}", hint=f"Formats: {', '.join(FORMATS)}.")
    text = writers[kind](rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8-sig" if kind == "csv" else "utf-8", newline="")


def read_rows(path: Path) -> list[WorkRow]:
    """Reads a table of work, in the format that its name ends with (.csv, .jsonl, .xlf, .xliff).

    Raises:
        MissingError: if there is no such file.
        UsageError: if it cannot be read; names the line where it can.
    """
    if not path.is_file():
        raise MissingError(f"no such file: {path}", hint="Check the path.")
    readers: dict[str, Callable[[Path], Iterator[WorkRow]]] = {
        ".csv": _from_csv,
        ".jsonl": lambda path: _from_jsonl(_text_in(path), path),
        ".xlf": lambda path: _from_xliff(_text_in(path), path),
        ".xliff": lambda path: _from_xliff(_text_in(path), path),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path}: unknown format {path.suffix!r}",
            hint=f"Known: {', '.join(readers)}; a spreadsheet saves its table as CSV UTF-8.",
        )
    return list(reader(path))


def _text_in(path: Path) -> str:
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", hint="Save it in UTF-8.") from error


def _to_csv(rows: Sequence[WorkRow]) -> str:
    most = max((len(row.texts) for row in rows), default=1)
    votes = any(row.step == "vote" for row in rows)
    names = [f"version_{n}" for n in range(1, most + 1)] if votes else ["translation"]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(
        ["row", "hash", "language", "step", "source", *names, "answer", "comment", "reason"]
    )
    for row in rows:
        texts = [*row.texts, *[""] * (len(names) - len(row.texts))]
        cells = [row.row, row.hash, row.language, row.step, row.source, *texts]
        writer.writerow([_guard(cell) for cell in [*cells, row.answer, row.comment, row.reason]])
    return buffer.getvalue()


def _guard(cell: str) -> str:
    """Keeps a spreadsheet from taking a text for a formula (`- a list`, `=1`)."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _unguard(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell


def _from_csv(path: Path) -> Iterator[WorkRow]:
    rows = read_table(
        path,
        delimiters=",;\t",
        needed=("row", "hash", "answer"),
        hint="Keep the columns of the exported file.",
    )
    _, names = next(rows)
    for line, cells in rows:
        found = dict(zip(names, map(_unguard, cells), strict=True))
        versions = [text for name, text in found.items() if name.startswith("version_")]
        yield _row(found, versions or [found.get("translation", "")], line=line)


def _row(found: dict[str, str], texts: Iterable[str], *, line: int) -> WorkRow:
    return WorkRow(
        row=found.get("row", "").strip(),
        hash=found.get("hash", "").strip(),
        language=found.get("language", ""),
        step=found.get("step", ""),
        source=found.get("source", ""),
        texts=tuple(text for text in texts if text),
        reason=found.get("reason", ""),
        answer=found.get("answer", "").strip(),
        comment=found.get("comment", "").strip(),
        line=line,
    )


def _to_jsonl(rows: Sequence[WorkRow]) -> str:
    return "".join(
        json.dumps(
            {
                "row": row.row,
                "hash": row.hash,
                "language": row.language,
                "step": row.step,
                "source": row.source,
                "texts": row.texts,
                "answer": row.answer,
                "comment": row.comment,
                "reason": row.reason,
            },
            ensure_ascii=False,
        )
        + "\n"
        for row in rows
    )


def _from_jsonl(text: str, path: Path) -> Iterator[WorkRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise TypeError("a row is an object")
            texts = [_text_of("texts", part) for part in record.pop("texts", None) or ()]
            fields = {name: _text_of(name, value) for name, value in record.items()}
            yield _row(fields, texts, line=number)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path}:{number}: {error}", hint="Mend or remove it.") from error


def _text_of(name: str, value: object) -> str:
    """Returns a cell of a JSON line; what has lost its numbers' type on the way is whole again."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{name} is {value!r:.40}, not a text")


def _to_xliff(rows: Sequence[WorkRow], *, source_language: str) -> str:
    languages = {row.language for row in rows}
    if any(row.step == "vote" for row in rows):
        raise UsageError("XLIFF has no place for votes", hint="Export votes as csv or jsonl.")
    if len(languages) > 1:
        raise UsageError(
            f"an XLIFF file has one language, not {', '.join(sorted(languages))}",
            hint="Give --language.",
        )
    ElementTree.register_namespace("", _XLIFF)
    root = ElementTree.Element(_tag("xliff"), {"version": "1.2"})
    attributes = {
        "original": "parrot",
        "datatype": "plaintext",
        "source-language": source_language,
        "target-language": min(languages, default=source_language),
    }
    body = ElementTree.SubElement(
        ElementTree.SubElement(root, _tag("file"), attributes), _tag("body")
    )
    space = "{http://www.w3.org/XML/1998/namespace}space"
    for row in rows:
        unit = ElementTree.SubElement(
            body, _tag("trans-unit"), {"id": f"{row.row}.{row.hash}", space: "preserve"}
        )
        ElementTree.SubElement(unit, _tag("source")).text = _NOT_XML.sub("\ufffd", row.source)
        text = row.texts[0] if row.texts else ""
        state = "needs-review-translation" if text else "new"
        target = ElementTree.SubElement(unit, _tag("target"), {"state": state})
        target.text = _NOT_XML.sub("\ufffd", text)
        if row.reason:
            ElementTree.SubElement(unit, _tag("note"), {"from": "parrot"}).text = row.reason
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _from_xliff(text: str, path: Path) -> Iterator[WorkRow]:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UsageError(f"{path}: a document type is not read", hint="Save plain XLIFF 1.2.")
    try:
        # The declaration may name the file's former encoding; the text is decoded already.
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except ElementTree.ParseError as error:
        raise UsageError(f"{path}: not XML: {error}", hint="Export it again.") from error
    if root.tag != _tag("xliff"):
        raise UsageError(f"{path} is not XLIFF 1.2", hint="Export it as XLIFF 1.2.")
    for line, unit in zip(_lines_of_units(text), root.iter(_tag("trans-unit")), strict=False):
        row, _, content = unit.get("id", "").partition(".")
        target = unit.find(_tag("target"))
        answer, state = "", "new"
        if target is not None:
            answer, state = "".join(target.itertext()), target.get("state", "")
        if unit.get("approved") != "yes" and (not state or state.startswith(_UNTOUCHED)):
            # Tools that keep no states leave the old one, or none, on what was changed; the review
            # of the rows, which knows the exported text, drops what is as it was.
            answer = f"\0{answer}"
        source = unit.find(_tag("source"))
        note = unit.find(f"{_tag('note')}[@from='translator']")
        yield WorkRow(
            row=row,
            hash=content,
            language="",
            step="",
            source="" if source is None else "".join(source.itertext()),
            texts=(),
            answer=answer,
            comment="" if note is None else "".join(note.itertext()),
            line=line,
        )


def _lines_of_units(text: str) -> Iterator[int]:
    """Yields the line on which each unit begins: the tree that XML is read into has none."""
    line, at = 1, 0
    for match in _UNIT.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        yield line


def _tag(name: str) -> str:
    return f"{{{_XLIFF}}}{name}"
