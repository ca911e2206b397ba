"""Versions of a segment's translation, with what is suspicious about each."""

from dataclasses import dataclass

from parrot_core.translation import checks
from parrot_core.translation.checks import Flag
from parrot_core.translation.segments import Segment
from parrot_core.translation.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One translation of a segment.

    Attributes:
        text: The translation.
        author: The model or person.
        flags: What is suspicious about it.
    """

    text: str
    author: str
    flags: tuple[Flag, ...] = ()


def judged(segment: Segment, text: str, *, author: str, settings: Settings) -> Version:
    """Returns a text as a version of a segment, with what is suspicious about it."""
    flags = checks.check(
        segment.text,
        text,
        source_language=settings.source_language,
        language=segment.language,
        glossary=settings.glossary.for_text(segment.text, segment.language),
    )
    return Version(text=text, author=author, flags=tuple(flags))
