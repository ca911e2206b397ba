"""Files that can be made again: each is made once, whole or not at all, by one process of many."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from parrot_core.errors import MissingError, UsageError

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "PARROT_CACHE"
"""Environment variable that names Parrot's cache folder."""

_LOCK = "lock"
_SOURCE = "source.json"
_UNFINISHED = ".unfinished-"
_SILENT_WAIT = 2.0  # seconds before a process that waits for another says so
_FRESH = 2_000_000_000  # ns; a file changed again so soon may keep its time of change
_KEPT = 7 * 24 * 3600  # seconds that files of earlier contents stay, for runs that still use them


def default_cache() -> Path:
    """Returns Parrot's folder in the place where this system's programs keep what can be remade.

    `PARROT_CACHE` names another one.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "parrot"


@contextlib.contextmanager
def locked(path: Path, *, task: str) -> Iterator[None]:
    """While this lasts, no other process gets so far; the system lifts the lock of one that dies.

    Args:
        path: A file for the lock, made if it is not there.
        task: What the process that has the lock does, for whoever waits long for it.

    Raises:
        OSError: if the file cannot be made.
        NotImplementedError: if the disk cannot lock.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=_SILENT_WAIT)
    except Timeout:
        logger.info("waits for another process that %s", task)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A source as it was when its content was last read: while it looks so, it is so."""

    size: int
    written: int
    changed: int
    fingerprint: str
    read: int

    @classmethod
    def now(cls, source: Path) -> "_Seen":
        status, read = source.stat(), time.time_ns()
        with source.open("rb") as file:
            fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, fingerprint, read)

    def looks_like(self, source: Path) -> bool:
        status = source.stat()
        # The time of change, unlike that of writing, cannot be set by whoever copies a file.
        now = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return now == (self.size, self.written, self.changed)

    def still_holds(self, source: Path) -> bool:
        return max(self.written, self.changed) < self.read - _FRESH and self.looks_like(source)


class SourceCache:
    """The files that are made of one data file.

    They lie in a folder of their own and are named by the SHA-256 of the data file's content. A
    file gets its name only when it is complete and on the disk, so whatever has a name is whole;
    the system lifts the lock of a process that dies.

    Args:
        source: The data file.
        cache: Folder of all such files.

    Raises:
        MissingError: if the source is not there or cannot be read, or the folder not written to.
    """

    def __init__(self, source: Path, *, cache: Path) -> None:
        if not source.is_file():
            raise MissingError(f"no such data file: {source}", hint="Check the path.")
        self.source = source
        place = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:16]
        self.folder = cache / "data" / f"{source.stem[:60]}-{place}"
        with self._failures():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._seen = self._read_seen() or self._read_source()
        self.fingerprint = self._seen.fingerprint

    def path(self, ending: str) -> Path:
        """Returns the place of a file about the source as it is now."""
        return self.folder / f"{self.fingerprint[:32]}.{ending}"

    def made(self, ending: str, make: Callable[[Path], None]) -> Path:
        """Returns a file, made now if it is not there; other processes wait for it meanwhile.

        Args:
            ending: Tells the files of a source apart.
            make: Writes the file to the path it is given.

        Raises:
            MissingError: if there is no room, or the folder cannot be written to.
            UsageError: if the source changes meanwhile.
        """
        target = self.path(ending)
        if target.is_file():
            return target
        with self._failures(), self._locked():
            if not target.is_file():
                self._publish(target, make)
        return target

    def discard(self, ending: str) -> None:
        """Removes a file that turned out to be damaged."""
        with self._failures(), self._locked():
            self.path(ending).unlink(missing_ok=True)

    def _publish(self, target: Path, make: Callable[[Path], None]) -> None:
        self._tidy()
        unfinished = self.folder / f"{_UNFINISHED}{target.name}"
        try:
            make(unfinished)
            if not self._seen.looks_like(self.source):
                raise UsageError(
                    f"{self.source} changed while it was read",
                    hint="Wait until it is written, and start again.",
                )
            _flush(unfinished)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Removes what killed processes left, and what earlier contents of the source left."""
        long_ago = time.time() - _KEPT
        for path in self.folder.iterdir():
            outdated = path.suffix == ".arrow" and not path.name.startswith(self.fingerprint[:32])
            if path.name.startswith(_UNFINISHED) or (outdated and path.stat().st_mtime < long_ago):
                path.unlink(missing_ok=True)

    def _read_seen(self) -> _Seen | None:
        """What is remembered of the source, if it still looks so."""
        try:
            seen = _Seen(**json.loads((self.folder / _SOURCE).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return seen if seen.still_holds(self.source) else None

    def _read_source(self) -> _Seen:
        with self._locked():
            if seen := self._read_seen():
                return seen
            seen = _Seen.now(self.source)
            unfinished = self.folder / f"{_UNFINISHED}{_SOURCE}"
            unfinished.write_text(json.dumps(asdict(seen)), encoding="utf-8")
            unfinished.replace(self.folder / _SOURCE)
            return seen

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.folder / _LOCK, task=f"reads {self.source}")

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Says what to do about a folder that cannot be used."""
        try:
            yield
        except (OSError, NotImplementedError) as error:  # the latter: a disk that cannot lock
            if isinstance(error, OSError) and error.filename == str(self.source):
                raise MissingError(
                    f"cannot read {self.source}: {error.strerror}", hint="Check its permissions."
                ) from error
            full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
            reason = getattr(error, "strerror", None) or str(error)
            remedy = "Make room there, or set" if full else "Set"
            raise MissingError(
                f"cannot write the index of {self.source} in {self.folder}: {reason}",
                hint=f"{remedy} {CACHE_VARIABLE} to a folder on a disk with room.",
            ) from error


def _flush(path: Path) -> None:
    """Has the system write a file to the disk: a name must not outlive what it names."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
