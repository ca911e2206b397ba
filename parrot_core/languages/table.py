"""The table of languages: what Parrot must know of each, from `languages.toml` and users' own."""

import dataclasses
import difflib
import tomllib
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrot_core.errors import MissingError, UsageError

LANGUAGES_VARIABLE = "PARROT_LANGUAGES"
"""Environment variable that names a file of further languages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """What Parrot must know of a language.

    Attributes:
        code: ISO 639-1 code, the paper's spelling (`zh`, not `cn`; `zh-tw`).
        name: English name.
        native_name: What its speakers call it.
        scripts: Names of its letters' Unicode blocks as `unicodedata.name` begins them.
        yes: The word that affirms, as a sentence would begin with it.
        no: The word that denies.
        answer_request: The request to answer in it, in its own words.
        questions: Questions that suit any picture, for looking at the routing and to begin with.
        apologies: Beginnings of the words with which its speakers, and models that decline, say
            that they are sorry; lower case.
        flores: Its name in FLORES-200, which NLLB uses: ISO 639-3 code and script; empty where it
            has none.
        other_codes: Further three-letter codes by which translation models call it.
        right_to_left: Whether it is written from right to left.
        letters: Letters that it has beyond a to z; None where it is not written in Latin ones.
        foreign_letters: Letters of a to z that only foreign words have in it.
        character_set: Python's name of a character set that has its letters and not those by which
            another language of the same script can be told.
        profile: Name of its letter frequencies in langdetect, if not its code.
    """

    code: str
    name: str
    native_name: str
    scripts: tuple[str, ...] = ("LATIN",)
    yes: str
    no: str
    answer_request: str
    questions: tuple[str, ...] = ()
    apologies: tuple[str, ...] = ()
    flores: str = ""
    other_codes: tuple[str, ...] = ()
    right_to_left: bool = False
    letters: str | None = None
    foreign_letters: str = ""
    character_set: str | None = None
    profile: str | None = None


def read_languages(path: Path) -> dict[str, Language]:
    """Reads a file of languages, a table of `Language`'s fields under each code.

    Raises:
        MissingError: if there is no such file.
        UsageError: if it is not TOML, or naming every unknown, missing and ill-typed key in it.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError(
            f"cannot read the languages in {path}: {error.strerror}", hint="Check the path."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint="Write it as TOML, in UTF-8.") from error
    problems = [
        problem for code, table in tables.items() for problem in _problems_of_table(code, table)
    ]
    if problems:
        raise UsageError(
            "\n".join(f"{path}: {problem}" for problem in problems),
            hint="Write a table for each language, such as [sw], with its name, native_name, yes, "
            "no and answer_request.",
        )
    return {code: _language(code, table) for code, table in tables.items()}


def _problems_of_table(code: str, table: Any) -> list[str]:  # noqa: ANN401 - what TOML says
    """Says what is wrong with a language's table."""
    if not isinstance(table, dict):
        return [f"{code}: not in the table of a language"]
    kinds = typing.get_type_hints(Language)
    fields = {field.name: field for field in dataclasses.fields(Language) if field.name != "code"}
    problems = []
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1, cutoff=0.6)
            problems.append(f"{code}.{key}: unknown key{f'; did you mean {near[0]}?' * bool(near)}")
        elif not _is_of(kinds[key], value):
            problems.append(f"{code}.{key}: {value!r} is not {_KINDS[kinds[key]]}")
        elif key == "character_set" and not _is_character_set(value):
            problems.append(f"{code}.{key}: Python knows no character set {value!r}")
    needed = (name for name, field in fields.items() if field.default is dataclasses.MISSING)
    return problems + [f"{code}.{name}: missing" for name in needed if name not in table]


def _is_character_set(name: str) -> bool:
    try:
        "a".encode(name)
    except LookupError:
        return False
    return True


_KINDS = {
    str: "a text",
    str | None: "a text",
    bool: "true or false",
    tuple[str, ...]: "a list of texts",
}


def _is_of(kind: Any, value: Any) -> bool:  # noqa: ANN401 - a type, and what TOML says
    if kind == tuple[str, ...]:
        return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    return isinstance(value, bool if kind is bool else str)


def _language(code: str, table: dict[str, Any]) -> Language:
    lists = {key: tuple(value) for key, value in table.items() if isinstance(value, list)}
    return Language(code=code, **{**table, **lists})


LANGUAGES: dict[str, Language] = read_languages(Path(__file__).with_name("languages.toml"))
"""Every language that Parrot knows, by code."""


def add_languages(path: Path) -> None:
    """Adds the languages of a user's file to `LANGUAGES`; one that is there is replaced.

    Raises:
        MissingError, UsageError: as `read_languages`; nothing is added then.
    """
    LANGUAGES.update(read_languages(path))


PAPER_LANGUAGES: tuple[str, ...] = ("en", "zh", "pt", "ar", "tr", "ru")
"""The six languages of the paper (section 2.3), in the order of its tables."""

_ALIASES = {
    "cn": "zh",
    "zh-cn": "zh",
    "zh_cn": "zh",
    "zh_tw": "zh-tw",
    "zh-hant": "zh-tw",
    "pt-br": "pt",
    "pt_br": "pt",
}


def get_language(code: str) -> Language:
    """Returns the language of a code, a spelling that the field uses for it, or its English name.

    Raises:
        UsageError: if no language goes by that name; the hint names the nearest.
    """
    key = code.strip().lower()
    key = _ALIASES.get(key, key)
    by_name = {language.name.lower(): language for language in LANGUAGES.values()}
    found = LANGUAGES.get(key) or by_name.get(key)
    if found is not None:
        return found
    near = difflib.get_close_matches(key, [*LANGUAGES, *by_name], n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"unknown language {code!r}", hint=f"{hint}Parrot knows: {', '.join(LANGUAGES)}."
    )


def parse_languages(text: str) -> list[str]:
    """Reads `tr,ar` or `all` (the paper's six) into codes, in the order given, without repeats."""
    if text.strip().lower() == "all":
        return list(PAPER_LANGUAGES)
    codes = [get_language(part).code for part in text.split(",") if part.strip()]
    if not codes:
        raise UsageError(f"no language in {text!r}", hint="Give codes such as tr,ar, or all.")
    return list(dict.fromkeys(codes))
