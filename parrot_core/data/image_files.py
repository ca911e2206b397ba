"""Whether the images that samples name are there: looked up once for a file, not at every start."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from parrot_core.data.images import ImageError, resolve_image
from parrot_core.data.index import SampleIndex

_ROWS_BETWEEN_REPORTS = 4096


class ImageFiles:
    """Finds out whether images are there and lie in an image root.

    Opening a path part by part, as `resolve_image` does, takes long for a million; here a folder is
    followed to its real place once, and a file in it costs one look.

    Args:
        root: The image root.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, str | None] = {}
        self._known: dict[str, tuple[str, str] | None] = {}

    def fault(self, path: str) -> tuple[str, str] | None:
        """Returns the kind of fault (of `ImageError`) and what is wrong, or None if nothing is."""
        if path not in self._known:
            self._known[path] = None if self._is_there(path) else self._look_closely(path)
        return self._known[path]

    def _is_there(self, path: str) -> bool:
        """Whether it is surely there; False if it is not, or may be elsewhere by way of a link."""
        folder, _, name = path.rpartition("/")
        if name in {"", ".", ".."} or PureWindowsPath(path).anchor:
            return False
        if folder not in self._folders:
            self._folders[folder] = self._follow(folder)
        real = self._folders[folder]
        if real is None:
            return False
        try:
            return stat.S_ISREG(os.lstat(f"{real}/{name}").st_mode)
        except (OSError, ValueError):  # ValueError: a null byte
            return False

    def _follow(self, folder: str) -> str | None:
        if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
            return None
        try:
            root = self._root.resolve(strict=True)
            real = (root / folder).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        return str(real) if real.is_relative_to(root) else None

    def _look_closely(self, path: str) -> tuple[str, str] | None:
        try:
            resolve_image(path, root=self._root)
        except ImageError as error:
            return error.kind, error.problem
        return None


def missing_images(index: SampleIndex, root: Path) -> dict[int, tuple[str, str]]:
    """Finds the rows whose images cannot be had: for each, the first one's kind of fault and fault.

    All images of a file are looked up once for each image root. Those that were not there are
    looked up again at every start, and all are when one of them has come.
    """
    identity = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    ending = f"images-1-{identity}.arrow"
    for _ in range(2):
        found = index.open(ending, lambda path: _make(path, index, root))
        files = ImageFiles(root)
        faults = {}
        for values in found.rows():
            fault = files.fault(values["image"])
            if fault is None:
                index.cache.discard(ending)
                break
            faults[values["row"]] = fault
        else:
            return faults
    raise ImageError(
        f"images of {index.file} come and go in {root}",
        kind="missing",
        hint="Wait until they are all there, and start again.",
    )


def _make(path: Path, index: SampleIndex, root: Path) -> None:
    import pyarrow as pa

    from parrot_core.data.arrow import write_rows

    schema = pa.schema({"row": pa.int32(), "image": pa.string()})
    write_rows(path, _faulty(index, ImageFiles(root)), schema=schema)


def _faulty(index: SampleIndex, files: ImageFiles) -> Iterator[tuple[Any, ...]]:
    row = 0
    for (images,) in index.rows().columns("images"):
        for paths in images.to_pylist():
            for path in paths:
                if files.fault(path) is not None:
                    yield row, path
                    break
            row += 1
            if row % _ROWS_BETWEEN_REPORTS == 0:
                index.report("looks up images", row, len(index))
    index.rows().release()
