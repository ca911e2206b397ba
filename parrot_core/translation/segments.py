"""Samples as segments to translate, and translated segments as samples again."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from parrot_core.data.images import resolve_image
from parrot_core.data.samples import Sample, parse_sample, read_records
from parrot_core.errors import UsageError
from parrot_core.translation.protection import needs_translation, split_edges


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One text to translate into one language; equal segments are translated once.

    Attributes:
        text: The text, without white space and image placeholders at its ends.
        language: Code of the language to translate into.
        image: The sample's first picture, where the model is to see it.
        image_digest: Hash of the picture's file.
    """

    text: str
    language: str
    image: Path | None = None
    image_digest: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A sample as it came, and as it was understood."""

    record: Mapping[str, Any]
    sample: Sample


def read_sources(path: Path) -> Iterator[Source]:
    """Yields the samples of a file, one at a time.

    Raises:
        MissingError: if the file is not there.
        UsageError: at the first record that is not in the format; names the place.
    """
    for origin, record in read_records(path):
        sample = parse_sample(record, origin=origin)
        if not isinstance(record, Mapping):  # parse_sample refused it
            raise UsageError(f"{origin}: not a sample", hint="Run `parrot data check` on the file.")
        yield Source(record=record, sample=sample)


def segment_of(
    sample: Sample, turn: int, language: str, *, image_root: Path | None = None
) -> Segment | None:
    """Returns what of a turn is to be translated, or None if nothing is (numbers, `B`, a link).

    Args:
        sample: The sample.
        turn: Which of its turns, from 0.
        language: Code of the language to translate into.
        image_root: Image root, if the model is to see the sample's first picture.

    Raises:
        ImageError: if the picture is not in the image root.
    """
    _, core, _ = split_edges(sample.turns[turn].text)
    if not needs_translation(core):
        return None
    if image_root is None or not sample.images:
        return Segment(text=core, language=language)
    image = resolve_image(sample.images[0], root=image_root)
    return Segment(text=core, language=language, image=image, image_digest=_file_digest(image))


@lru_cache(maxsize=1024)
def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def translated_record(
    source: Source, texts: list[str | None], *, language: str, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a sample with its turns translated, every other field as it was.

    Args:
        source: The sample.
        texts: Translation of each turn's core; None where the turn stays as it is.
        language: Code of the language of the texts.
        provenance: How the texts came about, kept as `translation`.
    """
    conversations = []
    for turn, text in zip(source.record["conversations"], texts, strict=True):
        before, core, after = split_edges(turn["value"])
        conversations.append({**turn, "value": before + (core if text is None else text) + after})
    return {
        **source.record,
        "conversations": conversations,
        "language": language,
        "translation": provenance,
    }
