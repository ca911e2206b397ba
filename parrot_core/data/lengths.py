"""How long samples are in tokens: measured once for a tokenizer, and kept beside the index."""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from parrot_core.data.arrow import MappedRows
from parrot_core.data.collate import ROLE_IN_TEMPLATES, Messages
from parrot_core.data.index import Rows, SampleIndex
from parrot_core.data.samples import ROLES
from parrot_core.errors import UsageError

_ROWS_AT_ONCE = 256
_ROWS_FOR_A_WORKER = 50_000
"""Rows that are worth a process of their own, which takes seconds to import the library."""


class Measure(Protocol):
    """What measuring needs of a processor; `ParrotProcessor` is one. It must be picklable."""

    def measurement_key(self) -> str:
        """Tells all that lengths depend on apart: tokenizer, chat template, image tokens."""
        ...

    def measure_conversations(self, conversations: Sequence[Messages]) -> list[tuple[int, int]]:
        """Returns for each conversation its tokens, image tokens included, and how few suffice.

        The latter are those up to the last image and the first supervised token.

        Raises:
            UsageError: if one of the conversations cannot be encoded.
        """
        ...


class Lengths:
    """The lengths of a data file's records.

    Args:
        index: The file.
        measure: Of a processor.
        workers: Processes that measure, if it is worth it; None is one a core.

    Attributes:
        unusable: Rows that cannot be encoded, and why.
    """

    def __init__(self, index: SampleIndex, measure: Measure, *, workers: int | None = None) -> None:
        ending = f"lengths-1-{measure.measurement_key()[:16]}.arrow"
        self._found = index.open(ending, lambda path: _make(path, index, measure, workers))
        self.unusable: dict[int, str] = {}
        start = 0
        for (problems,) in self._found.columns("problem"):
            if problems.null_count < len(problems):
                stated = problems.is_valid().to_numpy(zero_copy_only=False)
                for at in np.flatnonzero(stated).tolist():
                    self.unusable[start + at] = problems[at].as_py()
            start += len(problems)
        self._found.release()

    def tokens(self) -> Rows:
        """For every row its tokens; 0 for broken ones."""
        return self._column("tokens")

    def needed(self) -> Rows:
        """For every row, to how few tokens it can be cut and still teach something."""
        return self._column("needed")

    def _column(self, name: str) -> Rows:
        """Read anew each time: a million numbers are quickly read, and long kept."""
        values = np.zeros(len(self._found), np.int32)
        start = 0
        for (own,) in self._found.columns(name):
            values[start : start + len(own)] = own.to_numpy()
            start += len(own)
        self._found.release()
        return values


_Measured = list[tuple[int, int, str | None]]


def _make(path: Path, index: SampleIndex, measure: Measure, workers: int | None) -> None:
    import pyarrow as pa

    from parrot_core.data.arrow import write_rows

    schema = pa.schema({"tokens": pa.int32(), "needed": pa.int32(), "problem": pa.large_string()})
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    useful = min(workers or available or 1, len(index) // _ROWS_FOR_A_WORKER)
    measured = (
        _measure_in_processes(index, measure, useful)
        if useful > 1
        else (_measure_rows(index.rows(), measure, start) for start in _starts(index))
    )
    write_rows(path, _reported(measured, index), schema=schema)


def _starts(index: SampleIndex) -> range:
    return range(0, len(index), _ROWS_AT_ONCE)


def _reported(measured: Iterator[_Measured], index: SampleIndex) -> Iterator[tuple[Any, ...]]:
    done = 0
    for rows in measured:
        yield from rows
        done += len(rows)
        index.report("measures lengths", done, len(index))


def _measure_rows(rows: MappedRows, measure: Measure, start: int) -> _Measured:
    """Measures the rows from `start` on, those that one call takes."""
    results: _Measured = []
    conversations: list[Messages] = []
    whole: list[int] = []
    for number, values in enumerate(rows.rows(start, start + _ROWS_AT_ONCE)):
        results.append((0, 0, None))
        if values["problem"] is None:
            whole.append(number)
            conversations.append(
                [
                    {"role": ROLE_IN_TEMPLATES[ROLES[role]], "content": text}
                    for role, text in zip(values["roles"], values["texts"], strict=True)
                ]
            )
    try:
        lengths = measure.measure_conversations(conversations)
    except UsageError:  # one of them: each alone tells which
        for number, conversation in zip(whole, conversations, strict=True):
            try:
                results[number] = (*measure.measure_conversations([conversation])[0], None)
            except UsageError as error:
                results[number] = (0, 0, error.problem)
    else:
        for number, (tokens, needed) in zip(whole, lengths, strict=True):
            results[number] = (tokens, needed, None)
    return results


def _measure_in_processes(
    index: SampleIndex, measure: Measure, workers: int
) -> Iterator[_Measured]:
    # Spawned, not forked: the caller may have threads that a fork would break.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(index.rows(), measure),
    )
    pending: deque[Future[_Measured]] = deque()
    try:
        for start in _starts(index):
            pending.append(pool.submit(_work, start))
            if len(pending) > 8 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_worker: list[tuple[MappedRows, Measure]] = []  # what a worker process measures, and with what


def _begin_worker(rows: MappedRows, measure: Measure) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are parallel already
    _worker.append((rows, measure))


def _work(start: int) -> _Measured:
    return _measure_rows(*_worker[0], start)
