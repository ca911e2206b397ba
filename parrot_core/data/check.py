"""Every fault of a data set at once: what would stop a training run is found before it starts."""

import functools
import itertools
import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from parrot_core.data.images import ImageError, load_image
from parrot_core.data.records import Record, scan_records
from parrot_core.data.samples import IMAGE_PLACEHOLDER, ROLES
from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import LANGUAGES

KINDS = {
    "bad-json": "the record, or the rest of the file, cannot be decoded",
    "not-a-sample": "the record has no list of conversations, or a field of a wrong type",
    "missing-role": "a turn says not who speaks",
    "unknown-role": f"a turn is spoken by somebody other than {', '.join(ROLES)}",
    "role-order": "the turns are not human, gpt, human, gpt, … (after at most one system turn)",
    "empty-turn": "a turn has no text",
    "half-character": "a text has half of a surrogate pair, which no file can hold",
    "placeholder-count": f"there are more or fewer {IMAGE_PLACEHOLDER} than images",
    "placeholder-in-answer": f"{IMAGE_PLACEHOLDER} stands in a turn that is not the human's",
    "missing-image": "an image's file is not there",
    "unreadable-image": "an image's file is not a picture, or damaged",
    "truncated-image": "an image's file ends too early",
    "oversized-image": "an image is too large to decode safely",
    "outside-image": "an image's path leaves the image root",
    "duplicate-id": "an earlier record of the file has the same id",
    "unknown-language": "the language is not a code that Parrot knows",
    "too-long": "the sample has more tokens than the model is trained with",
}
"""What can be wrong with a record, in words."""

_CHUNK = 64  # records that a worker process takes at once
_IMAGES_REMEMBERED = 100_000  # results kept a process, since pictures recur in many samples


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


