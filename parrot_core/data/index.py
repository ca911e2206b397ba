"""One data file as rows on the disk: read, checked and written down once, then mapped into memory.

A row is a record of the file, a broken one too, which keeps what is wrong with it: what becomes of
broken records is the training run's business, not the index's.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parrot_core.data.arrow import DamagedFileError, MappedRows, write_rows
from parrot_core.data.cache import SourceCache
from parrot_core.data.faults import record_faults, record_images
from parrot_core.data.records import Record, scan_records
from parrot_core.data.samples import ROLES, Sample, Turn

logger = logging.getLogger(__name__)

_ENDING = "samples-1.arrow"
"""Its number changes with the fields below or with what counts as broken."""

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexing:
    """How far the making of an index is.

    Attributes:
        task: What is being done.
        file: The data file.
        done: Of `total`.
        total: In whatever unit the task counts.
    """

    task: str
    file: Path
    done: int
    total: int


OnIndexing = Callable[[Indexing], None]


class SampleIndex:
    """The records of one data file.

    Args:
        file: JSON, JSONL or Parquet in LLaVA's format.
        cache: Folder of all indexes; this one is made there if the file's content is new.
        on_progress: Called while it is made.

    Raises:
        MissingError: if the file is not there, or the index cannot be written.
        UsageError: if the file is not in any of the formats.
    """

    def __init__(self, file: Path, *, cache: Path, on_progress: OnIndexing | None = None) -> None:
        self.file = file
        self.cache = SourceCache(file, cache=cache)
        self._on_progress = on_progress or _nobody
        self._rows = self.open(_ENDING, self._make)
        broken: list[npt.NDArray[Any]] = []
        codes: list[npt.NDArray[Any]] = []
        names: dict[str | None, int] = {None: 0}
        start = 0
        for problem, language in self._rows.columns("problem", "language"):
            if problem.null_count < len(problem):
                stated = problem.is_valid().to_numpy(zero_copy_only=False)
                broken.append(start + np.flatnonzero(stated))
            encoded = language.dictionary_encode()
            own = [names.setdefault(name, len(names)) for name in encoded.dictionary.to_pylist()]
            known = np.array([*own, 0], np.int16)  # the last is what has no language
            codes.append(known[encoded.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)])
            start += len(language)
        self._rows.release()
        self.broken: Rows = np.concatenate([np.zeros(0, np.int32), *broken]).astype(np.int32)
        """Rows of broken records."""
        self.languages = tuple(names)
        """The languages that samples state, None first for those that state none."""
        self.language_codes: npt.NDArray[np.int16] = np.concatenate([np.zeros(0, np.int16), *codes])
        """For every row its place in `languages`."""

    def __len__(self) -> int:
        """How many records the file has, broken ones among them."""
        return len(self._rows)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file's content."""
        return self.cache.fingerprint

    def sample(self, row: int, *, image_root: Path, dataset: str, index: int) -> Sample:
        """Returns the sample of a row.

        Args:
            row: Not a broken one.
            image_root: Where its images lie.
            dataset: Name of the data set that it is taken from.
            index: Its place in the set that it is taken from.
        """
        return self._sample(self._rows[row], image_root, dataset, index)

    def samples(
        self, rows: Rows, *, image_root: Path, dataset: str, first: int
    ) -> Iterator[Sample]:
        """Yields the samples of rows in ascending order, numbered from `first` on."""
        for index, values in enumerate(self._chosen(rows), start=first):
            yield self._sample(values, image_root, dataset, index)

    def images(self, rows: Rows) -> Iterator[tuple[int, str]]:
        """Yields rows, which are in ascending order, each with every image path it names."""
        wanted = np.zeros(len(self), bool)
        wanted[rows] = True
        start = 0
        for (images,) in self._rows.columns("images"):
            if len(images.flatten()):
                for row, paths in enumerate(images.to_pylist(), start=start):
                    if wanted[row]:
                        yield from ((row, path) for path in paths)
            start += len(images)
        self._rows.release()

    def problem(self, row: int) -> str:
        """Returns what is wrong with a broken record."""
        problem: str = self._rows[row]["problem"]
        return problem

    def origin(self, row: int) -> str:
        """Returns the place of a record as `file:line`."""
        return f"{self.file}:{self._rows[row]['line']}"

    def rows(self) -> MappedRows:
        """Returns what lies on the disk, row by row."""
        return self._rows

    def open(self, ending: str, make: Callable[[Path], None]) -> MappedRows:
        """Opens a file about this data file's records, made now if it is not there or damaged."""
        while True:
            try:
                return MappedRows(self.cache.made(ending, make))
            except FileNotFoundError:  # another process has just discarded it
                continue
            except DamagedFileError as error:
                logger.warning("is made again, because it is damaged: %s", error)
                self.cache.discard(ending)

    def report(self, task: str, done: int, total: int) -> None:
        """Tells whoever watches how far a task is."""
        self._on_progress(Indexing(task=task, file=self.file, done=done, total=total))

    def __getstate__(self) -> dict[str, Any]:
        """All but who watches: a worker process has nobody to report to."""
        return {**self.__dict__, "_on_progress": _nobody}

    def _chosen(self, rows: Rows) -> Iterator[dict[str, Any]]:
        wanted = np.zeros(len(self), bool)
        wanted[rows] = True
        return itertools.compress(self._rows.rows(), wanted)

    def _sample(self, values: dict[str, Any], image_root: Path, dataset: str, index: int) -> Sample:
        place = f"{self.file}:{values['line']}"
        if values["problem"] is not None:
            raise ValueError(f"{place} is broken: {values['problem']}")
        return Sample(
            id=values["id"],
            images=tuple(values["images"]),
            turns=tuple(
                Turn(role=ROLES[role], text=text)
                for role, text in zip(values["roles"], values["texts"], strict=True)
            ),
            language=values["language"],
            origin=place,
            image_root=image_root,
            dataset=dataset,
            index=index,
        )

    def _make(self, path: Path) -> None:
        import pyarrow as pa

        logger.info("indexes %s, once", self.file)
        schema = pa.schema(
            {
                "id": pa.large_string(),
                "line": pa.int32(),
                "images": pa.list_(pa.string()),
                "roles": pa.list_(pa.int8()),
                "texts": pa.list_(pa.large_string()),
                "language": pa.string(),
                "problem": pa.large_string(),
            }
        )
        write_rows(path, self._scan(), schema=schema)

    def _scan(self) -> Iterator[tuple[Any, ...]]:
        size = self.file.stat().st_size
        for record in scan_records(
            self.file, on_read=lambda done: self.report("reads", done, size)
        ):
            yield _row(record)


def _nobody(_: Indexing) -> None:
    """Watches nothing."""


def _row(record: Record) -> tuple[Any, ...]:
    faults = record_faults(record)
    if faults:
        problem = "; ".join(fault.message for fault in faults)
        return ("", record.line, (), (), (), None, problem)
    value = record.value
    turns = value["conversations"]
    return (
        str(record.index if value.get("id") is None else value["id"]),
        record.line,
        record_images(record),
        [ROLES.index(turn["from"]) for turn in turns],
        [turn["value"] for turn in turns],
        value.get("language"),
        None,
    )
