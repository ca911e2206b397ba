"""What can be wrong with a record itself, in the words that every command uses for it."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from parrot_core.data.records import Record
from parrot_core.data.samples import IMAGE_PLACEHOLDER, ROLES, is_unicode
from parrot_core.languages import LANGUAGES

KINDS = {
    "bad-json": "the record, or the rest of the file, cannot be decoded",
    "not-a-sample": "the record has no list of conversations, or a field of a wrong type",
    "missing-role": "a turn says not who speaks",
    "unknown-role": f"a turn is spoken by somebody other than {', '.join(ROLES)}",
    "role-order": "the turns are not human, gpt, human, gpt, … (after at most one system turn)",
    "empty-turn": "a turn has no text",
    "not-unicode": "a text has half a character (a surrogate without its other half)",
    "placeholder-count": f"there are more or fewer {IMAGE_PLACEHOLDER} than images",
    "placeholder-in-answer": f"{IMAGE_PLACEHOLDER} stands in a turn that is not the human's",
    "missing-image": "an image's file is not there",
    "unreadable-image": "an image's file is not a picture, damaged, or too small",
    "truncated-image": "an image's file ends too early",
    "oversized-image": "an image is too large to decode safely",
    "outside-image": "an image's path leaves the image root",
    "duplicate-id": "an earlier record of the file has the same id",
    "unknown-language": "the language is not a code that Parrot knows",
    "too-long": "the sample has more tokens than the model is trained with",
}
"""What can be wrong with a record, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault of one record.

    Attributes:
        file: The data file.
        line: Line on which the record begins, from 1.
        record: Which record of the file it is, from 0.
        id: The record's id, where it has one.
        kind: A key of `KINDS`.
        message: What is wrong, with the value.
    """

    file: str
    line: int
    record: int
    id: str | None
    kind: str
    message: str


def fault_of(record: Record, kind: str, message: str) -> Fault:
    """Returns a fault of a record, with its place."""
    identity = record.value.get("id") if isinstance(record.value, Mapping) else None
    return Fault(
        file=str(record.path),
        line=record.line,
        record=record.index,
        id=None if identity is None else str(identity),
        kind=kind,
        message=message,
    )


def record_faults(record: Record) -> list[Fault]:
    """Returns all faults of a record that show without its images and its length in tokens."""
    if record.problem is not None:
        return [fault_of(record, "bad-json", record.problem)]
    if not isinstance(record.value, Mapping):
        kind = type(record.value).__name__
        return [fault_of(record, "not-a-sample", f"a sample is an object, not {kind}")]
    faults: list[Fault] = []
    image = record.value.get("image")
    if not _is_image(image):
        message = f"image is {image!r:.80}, not a path or paths"
        faults.append(fault_of(record, "not-a-sample", message))
    placeholders = _check_turns(record, faults)
    images = len(record_images(record))
    if placeholders != images:
        message = f"{placeholders} {IMAGE_PLACEHOLDER} for {images} images"
        faults.append(fault_of(record, "placeholder-count", message))
    texts = [str(record.value.get("id")), *record_images(record), *record_texts(record)]
    if not is_unicode("".join(texts)):
        message = "half a character in a text: a \\ud800 to \\udfff without its other half"
        faults.append(fault_of(record, "not-unicode", message))
    language = record.value.get("language")
    if language is not None and not (isinstance(language, str) and language in LANGUAGES):
        faults.append(fault_of(record, "unknown-language", f"unknown language {language!r}"))
    return faults


def record_images(record: Record) -> list[str]:
    """Returns the image paths that a record names; none if they are not paths."""
    image = record.value.get("image")
    if isinstance(image, str):
        return [image]
    return list(image) if image and _is_image(image) else []


def record_texts(record: Record) -> list[str]:
    """Returns the texts of a record's turns, of whatever turns there are."""
    turns = record.value.get("conversations")
    texts = [
        turn.get("value")
        for turn in (turns if isinstance(turns, list) else ())
        if isinstance(turn, Mapping)
    ]
    return [text for text in texts if isinstance(text, str)]


def _is_image(image: object) -> bool:
    if isinstance(image, list):
        return all(isinstance(path, str) for path in image)
    return image is None or isinstance(image, str)


def _check_turns(record: Record, faults: list[Fault]) -> int:
    """Notes what is wrong with who says what; returns how many placeholders there are."""
    conversations = record.value.get("conversations")
    if not isinstance(conversations, list) or not conversations:
        faults.append(fault_of(record, "not-a-sample", "no conversations"))
        return 0
    placeholders = 0
    roles: list[str | None] = []
    for number, turn in enumerate(conversations):
        if not isinstance(turn, Mapping):
            message = f"turn {number} is {type(turn).__name__}, not an object"
            faults.append(fault_of(record, "not-a-sample", message))
            continue
        role, text = turn.get("from"), turn.get("value")
        if role is None:
            faults.append(fault_of(record, "missing-role", f"turn {number} has no `from`"))
        elif role not in ROLES:
            known = ", ".join(ROLES)
            message = f"turn {number}: unknown role {role!r} (known: {known})"
            faults.append(fault_of(record, "unknown-role", message))
        text = text if isinstance(text, str) else ""
        shown = text.count(IMAGE_PLACEHOLDER)
        silent = not text.replace(IMAGE_PLACEHOLDER, "").strip()
        # A question may be a picture alone; an answer of nothing teaches nothing.
        if silent and not (role == "human" and shown):
            faults.append(fault_of(record, "empty-turn", f"turn {number} ({role}) is empty"))
        if role != "human" and shown:
            message = f"turn {number} ({role}) has {IMAGE_PLACEHOLDER}"
            faults.append(fault_of(record, "placeholder-in-answer", message))
        placeholders += shown
        roles.append(role)
    _check_order(record, roles, faults)
    return placeholders


def _check_order(record: Record, roles: list[str | None], faults: list[Fault]) -> None:
    if not roles or not all(role in ROLES for role in roles):
        return
    spoken = roles[1:] if roles[0] == "system" else roles
    expected = list(itertools.islice(itertools.cycle(("human", "gpt")), len(spoken)))
    if spoken != expected or not spoken or len(spoken) % 2:
        more = "…" if len(roles) > 8 else ""
        message = f"the turns are {', '.join(str(role) for role in roles[:8])}{more}"
        faults.append(fault_of(record, "role-order", message))