@dataclass(kw_only=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        records: How many records were read.
        images: How many images they name.
        faults: The faults, in the order of files and records.
    """

    records: int = 0
    images: int = 0
    faults: list[Fault] = field(default_factory=list)

    def by_kind(self) -> dict[str, int]:
        """Counts the faults by kind, most frequent first."""
        return dict(Counter(fault.kind for fault in self.faults).most_common())

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON holds it."""
        return {
            "records": self.records,
            "images": self.images,
            "faults_by_kind": self.by_kind(),
            "faults": [asdict(fault) for fault in self.faults],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthLimit:
    """How long a sample may be.

    Attributes:
        tokenizer: Name or path of the language model's tokenizer.
        tokens: Most tokens a sample may have (Table 13: 2048).
        image_tokens: Tokens that an image takes (CLIP ViT-L/14-336 with [CLS]: 577).
    """

    tokenizer: str
    tokens: int = 2048
    image_tokens: int = 577


def check_files(
    files: Sequence[Path],
    *,
    image_root: Path | None = None,
    length: LengthLimit | None = None,
    ignore: Collection[str] = (),
    workers: int = 1,
    on_progress: Callable[[CheckReport], None] | None = None,
) -> CheckReport:
    """Opens every record and every image of data files in LLaVA's format.

    Args:
        files: JSON or JSONL files.
        image_root: Folder that image paths are relative to; None is each file's own folder.
        length: Most tokens a sample may have; None leaves lengths unchecked.
        ignore: Kinds of fault that are no fault to this caller.
        workers: Processes that check; 1 is this one.
        on_progress: Called with the report so far after every few records.

    Raises:
        MissingError: if a file is not there.
        UsageError: if a kind to ignore is unknown, or a file is no list of records.
    """
    unknown = sorted(set(ignore) - KINDS.keys())
    if unknown:
        raise UsageError(
            f"no such kind of fault: {', '.join(unknown)}", hint=f"Kinds: {', '.join(KINDS)}."
        )
    report = CheckReport()
    for path in files:
        ids: dict[str, int] = {}
        check = functools.partial(_check_chunk, root=image_root or path.parent, length=length)
        chunks = _chunks(scan_records(path))
        for chunk, faults, images in _in_order(check, chunks, workers=workers):
            report.records += sum(record.problem is None for record in chunk)
            report.images += images
            for record, found in zip(chunk, faults, strict=True):
                found.extend(_duplicates(record, ids))
                report.faults.extend(fault for fault in found if fault.kind not in ignore)
            if on_progress is not None:
                on_progress(report)
    return report


def check_record(
    record: Record, *, root: Path, length: LengthLimit | None = None
) -> tuple[list[Fault], int]:
    """Returns all faults of one record, and how many images it names.

    Args:
        record: The record as it was scanned.
        root: The image root.
        length: Most tokens it may have; None leaves the length unchecked.
    """
    if record.problem is not None:
        return [_fault(record, "bad-json", record.problem)], 0
    if not isinstance(record.value, Mapping):
        kind = type(record.value).__name__
        return [_fault(record, "not-a-sample", f"a sample is an object, not {kind}")], 0
    faults: list[Fault] = []
    images = _images(record, faults)
    texts = _turns(record, faults)
    placeholders = sum(text.count(IMAGE_PLACEHOLDER) for _, text in texts)
    if placeholders != len(images):
        message = f"{placeholders} {IMAGE_PLACEHOLDER} for {len(images)} images"
        faults.append(_fault(record, "placeholder-count", message))
    for path in images:
        found = _image_fault(path, root)
        if found is not None:
            faults.append(_fault(record, f"{found[0]}-image", found[1]))
    language = record.value.get("language")
    if language is not None and language not in LANGUAGES:
        faults.append(_fault(record, "unknown-language", f"unknown language {language!r}"))
    if length is not None:
        tokens = _count_tokens([text for _, text in texts], length) + (
            len(images) * length.image_tokens
        )
        if tokens > length.tokens:
            message = f"{tokens} tokens, more than {length.tokens}"
            faults.append(_fault(record, "too-long", message))
    return faults, len(images)


def _images(record: Record, faults: list[Fault]) -> list[str]:
    image = record.value.get("image")
    if image is None:
        return []
    if isinstance(image, str):
        return [image]
    if isinstance(image, list) and all(isinstance(path, str) for path in image):
        return image
    faults.append(_fault(record, "not-a-sample", f"image is {image!r:.80}, not a path or paths"))
    return []


def _turns(record: Record, faults: list[Fault]) -> list[tuple[str | None, str]]:
    """Reads who says what, and notes what is wrong with it."""
    conversations = record.value.get("conversations")
    if not isinstance(conversations, list) or not conversations:
        faults.append(_fault(record, "not-a-sample", "no conversations"))
        return []
    turns: list[tuple[str | None, str]] = []
    for number, turn in enumerate(conversations):
        if not isinstance(turn, Mapping):
            message = f"turn {number} is {type(turn).__name__}, not an object"
            faults.append(_fault(record, "not-a-sample", message))
            continue
        role, text = turn.get("from"), turn.get("value")
        if role is None:
            faults.append(_fault(record, "missing-role", f"turn {number} has no `from`"))
        elif role not in ROLES:
            known = ", ".join(ROLES)
            message = f"turn {number}: unknown role {role!r} (known: {known})"
            faults.append(_fault(record, "unknown-role", message))
        if not isinstance(text, str) or not text.replace(IMAGE_PLACEHOLDER, "").strip():
            # A question may be a picture alone; an answer of nothing teaches nothing.
            if not (role == "human" and isinstance(text, str) and IMAGE_PLACEHOLDER in text):
                faults.append(_fault(record, "empty-turn", f"turn {number} ({role}) is empty"))
            text = text if isinstance(text, str) else ""
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            message = f"turn {number} ({role}) has half of a character (\\ud800 to \\udfff)"
            faults.append(_fault(record, "half-character", message))
        if role != "human" and IMAGE_PLACEHOLDER in text:
            message = f"turn {number} ({role}) has {IMAGE_PLACEHOLDER}"
            faults.append(_fault(record, "placeholder-in-answer", message))
        turns.append((role, text))
    roles = [role for role, _ in turns]
    if roles and all(role in ROLES for role in roles):
        spoken = roles[1:] if roles[0] == "system" else roles
        expected = list(itertools.islice(itertools.cycle(("human", "gpt")), len(spoken)))
        if spoken != expected or not spoken or len(spoken) % 2:
            message = f"the turns are {', '.join(str(role) for role in roles[:8])}"
            faults.append(_fault(record, "role-order", message + ("…" if len(roles) > 8 else "")))
    return turns


@functools.lru_cache(maxsize=_IMAGES_REMEMBERED)
def _image_fault(path: str, root: Path) -> tuple[str, str] | None:
    try:
        load_image(path, root=root).close()
    except ImageError as error:
        return error.kind, error.problem
    return None


@functools.lru_cache(maxsize=1)
def _tokenizer(name: str) -> Any:  # noqa: ANN401 - transformers' tokenizers are untyped
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise MissingError(
            f"cannot load a tokenizer from {name!r}", hint="Give a model's folder or hub name."
        ) from error


def token_counter(name: str) -> Callable[[str], int]:
    """Returns a function that counts the tokens of a text.

    Args:
        name: Folder or hub name of the tokenizer.

    Raises:
        MissingError: if there is no tokenizer of that name.
    """
    tokenizer = _tokenizer(name)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return count


def _count_tokens(texts: Sequence[str], length: LengthLimit) -> int:
    words = [text.replace(IMAGE_PLACEHOLDER, "") for text in texts if text]
    encoded = _tokenizer(length.tokenizer)(words, add_special_tokens=False) if words else {}
    return sum(len(ids) for ids in encoded.get("input_ids", ()))


def _duplicates(record: Record, ids: dict[str, int]) -> Iterator[Fault]:
    if isinstance(record.value, Mapping) and record.value.get("id") is not None:
        identity = str(record.value["id"])
        if identity in ids:
            message = f"id {identity!r} was used on line {ids[identity]}"
            yield _fault(record, "duplicate-id", message)
        else:
            ids[identity] = record.line


def _fault(record: Record, kind: str, message: str) -> Fault:
    identity = record.value.get("id") if isinstance(record.value, Mapping) else None
    return Fault(
        file=str(record.path),
        line=record.line,
        record=record.index,
        id=None if identity is None else str(identity),
        kind=kind,
        message=message,
    )


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    remaining = iter(records)
    while chunk := list(itertools.islice(remaining, _CHUNK)):
        yield chunk


def _check_chunk(
    chunk: list[Record], *, root: Path, length: LengthLimit | None
) -> tuple[list[list[Fault]], int]:
    results = [check_record(record, root=root, length=length) for record in chunk]
    return [faults for faults, _ in results], sum(images for _, images in results)


_ChunkResult = tuple[list[Record], list[list[Fault]], int]


def _in_order(
    check: Callable[[list[Record]], tuple[list[list[Fault]], int]],
    chunks: Iterable[list[Record]],
    *,
    workers: int,
) -> Iterator[_ChunkResult]:
    """Checks chunks here or in processes, a bounded number ahead, and yields them in order."""
    remaining = iter(chunks)
    first = list(itertools.islice(remaining, 2))
    chunks = itertools.chain(first, remaining)
    if workers <= 1 or len(first) < 2:  # starting processes takes longer than one chunk
        for chunk in chunks:
            yield chunk, *check(chunk)
        return
    # Spawned, not forked: the caller may have threads (a progress bar) that a fork would break.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    pending: deque[tuple[list[Record], Future[tuple[list[list[Fault]], int]]]] = deque()
    try:
        for chunk in chunks:
            pending.append((chunk, pool.submit(check, chunk)))
            if len(pending) > 4 * workers:
                done, future = pending.popleft()
                yield done, *future.result()
        while pending:
            done, future = pending.popleft()
            yield done, *future.result()
    finally:
        pool.shutdown(cancel_futures=True)
