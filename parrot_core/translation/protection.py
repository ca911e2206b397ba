"""What a translation must leave as it is: placeholders, markup, code, links, formulas, numbers."""

import functools
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from parrot_core.data.samples import IMAGE_PLACEHOLDER

_PATTERNS = (
    ("code", r"```.*?```|`[^`\n]+`"),
    ("placeholder", r"<image>|<video>|<audio>"),
    (
        "address",
        r"(?:(?:https?|ftp)://|www\.)[^\s<>\"'\uff09】」]*[^\s<>\"'\uff09】」.,;:!?()]|"
        r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    ),
    ("formula", r"\$\$.+?\$\$|\\\(.+?\\\)|\\\[.+?\\\]|\$(?=\S)[^$\n]*[\\^_={}][^$\n]*(?<=\S)\$"),
    ("token", r"<\|[A-Za-z0-9_]+\|>"),  # of chat templates: in training data they would be obeyed
    ("markup", r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>\n]*)?/?>|&[a-z]+;|&#\d+;"),
    ("field", r"\{[A-Za-z_][A-Za-z0-9_.]*\}|%\([A-Za-z_]+\)[sdf]|%[sd]\b"),
)
_SPAN = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS), re.DOTALL)
_OPTION = re.compile(r"^[ \t]*\(?([A-Z])(?:[.:)]|\uff09|、)", re.MULTILINE)
_LONE_OPTIONS = re.compile(r"\(([A-H])\)")
_NUMBER = re.compile(r"\d+(?:[.,٫٬'\u00a0\u202f]\d+)*")  # noqa: RUF001 - Arabic separators
_EDGES = re.compile(
    rf"^(?P<before>(?:\s|{re.escape(IMAGE_PLACEHOLDER)})*)(?P<core>.*?)"
    rf"(?P<after>(?:\s|{re.escape(IMAGE_PLACEHOLDER)})*)$",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A part of a text that stays as it is: where it is, its kind and its words."""

    start: int
    end: int
    kind: str
    text: str


def spans(text: str) -> list[Span]:
    """Finds the protected parts of a text, numbers and option letters aside, in order."""
    return [
        Span(start=match.start(), end=match.end(), kind=str(match.lastgroup), text=match[0])
        for match in _SPAN.finditer(text)
    ]


def split_edges(text: str) -> tuple[str, str, str]:
    """Splits off what no worker needs to see: white space and image placeholders at both ends.

    Returns:
        What comes before, the core, and what comes after; joined they are the text.
    """
    match = _EDGES.match(text)
    assert match is not None  # every group may be empty
    return match["before"], match["core"], match["after"]


@functools.lru_cache(maxsize=4096)
def plain_words(text: str) -> str:
    """Returns a text without its protected parts, for judging its language."""
    return _SPAN.sub(" ", text)


def needs_translation(text: str) -> bool:
    """Says whether a text has words: `42`, a link or an option's `B` are the same anywhere."""
    words = _NUMBER.sub(" ", plain_words(text))
    letters = [letter for letter in words if letter.isalpha()]
    return len(letters) > 1 or (len(letters) == 1 and not ("A" <= letters[0] <= "Z"))


def lost_parts(source: str, output: str) -> list[str]:
    """Names the protected parts of a source that its translation lacks, or has too often.

    Exact parts must come back exactly and as often; numbers may be written with other digits and
    separators, and a translation may add some (an English "two" may become a digit).
    """
    wanted, found = _parts(source), _parts(output)
    problems = [f"{text!r:.60} is missing" for text in (wanted.exact - found.exact)]
    problems += [f"{text!r:.60} was added" for text in (found.exact - wanted.exact)]
    problems += [f"the number {number} is missing" for number in wanted.numbers - found.numbers]
    problems += [
        f"the option letter {letter} is missing" for letter in wanted.options - found.options
    ]
    return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """How often each protected part of a text stands in it."""

    exact: Counter[str]
    numbers: Counter[str]
    options: Counter[str]


@functools.lru_cache(maxsize=4096)  # a source is compared with every version of its translation
def _parts(text: str) -> _Parts:
    return _Parts(
        exact=Counter(span.text for span in spans(text)),
        numbers=_numbers(text),
        options=_options(text),
    )


def _numbers(text: str) -> Counter[str]:
    """Counts numbers by their digits alone, whatever the digits and separators."""
    found = _NUMBER.findall(plain_words(text))
    return Counter(
        "".join(str(unicodedata.digit(sign)) for sign in number if sign.isdigit())
        for number in found
    )


def _options(text: str) -> Counter[str]:
    """Counts option letters at the start of lines or in brackets, where there are at least two."""
    plain = unicodedata.normalize("NFKC", plain_words(text))
    letters = Counter({*_OPTION.findall(plain), *_LONE_OPTIONS.findall(plain)})
    return letters if len(letters) > 1 else Counter()
