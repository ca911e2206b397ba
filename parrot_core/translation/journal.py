"""The journal of a translation job: every answer is on disk before anything else happens to it.

One SQLite file in write-ahead mode. A single thread writes; it commits all that has come in while
the commit before was under way, so that one sync to disk serves many answers, and only then lets
their callers go on. A process killed at any point loses at most answers that were still on the
wire.
"""

import asyncio
import fcntl
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from parrot_core.errors import MissingError, UsageError
from parrot_core.translation.records import Contribution, JournalReader, Task, open_database
from parrot_core.translation.workers import Answer, Call


class Journal(JournalReader):
    """An open journal; use it with `with`. Reads are immediate, writes are awaited.

    Args:
        path: The SQLite file; made if it is not there.

    Raises:
        UsageError: if another process writes it, or it is no journal of this version.
    """

    def __init__(self, path: Path) -> None:
        """Locks and opens the file, and starts the thread that writes."""
        self._lock = _lock(path)
        try:
            super().__init__(path)
        except UsageError:
            self._lock.close()
            raise
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Writes what is waiting, and closes."""
        self._queue.put(None)
        self._thread.join()
        super().__exit__(kind, error, trace)
        self._lock.close()

    async def add_answer(self, call: Call, answer: Answer) -> None:
        """Keeps an answer; it is on disk when this returns."""
        values = (
            call.key(),
            call.step,
            call.language,
            call.model,
            call.prompt,
            call.candidate,
            call.attempt,
            answer.text,
            answer.prompt_tokens,
            answer.completion_tokens,
            answer.cost,
            time.time(),
        )
        await self._write(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
        )

    async def add_failure(self, call: Call, reason: str, *, answer: Answer | None = None) -> None:
        """Keeps that a call failed, and what it cost if an unusable answer came."""
        spent = answer or Answer(text="")
        values = (
            call.key(),
            call.step,
            call.language,
            reason,
            spent.prompt_tokens,
            spent.completion_tokens,
            spent.cost,
            time.time(),
        )
        await self._write("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    async def add_result(
        self, key: str, text: str, detail: Mapping[str, Any], *, language: str, final: bool
    ) -> None:
        """Keeps the translation of a segment; one that is not final is worked out again."""
        spelled = json.dumps(detail, ensure_ascii=False, sort_keys=True)
        await self._write(
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)",
            (key, language, text, spelled, int(final)),
        )

    async def drop_result(self, key: str) -> None:
        """Forgets a result that no longer holds."""
        await self._write("DELETE FROM results WHERE key = ?", (key,))

    async def add_task(self, task: Task) -> None:
        """Puts something before the people, in place of what the row said before."""
        texts, authors = (
            json.dumps(part, ensure_ascii=False) for part in (task.texts, task.authors)
        )
        await self._write(
            "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                task.row,
                task.step,
                task.language,
                task.hash,
                task.source,
                texts,
                authors,
                task.needed,
                task.reason,
            ),
        )

    async def add_contributions(self, contributions: Sequence[Contribution]) -> None:
        """Keeps what people did, all of it or nothing, in place of what they did there before."""
        now = time.time()
        values = [(c.row, c.hash, c.person, c.text, c.comment, now) for c in contributions]
        await self._write(
            "INSERT OR REPLACE INTO contributions VALUES (?, ?, ?, ?, ?, ?)", values, many=True
        )

    async def _write(self, sql: str, values: Sequence[Any], *, many: bool = False) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.put(_Write(sql=sql, values=values, many=many, loop=loop, done=done))
        await done

    def _write_all(self) -> None:
        """The writing thread: waits for a write, takes all that have come, commits them as one."""
        connection = open_database(self.path)
        ended = False
        while not ended:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            ended = None in batch
            writes = [write for write in batch if write is not None]
            problem: Exception | None = None
            try:
                with connection:
                    for write in writes:
                        run = connection.executemany if write.many else connection.execute
                        run(write.sql, write.values)
            # The latter two: a value that the file cannot hold. Whoever waits must hear of it.
            except (sqlite3.Error, ValueError, OverflowError) as error:
                problem = error
            by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
            for write in writes:
                by_loop.setdefault(write.loop, []).append(write.done)
            for loop, futures in by_loop.items():
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, futures, problem)
        connection.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Write:
    sql: str
    values: Sequence[Any]
    many: bool
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[None]"


def _settle(futures: Sequence["asyncio.Future[None]"], problem: Exception | None) -> None:
    for future in futures:
        if future.done():  # its caller was cancelled
            continue
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(
                MissingError(
                    f"cannot write the journal: {problem}",
                    hint="Check the disk; what was written before is safe, so run it again then.",
                )
            )


def _lock(path: Path) -> IO[bytes]:
    """Holds a lock beside the journal that a killed process lets go of by dying.

    On a file of its own: locks on the database's own file would interfere with SQLite's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_suffix(".lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UsageError(
            f"another process is working with {path}",
            hint="Wait for it or stop it; two at once would pay for the same answers twice.",
        ) from error
    return file
