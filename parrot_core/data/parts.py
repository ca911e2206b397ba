"""A data set among those of a run: which records of its file are left, and how many are drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from parrot_core.data.image_files import missing_images
from parrot_core.data.index import Rows, SampleIndex
from parrot_core.data.lengths import Lengths
from parrot_core.data.samples import ImageFile, Sample
from parrot_core.errors import UsageError

OverLong = Literal["drop", "truncate", "error"]

Faults = dict[int, tuple[str, str | None]]
"""By row: what is wrong with it, and of what kind (as in `ImageError`), if it is an image's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """A data set to train on.

    Attributes:
        name: What it is called in messages and logs.
        file: Its samples: JSON, JSONL or Parquet.
        images: Folder that its samples' image paths are relative to.
        language: Of its samples that state none.
        weight: How often each sample is seen in an epoch; 0.5 draws half of them.
        samples: Instead of the weight, how many samples an epoch draws.
    """

    name: str
    file: Path
    images: Path
    language: str | None = None
    weight: float = 1.0
    samples: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSetReport:
    """What became of a data set's records.

    Attributes:
        name: Of the data set.
        file: Its file.
        fingerprint: SHA-256 of the file.
        records: How many it has.
        broken: How many were left out because something is wrong with them.
        dropped: How many were left out because they are too long.
        truncated: How many are cut because they are too long.
        samples: How many there are to learn from.
        drawn: How many of them an epoch sees, repeated ones counted each time.
    """

    name: str
    file: str
    fingerprint: str
    records: int
    broken: int
    dropped: int
    truncated: int
    samples: int
    drawn: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A data set and what is left of it.

    Attributes:
        source: The data set.
        index: Its file.
        rows: The records that are left, in order.
        lengths: Theirs, if they have been measured.
        broken: How many were left out because something is wrong with them.
        dropped: How many were left out because they are too long.
        truncated: How many are to be cut.
    """

    source: DataSource
    index: SampleIndex
    rows: Rows
    lengths: Lengths | None = None
    broken: int = 0
    dropped: int = 0
    truncated: int = 0

    @property
    def drawn(self) -> int:
        """Samples that an epoch draws."""
        if self.source.samples is not None:
            return self.source.samples
        if not self.source.weight:
            return 0
        # Half a sample counts as one: a data set that is named gives at least something.
        return max(1, int(self.source.weight * len(self.rows) + 0.5))

    def sample(self, at: int, *, index: int) -> Sample:
        """Returns the sample at a place among those left, which is `index` in the whole set."""
        found = self.index.sample(
            int(self.rows[at]),
            image_root=self.source.images,
            dataset=self.source.name,
            index=index,
        )
        return self._in_its_language(found)

    def samples(self, *, first: int) -> Iterator[Sample]:
        """Yields the samples that are left in order, numbered from `first` on."""
        found = self.index.samples(
            self.rows, image_root=self.source.images, dataset=self.source.name, first=first
        )
        return map(self._in_its_language, found)

    def _in_its_language(self, sample: Sample) -> Sample:
        if sample.language is not None or self.source.language is None:
            return sample
        return replace(sample, language=self.source.language)

    def languages(self) -> dict[str, int]:
        """Returns how many samples there are in each language; those in none are not counted."""
        counts: dict[str, int] = {}
        codes = np.bincount(self.index.language_codes[self.rows])
        for stated, count in zip(self.index.languages, codes.tolist(), strict=False):
            language = stated or self.source.language
            if language is not None and count:
                counts[language] = counts.get(language, 0) + count
        return counts

    def tokens(self) -> Rows:
        """Returns the tokens of every sample that is left, before any is cut."""
        return self._measured().tokens()[self.rows]

    def report(self) -> DataSetReport:
        """Says what became of the records."""
        return DataSetReport(
            name=self.source.name,
            file=str(self.source.file),
            fingerprint=self.index.fingerprint,
            records=len(self.index),
            broken=self.broken,
            dropped=self.dropped,
            truncated=self.truncated,
            samples=len(self.rows),
            drawn=self.drawn,
        )

    def broken_records(self, *, described: int) -> Faults:
        """Finds the broken records, and those whose images are not there.

        Args:
            described: Of how many broken records it is found out what is wrong with them.
        """
        faults: Faults = {}
        for row in self.index.broken.tolist():
            problem = self.index.problem(row) if len(faults) < described else ""
            faults[row] = (problem, None)
        for row, (kind, problem) in missing_images(self.index, self.source.images).items():
            faults[row] = (problem, kind)
        return dict(sorted(faults.items()))

    def unusable(self) -> Faults:
        """Finds the records that could not be measured."""
        return {row: (problem, None) for row, problem in self._measured().unusable.items()}

    def naming(self, images: Mapping[ImageFile, str]) -> Faults:
        """Finds the samples that name one of these broken images."""
        found: Faults = {}
        for row, path in self.index.images(self.rows):
            fault = images.get(ImageFile(self.source.images, path))
            if fault is not None:
                found.setdefault(row, (fault, "unreadable"))
        return found

    def without(self, faults: Faults) -> "Part":
        """Returns what is left when faulty records are left out."""
        faulty = np.fromiter(faults, np.int32)
        rows = np.setdiff1d(self.rows, faulty, assume_unique=True)
        return replace(self, rows=rows, broken=self.broken + len(faults))

    def limited(self, max_length: int, *, over_long: OverLong) -> "Part":
        """Returns what is left when samples may have so many tokens.

        Raises:
            UsageError: if one has more and that is an error, or nothing is left.
        """
        tokens = self.tokens()
        long = tokens > max_length
        if not long.any():
            return self
        if over_long == "error":
            first = int(np.flatnonzero(long)[0])
            more = f" (and {int(long.sum()) - 1:,} more)" if long.sum() > 1 else ""
            raise UsageError(
                f"{self.index.origin(int(self.rows[first]))}: {tokens[first]:,} tokens, "
                f"{max_length:,} are allowed{more}",
                hint='Raise max_length, or set over_long to "drop" or "truncate".',
            )
        cut = long & (self._measured().needed()[self.rows] <= max_length)
        if over_long == "drop":
            cut[:] = False
        kept = ~long | cut
        if not kept.any():
            raise UsageError(
                f"every sample of {self.source.name} is longer than {max_length:,} tokens",
                hint="Raise max_length in the recipe.",
            )
        return replace(
            self,
            rows=self.rows[kept],
            dropped=self.dropped + int((~kept).sum()),
            truncated=self.truncated + int(cut.sum()),
        )

    def _measured(self) -> Lengths:
        if self.lengths is None:
            raise ValueError(f"{self.source.name} has not been measured")
        return self.lengths
