"""Terms that have one translation: a CSV or TSV file with a column per language."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parrot_core.errors import UsageError
from parrot_core.languages import get_language
from parrot_core.translation.tables import read_table

_KEEP = "="  # a cell that means: leave the term as it is
_STEM_SHARE = 0.7  # of a word's letters: endings change with case and number in many languages


@dataclass(frozen=True, kw_only=True, slots=True)
class Glossary:
    """Translations of terms.

    Attributes:
        terms: By language code, the translation of each term of the source language.
    """

    terms: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def for_text(self, text: str, language: str) -> dict[str, str]:
        """Returns the terms that a text has and their translations, in the glossary's order.

        Only these enter a call and its key, so that an edited glossary re-does exactly the texts
        that it is about.
        """
        return {
            term: translation
            for term, translation in self.terms.get(language, {}).items()
            if _pattern(term).search(text)
        }


def _pattern(term: str) -> re.Pattern[str]:
    """A term as whole words; scripts that set no spaces have no words to be whole."""
    escaped = re.escape(term)
    before = r"(?<!\w)" if term[:1].isascii() else ""
    after = r"(?:s|es)?(?!\w)" if term[-1:].isascii() else ""
    return re.compile(before + escaped + after, re.IGNORECASE)


def read_glossary(path: Path, *, source_language: str) -> Glossary:
    """Reads a table whose header has the source language's code and those of others.

    An empty cell says nothing about the term in that language; `=` says that it stays as it is.

    Raises:
        MissingError: if there is no such file.
        UsageError: if the header or a row is not in the format; names the line.
    """
    hint = f"The first row names languages, the source's ({source_language}) among them."
    rows = read_table(
        path, delimiters="\t" if path.suffix == ".tsv" else ",;", needed=(), hint=hint
    )
    _, names = next(rows)
    header = [get_language(name).code for name in names]
    if source_language not in header or len(set(header)) < len(header):
        raise UsageError(f"{path}: no one column {source_language!r}, or two of one", hint=hint)
    terms: dict[str, dict[str, str]] = {code: {} for code in header if code != source_language}
    lines: dict[str, int] = {}
    for line, row in rows:
        cells = dict(zip(header, map(str.strip, row), strict=True))
        term = cells.pop(source_language)
        if not term or term in lines:
            problem = f"{term!r} stands on line {lines[term]} already" if term else "no term"
            raise UsageError(f"{path}:{line}: {problem}", hint="One row is one term.")
        lines[term] = line
        for code, translation in cells.items():
            if translation:
                terms[code][term] = term if translation == _KEEP else translation
    return Glossary(terms=terms)


def missing_terms(entries: Mapping[str, str], output: str) -> list[str]:
    """Names the glossary's translations that an output lacks, whatever their endings."""
    folded = output.casefold()
    return [
        f"the glossary's {translation!r} for {term!r} is missing"
        for term, translation in entries.items()
        if not all(_stem(word) in folded for word in translation.casefold().split())
    ]


def _stem(word: str) -> str:
    return word[: max(min(3, len(word)), math.ceil(len(word) * _STEM_SHARE))]


def as_prompt(entries: Mapping[str, str]) -> str:
    """Words the terms as a rule of a prompt; empty without terms."""
    if not entries:
        return ""
    lines: Sequence[str] = [f"  {term} → {translation}" for term, translation in entries.items()]
    return "- Use these terms, inflected as needed:\n" + "\n".join(lines)
