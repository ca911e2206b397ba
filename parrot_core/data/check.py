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

from parrot_core.data.faults import (
    KINDS,
    Fault,
    fault_of,
    record_faults,
    record_images,
    record_texts,
)
from parrot_core.data.images import ImageError, load_image
from parrot_core.data.records import Record, scan_records
from parrot_core.data.samples import IMAGE_PLACEHOLDER, is_unicode
from parrot_core.errors import MissingError, UsageError

_CHUNK = 64  # records that a worker process takes at once
_IMAGES_REMEMBERED = 100_000  # results kept a process, since pictures recur in many samples


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
    faults = record_faults(record)
    if not isinstance(record.value, Mapping):
        return faults, 0
    images, texts = record_images(record), record_texts(record)
    for path in images:
        found = _image_fault(path, root)
        if found is not None:
            faults.append(fault_of(record, f"{found[0]}-image", found[1]))
    if length is not None and is_unicode("".join(texts)):  # half a character has no tokens
        tokens = _count_tokens(texts, length) + (len(images) * length.image_tokens)
        if tokens > length.tokens:
            message = f"{tokens} tokens, more than {length.tokens}"
            faults.append(fault_of(record, "too-long", message))
    return faults, len(images)


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
            yield fault_of(record, "duplicate-id", message)
        else:
            ids[identity] = record.line


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
