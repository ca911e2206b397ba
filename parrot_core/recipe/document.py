"""A recipe's text as TOML, read past faulty lines so that all mistakes can be told at once."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parrot_core.recipe.positions import Key, key_positions

_MOST_FAULTS = 20
_WHERE = re.compile(r"(.*) \(at line (\d+), column \d+\)", re.DOTALL)
_STATEMENT = re.compile(r"\s*([\w.\"'-]+)\s*=")
_WORD = re.compile(r"[A-Za-z./][\w ./-]*")
_HEADER = re.compile(r"\s*\[")
_TWICE = ("Cannot overwrite a value", "Cannot declare", "Cannot mutate immutable")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What can be read of a recipe's text.

    Attributes:
        table: Its values, without the lines that cannot be read.
        lines: The line of every section, key and list element, from 1.
        faults: Lines that cannot be read, and why.
        complete: Whether everything but those lines was read.
        unread_keys: Names of keys on those lines.
    """

    table: Mapping[str, Any]
    lines: Mapping[Key, int]
    faults: tuple[tuple[int, str], ...] = ()
    complete: bool = True
    unread_keys: frozenset[str] = frozenset()

    def lost(self, key: Key, problem: str) -> bool:
        """Whether a key is only missing because its line could not be read."""
        return problem.endswith("is missing") and key[-1] in self.unread_keys


def read_document(text: str) -> Document:
    """Reads TOML; a line that is at fault by itself is noted and passed over."""
    lines = text.splitlines()
    faults: list[tuple[int, str]] = []
    unread: set[str] = set()
    while True:
        readable = "\n".join(lines)
        try:
            table = tomllib.loads(readable)
        except tomllib.TOMLDecodeError as error:
            match = _WHERE.fullmatch(str(error))
            number = int(match[2]) if match else len(lines)
            reason = (match[1] if match else str(error)).replace("\n", r"\n")
            line = lines[number - 1] if lines else ""
            twice = reason.startswith(_TWICE)
            faults.append((number, _describe(line, reason, lines, number, twice=twice)))
            statement = _STATEMENT.match(line)
            if statement and not twice:
                unread.add(statement[1].split(".")[-1].strip("\"'"))
            if len(faults) == _MOST_FAULTS or not (twice or _faulty_by_itself(line)):
                return Document(table={}, lines={}, faults=tuple(faults), complete=False)
            for index in _lines_to_pass(lines, number - 1):
                lines[index] = ""
            continue
        return Document(
            table=table,
            lines=key_positions(readable),
            faults=tuple(faults),
            unread_keys=frozenset(unread),
        )


def _describe(line: str, reason: str, lines: list[str], number: int, *, twice: bool) -> str:
    statement = _STATEMENT.match(line)
    name = statement[1] if statement else line.strip()
    if twice:
        begins = re.compile(
            rf"\s*{re.escape(name)}\s*=" if statement else rf"\s*{re.escape(name)}\s*(#.*)?$"
        )
        before = [
            at for at, other in enumerate(lines[: number - 1], start=1) if begins.match(other)
        ]
        return f"{name}: stands here twice" + (f"; before in line {before[-1]}" if before else "")
    value = line.partition("=")[2].partition("#")[0].strip() if statement else line.strip()
    remark = "; a text stands in quotes" if statement and _WORD.fullmatch(value) else ""
    return f"{name}: not TOML: {value or 'no value'}: {reason}{remark}"


def _faulty_by_itself(line: str) -> bool:
    """Whether the fault ends with the line, and what follows can be read without it."""
    try:
        tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        opened = line.count("[") - line.count("]") + line.count("{") - line.count("}")
        return opened == 0 and '"""' not in line and "'''" not in line
    return False


def _lines_to_pass(lines: list[str], faulty: int) -> range:
    """The faulty line; of a section that stands there twice, all that is in it."""
    if not _HEADER.match(lines[faulty]):
        return range(faulty, faulty + 1)
    end = faulty + 1
    while end < len(lines) and not _HEADER.match(lines[end]):
        end += 1
    return range(faulty, end)
