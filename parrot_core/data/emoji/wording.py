"""How the picture-text set asks and answers in each language, read from `wording.toml`."""

import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from parrot_core.errors import UsageError

OPTION_LETTERS = ("A", "B", "C", "D")
"""The options of a choice, in order; letters are Latin in every language, as in MMMB."""

_PLACEHOLDERS: dict[str, frozenset[str]] = {
    "naming": frozenset(),
    "yes_no": frozenset({"name"}),
    "choice": frozenset({"question", *OPTION_LETTERS}),
    "description": frozenset(),
    "statement": frozenset({"name"}),
    "translation": frozenset({"name"}),
    "category": frozenset({"name"}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """The templates of one language; `wording.toml` says what each is and what it may contain."""

    naming: tuple[str, ...]
    yes_no: tuple[str, ...]
    choice: tuple[str, ...]
    description: tuple[str, ...]
    statement: tuple[str, ...]
    translation: tuple[str, ...]
    category: tuple[str, ...]
    groups: Mapping[str, str]


def load_wording(languages: Sequence[str]) -> dict[str, Wording]:
    """Reads the package's templates of some languages, by code.

    Raises:
        UsageError: if a language has none.
    """
    text = files("parrot_core.data.emoji").joinpath("wording.toml").read_text(encoding="utf-8")
    return parse_wording(tomllib.loads(text), languages=languages)


def parse_wording(document: Mapping[str, Any], *, languages: Sequence[str]) -> dict[str, Wording]:
    """Checks templates and gives them their type.

    Raises:
        UsageError: with every fault found.
    """
    faults: list[str] = []
    for code in languages:
        if code not in document:
            faults.append(f"no wording for language {code!r}")
        else:
            faults += _faults(code, document[code])
    if faults:
        raise UsageError("wording: " + "; ".join(faults), hint="Mend wording.toml.")
    return {code: _wording(document[code]) for code in languages}


def _faults(code: str, table: Mapping[str, Any]) -> list[str]:
    known = {*_PLACEHOLDERS, "groups"}
    faults = [f"[{code}] unknown key {key!r}" for key in table if key not in known]
    faults += [f"[{code}] no {key}" for key in sorted(known) if not table.get(key)]
    for key, wanted in _PLACEHOLDERS.items():
        for template in table.get(key, ()):
            found = {part for _, part, _, _ in string.Formatter().parse(template) if part}
            if found != wanted:
                faults.append(
                    f"[{code}] {key}: {template!r} has the placeholders {sorted(found)}, "
                    f"needs {sorted(wanted)}"
                )
    return faults


def _wording(table: Mapping[str, Any]) -> Wording:
    templates = {key: tuple(table[key]) for key in _PLACEHOLDERS}
    return Wording(**templates, groups=dict(table["groups"]))
