"""Samples for training: read once, checked before the first step, and read from the disk since."""

import copy
import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from parrot_core.data.broken import BrokenSamples, too_many
from parrot_core.data.cache import default_cache
from parrot_core.data.index import OnIndexing, Rows, SampleIndex
from parrot_core.data.lengths import Lengths, Measure
from parrot_core.data.order import SampleOrder, Share
from parrot_core.data.parts import DataSetReport, DataSource, Faults, OverLong, Part
from parrot_core.data.samples import ImageFile, Sample
from parrot_core.errors import MissingError, UsageError

logger = logging.getLogger(__name__)

_DESCRIBED = 100  # broken records, beyond those allowed, of which it is found out what is wrong


class SampleSet(Dataset[Sample]):
    """The samples of several data sets, one after the other.

    They lie in indexes on the disk, each made once for the content of a file and mapped into memory
    by every process that reads it. `measure` and `limit` return sets with fewer samples, and leave
    this one as it is.

    Args:
        sources: Data sets; a text is a file relative to `root`, as are its images.
        root: Folder of the data.
        cache: Folder of the indexes; None is the user's.
        max_bad_samples: How many broken records may be left out before that is an error.
        on_progress: Called while an index is made.

    Raises:
        MissingError: if a file is not there.
        ImageError: if images are not there or outside their root; names the places in the file.
        UsageError: if a record is not a sample, or there is none.
    """

    def __init__(
        self,
        sources: Sequence[DataSource | str],
        *,
        root: Path,
        cache: Path | None = None,
        max_bad_samples: int = 0,
        on_progress: OnIndexing | None = None,
    ) -> None:
        if not root.is_dir():
            raise MissingError(
                f"no such data folder: {root}",
                hint="Set data.folder; `parrot data demo` makes the tiny recipe's data.",
            )
        self.root = root
        self.max_bad_samples = max_bad_samples
        self.broken: tuple[tuple[str, str], ...] = ()
        """Place and problem of every record that was left out because it is broken."""
        chosen = [
            DataSource(name=source, file=root / source, images=root)
            if isinstance(source, str)
            else source
            for source in sources
        ]
        folder = cache or default_cache()
        indexes = [
            SampleIndex(source.file, cache=folder, on_progress=on_progress) for source in chosen
        ]
        self._parts = [
            Part(source=source, index=index, rows=np.arange(len(index), dtype=np.int32))
            for source, index in zip(chosen, indexes, strict=True)
        ]
        described = max_bad_samples + _DESCRIBED
        self._leave_out([part.broken_records(described=described) for part in self._parts])

    def __len__(self) -> int:
        """How many samples there are."""
        return sum(len(part.rows) for part in self._parts)

    def __getitem__(self, index: int) -> Sample:
        """The sample of an index; images are read when a batch is made."""
        at = index
        for part in self._parts:
            if 0 <= at < len(part.rows):
                return part.sample(at, index=index)
            at -= len(part.rows)
        raise IndexError(f"sample {index} of {len(self)}")

    def __iter__(self) -> Iterator[Sample]:
        """Yields all samples in order, quicker than one by one."""
        first = 0
        for part in self._parts:
            yield from part.samples(first=first)
            first += len(part.rows)

    @property
    def images(self) -> tuple[ImageFile, ...]:
        """Every image that a sample names, once, in order of first use; all in memory."""
        found: dict[ImageFile, None] = {}
        for part in self._parts:
            for _, path in part.index.images(part.rows):
                found[ImageFile(part.source.images, path)] = None
        return tuple(found)

    @property
    def lengths(self) -> Rows:
        """Tokens of every sample, before any is cut; needs `measure`."""
        return np.concatenate([part.tokens() for part in self._parts])

    def languages(self) -> dict[str, int]:
        """Samples per language, as they or their data sets state it."""
        counts: Counter[str] = Counter()
        for part in self._parts:
            counts.update(part.languages())
        return dict(counts)

    def report(self) -> tuple[DataSetReport, ...]:
        """Says what became of the records of every data set."""
        return tuple(part.report() for part in self._parts)

    def identity(self) -> dict[str, str]:
        """Tells sets apart from which different things are learned, or in another order."""
        return {
            f"{number}: {part.source.name}": (
                f"{part.index.fingerprint}, {part.drawn} of {len(part.rows)} samples"
            )
            for number, part in enumerate(self._parts)
        }

    def broken_samples(self, file: Path) -> BrokenSamples:
        """Returns what counts the broken samples that are come upon from now on, in a file."""
        return BrokenSamples(allowed=self.max_bad_samples, known=len(self.broken), file=file)

    def measure(self, processor: Measure, *, workers: int | None = None) -> "SampleSet":
        """Returns the samples with their lengths, those left out that cannot be encoded.

        Args:
            processor: Measures; what it has measured once is kept beside the index.
            workers: Processes that measure where there is much to do; None is one a core.

        Raises:
            UsageError: if more cannot be encoded than may be broken.
        """
        measured = copy.copy(self)
        measured._parts = [
            replace(part, lengths=Lengths(part.index, processor, workers=workers))
            for part in self._parts
        ]
        measured._leave_out([part.unusable() for part in measured._parts])
        return measured

    def limit(self, max_length: int, *, over_long: OverLong = "error") -> "SampleSet":
        """Returns the samples that are not too long, or that can be cut; needs `measure`.

        Args:
            max_length: Most tokens of a sample, those of its images included.
            over_long: What becomes of a longer one: it is dropped, or cut where batches are made,
                if anything to learn is left of it then, or it is an error.

        Raises:
            UsageError: if one is too long and that is an error, or nothing is left of a data set.
        """
        limited = copy.copy(self)
        limited._parts = [part.limited(max_length, over_long=over_long) for part in self._parts]
        return limited

    def without_images(self, faults: Mapping[ImageFile, str]) -> "SampleSet":
        """Returns the samples that name none of these images.

        Args:
            faults: Images that turned out to be broken, and what is wrong with them.

        Raises:
            UsageError: if more samples name them than may be broken.
        """
        if not faults:
            return self
        remaining = copy.copy(self)
        remaining._leave_out([part.naming(faults) for part in self._parts])
        return remaining

    def order(self, *, batch_size: int, seed: int, group_by_length: bool = True) -> SampleOrder:
        """Returns the order in which samples are seen; needs `measure` to group by length.

        Args:
            batch_size: Samples per optimiser step, over all processes.
            seed: Of the order.
            group_by_length: Whether batches are of samples that are about equally long.
        """
        return SampleOrder(
            [Share(size=len(part.rows), drawn=part.drawn) for part in self._parts],
            seed=seed,
            batch_size=batch_size,
            lengths=self.lengths if group_by_length else None,
        )

    def stand_ins(self, sample: Sample) -> Iterator[Sample]:
        """Yields what may stand in for a sample of this set, the nearest first.

        These are samples of its data set, in its language and with as many images, so that all that
        is counted of a batch before it is made stays true.
        """
        alike = (sample.language, len(sample.images))
        first = 0
        for part in self._parts:
            size = len(part.rows)
            if sample.index is not None and first <= sample.index < first + size:
                for step in range(1, size):
                    at = (sample.index - first + step) % size
                    found = part.sample(at, index=first + at)
                    if (found.language, len(found.images)) == alike:
                        yield found
            first += size

    def _leave_out(self, faults: Sequence[Faults]) -> None:
        """Leaves rows out that are faulty, unless there are too many."""
        found = []
        kinds = []
        parts = []
        for part, own in zip(self._parts, faults, strict=True):
            described = itertools.islice(own.items(), self.max_bad_samples + _DESCRIBED)
            for row, (problem, kind) in described:
                found.append((part.index.origin(row), problem))
                kinds.append(kind)
            parts.append(part.without(own))
        count = len(self.broken) + sum(map(len, faults))
        if count > self.max_bad_samples:
            kind = kinds[0] if kinds and kinds[0] is not None and len(set(kinds)) == 1 else None
            raise too_many(found, count=count, allowed=self.max_bad_samples, image_kind=kind)
        for place, problem in found:
            logger.warning("left out: %s: %s", place, problem)
        empty = [part.source.name for part in parts if not len(part.rows)]
        if empty:
            raise UsageError(f"no sample in {', '.join(empty)}", hint="Name a file that has some.")
        self.broken = (*self.broken, *found)
        self._parts = parts
