"""Samples for training: read once, checked before the first step, never replaced."""

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import Dataset

from parrot_core.data.images import ImageError, resolve_image
from parrot_core.data.samples import Sample, read_samples
from parrot_core.errors import MissingError, UsageError


class SampleSet(Dataset[Sample]):
    """The samples of several files, in their order.

    Args:
        files: JSON or JSONL files, relative to `root`.
        root: Folder that the files and their images lie in.

    Raises:
        MissingError: if a file is not there.
        ImageError: if an image is not there or outside the root; names the place in the file.
        UsageError: if a record is not a sample, or there is none.
    """

    def __init__(self, files: Sequence[str], *, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise MissingError(
                f"no such data folder: {root}",
                hint="Set data.folder; `parrot data demo` makes the tiny recipe's data.",
            )
        self.samples = [sample for name in files for sample in read_samples(root / name)]
        if not self.samples:
            raise UsageError(f"no sample in {', '.join(files)}", hint="Name a file that has some.")
        first_use: dict[str, Sample] = {}
        for sample in self.samples:
            for image in sample.images:
                first_use.setdefault(image, sample)
        for image, sample in first_use.items():
            try:
                resolve_image(image, root=root)
            except ImageError as error:
                raise ImageError(
                    f"{sample.origin}: {error.problem}", kind=error.kind, hint=error.hint
                ) from error
        self.images: tuple[str, ...] = tuple(first_use)
        """Every image that a sample names, once, in order of first use."""

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        """The sample of an index; images are read when a batch is made."""
        return self.samples[index]

    def languages(self) -> dict[str, int]:
        """Samples per stated language."""
        counts: dict[str, int] = {}
        for sample in self.samples:
            if sample.language is not None:
                counts[sample.language] = counts.get(sample.language, 0) + 1
        return counts
