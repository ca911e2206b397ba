"""Arrow files that are mapped into memory: any number of processes read rows where they lie.

What is read stays in the system's page cache, which all processes share; a process of its own holds
little more than the place of every batch of rows.
"""

import itertools
import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROWS_IN_BATCH = 1024
"""Rows of every batch but the last. Fewer cost each process memory, more cost each row time."""

_ROWS_BETWEEN_RELEASES = 512


class DamagedFileError(Exception):
    """A file that is no Arrow file, or not all of one."""


def write_rows(path: Path, rows: Iterable[Sequence[Any]], *, schema: Any) -> None:  # noqa: ANN401
    """Writes rows to an Arrow file, one batch in memory at a time.

    Args:
        path: The file.
        rows: Their values in the order of the schema's fields.
        schema: A `pyarrow.Schema`.
    """
    import pyarrow as pa

    remaining = iter(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        while batch := list(itertools.islice(remaining, ROWS_IN_BATCH)):
            columns = zip(*batch, strict=True)
            arrays = [
                pa.array(column, type=kind)
                for column, kind in zip(columns, schema.types, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


class MappedRows:
    """The rows of a file that `write_rows` wrote.

    It can be sent to another process, which maps the file anew.

    Args:
        path: The file.

    Raises:
        DamagedFileError: if it is no such file, or not all of one.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self.path = path
        self._rows_read = 0
        with path.open("rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._reader = pa.ipc.open_file(pa.py_buffer(self._map))
                batches = self._reader.num_record_batches
                last = self._reader.get_batch(batches - 1).num_rows if batches else 0
            except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: it is empty
                raise DamagedFileError(f"{path}: {error}") from error
        self._length = ROWS_IN_BATCH * max(0, batches - 1) + last
        if hasattr(mmap, "MADV_RANDOM"):  # samples are read in random order: reading ahead is waste
            self._map.madvise(mmap.MADV_RANDOM)

    def __len__(self) -> int:
        """How many rows there are."""
        return int(self._length)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """The values of a row by field."""
        if not 0 <= row < self._length:
            raise IndexError(f"row {row} of {self._length}")
        number, at = divmod(row, ROWS_IN_BATCH)
        values: dict[str, Any] = self._reader.get_batch(number).slice(at, 1).to_pylist()[0]
        self._rows_read += 1
        if self._rows_read % _ROWS_BETWEEN_RELEASES == 0:
            self.release()
        return values

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
        """Yields the rows from `start` up to `stop`, in order."""
        stop = self._length if stop is None else min(stop, self._length)
        while start < stop:
            number, at = divmod(start, ROWS_IN_BATCH)
            batch = self._reader.get_batch(number)
            taken = batch.slice(at, stop - start)
            yield from taken.to_pylist()
            start += taken.num_rows
            self.release()

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yields the Arrow arrays of some fields, batch by batch."""
        for number in range(self._reader.num_record_batches):
            batch = self._reader.get_batch(number)
            yield tuple(batch.column(name) for name in names)

    def release(self) -> None:
        """Lets go of the pages that were read; they stay in the system's cache.

        Otherwise a process would seem to grow, epoch after epoch, to the size of the file.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def __getstate__(self) -> dict[str, Any]:
        """The path alone: another process maps the file itself."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Maps the file."""
        MappedRows.__init__(self, state["path"])
