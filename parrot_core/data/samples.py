"""The one sample format: LLaVA's conversations about images, as JSON or JSONL.

A record has an `id`, an `image` (a path relative to the image root, a list of them, or none), and
`conversations`, a list of `{"from": "human" | "gpt" | "system", "value": text}` in which `<image>`
stands where an image goes; `language` (a code) is optional.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from parrot_core.data.records import scan_records
from parrot_core.errors import UsageError

IMAGE_PLACEHOLDER = "<image>"
ROLES = ("system", "human", "gpt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one side says: `role` is `system`, `human` or `gpt` (LLaVA's names)."""

    role: str
    text: str


class ImageFile(NamedTuple):
    """An image of a data set: its root, which it must lie in, and its path from there."""

    root: Path
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One conversation about no, one or several images.

    Attributes:
        id: The record's `id`, as text.
        images: Image paths relative to the image root, in reading order.
        turns: The conversation.
        language: Code of the language, where the record states it.
        origin: `file:line`, or `file:[index]` where only that is known, for messages.
        image_root: Folder that `images` are relative to, where it is known.
        dataset: Name of the data set that the sample was taken from.
        index: Its place in the set of samples that it was taken from.
    """

    id: str
    images: tuple[str, ...]
    turns: tuple[Turn, ...]
    language: str | None
    origin: str
    image_root: Path | None = None
    dataset: str = ""
    index: int | None = None


def read_samples(path: Path) -> Iterator[Sample]:
    """Yields the samples of a JSON or JSONL file in order.

    Raises:
        MissingError: if the file is not there.
        UsageError: if the file or one of its records is not in the format; names the place.
    """
    for origin, record in read_records(path):
        yield parse_sample(record, origin=origin)


def read_records(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields `(origin, record)` for every record of a JSON array or JSONL file, unchecked."""
    for record in scan_records(path):
        if record.problem is not None:
            place = record.origin if path.suffix == ".jsonl" else f"{path}:{record.line}"
            raise UsageError(f"{place}: {record.problem}", hint="Mend or remove it.")
        yield record.origin, record.value


def parse_sample(record: object, *, origin: str) -> Sample:
    """Reads one record.

    Raises:
        UsageError: with the place and the first fault found.
    """
    try:
        return _parse(record, origin=origin)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"a turn without {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(
            f"{origin}: {problem}", hint="Run `parrot data check` on the file."
        ) from error


def is_unicode(text: str) -> bool:
    """Whether a text has whole characters only; JSON can spell one half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse(record: object, *, origin: str) -> Sample:
    if not isinstance(record, Mapping):
        raise TypeError(f"a sample is an object, not {type(record).__name__}")
    image = record.get("image")
    images = (image,) if isinstance(image, str) else tuple(image or ())
    turns = []
    for turn in record.get("conversations") or ():
        role, text = turn["from"], turn["value"]
        if role not in ROLES:
            raise ValueError(f"unknown role {role!r} (known: {', '.join(ROLES)})")
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"an empty {role} turn")
        if not is_unicode(text):
            raise ValueError(f"half a character in a {role} turn")
        turns.append(Turn(role=role, text=text))
    if not turns:
        raise ValueError("no conversations")
    placeholders = sum(turn.text.count(IMAGE_PLACEHOLDER) for turn in turns)
    if placeholders != len(images):
        raise ValueError(f"{placeholders} {IMAGE_PLACEHOLDER} for {len(images)} images")
    return Sample(
        id=str(record.get("id", origin)),
        images=images,
        turns=tuple(turns),
        language=record.get("language"),
        origin=origin,
    )
