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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from parrot_core.errors import ParrotError, UsageError
from parrot_core.translation.workers import Answer, Call

FORMAT = 1
"""Version of the tables below, kept in the file."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, step TEXT NOT NULL, language TEXT NOT NULL, model TEXT NOT NULL,
    prompt TEXT NOT NULL, candidate INTEGER NOT NULL, attempt INTEGER NOT NULL, text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost INTEGER,
    written REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    key TEXT NOT NULL, step TEXT NOT NULL, language TEXT NOT NULL, reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost INTEGER,
    written REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY, language TEXT NOT NULL, text TEXT NOT NULL, detail TEXT NOT NULL,
    final INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks (
    row TEXT PRIMARY KEY, step TEXT NOT NULL, language TEXT NOT NULL, hash TEXT NOT NULL,
    source TEXT NOT NULL, texts TEXT NOT NULL, authors TEXT NOT NULL, needed INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contributions (
    row TEXT NOT NULL, hash TEXT NOT NULL, person TEXT NOT NULL, text TEXT NOT NULL,
    comment TEXT NOT NULL, written REAL NOT NULL, PRIMARY KEY (row, hash, person)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Something for people to do.

    Attributes:
        row: Identity of the row: step, language and source text.
        hash: Hash of what the people see; a row whose hash has changed is stale.
        step: `draft`, `recheck`, `refine`, `vote` or `review`.
        language: Code of the language to translate into.
        source: The source text.
        texts: The translation to work on, or the versions to choose from.
        authors: Who wrote each of the texts.
        needed: How many people are wanted.
        reason: Why a review is wanted; empty for the steps.
    """

    row: str
    hash: str
    step: str
    language: str
    source: str
    texts: tuple[str, ...]
    authors: tuple[str, ...]
    needed: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contribution:
    """What one person did about a task: a text, or the number of the chosen version (from 0)."""

    row: str
    hash: str
    person: str
    text: str
    comment: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spending:
    """What a job has taken so far; `cost` is in billionths of a dollar."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0
    without_price: int = 0


class Journal:
    """An open journal; use it with `with`. Reads are immediate, writes are awaited.

    Args:
        path: The SQLite file; made if it is not there.

    Raises:
        UsageError: if another process writes it, or it is no journal of this version.
    """

    def __init__(self, path: Path) -> None:
        """Locks and opens the file, and starts the thread that writes."""
        self.path = path
        self._lock = _lock(path)
        try:
            self._reader = _open(path)
        except sqlite3.DatabaseError as error:
            self._lock.close()
            raise UsageError(
                f"{path} is not a usable journal: {error}",
                hint="Restore it from a copy, or choose another --out.",
            ) from error
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Writes what is waiting, and closes."""
        self._queue.put(None)
        self._thread.join()
        self._reader.close()
        self._lock.close()

    def answer(self, key: str) -> Answer | None:
        """Returns the answer to a call, if it was ever got."""
        row = self._reader.execute(
            "SELECT text, prompt_tokens, completion_tokens, cost FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        return Answer(text=row[0], prompt_tokens=row[1], completion_tokens=row[2], cost=row[3])

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

    def result(self, key: str) -> tuple[str, dict[str, Any]] | None:
        """Returns the finished translation of a segment and its details."""
        row = self._reader.execute(
            "SELECT text, detail FROM results WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else (row[0], json.loads(row[1]))

    def is_final(self, key: str) -> bool:
        """Says whether a segment has a result that no later run needs to look at again."""
        found = self._reader.execute(
            "SELECT 1 FROM results WHERE key = ? AND final", (key,)
        ).fetchone()
        return found is not None

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

    def task(self, row: str) -> Task | None:
        """Returns the task of a row, as it is now."""
        return next(self._tasks("WHERE row = ?", (row,)), None)

    def tasks(self, *, step: str | None = None, language: str | None = None) -> Iterator[Task]:
        """Yields the tasks of a step and language (None: all), in the order of their rows."""
        yield from self._tasks(
            "WHERE (?1 IS NULL OR step = ?1) AND (?2 IS NULL OR language = ?2) "
            "ORDER BY language, step, row",
            (step, language),
        )

    def _tasks(self, condition: str, values: Sequence[str | None]) -> Iterator[Task]:
        columns = "row, hash, step, language, source, texts, authors, needed, reason"
        # The condition is one of the two above; values are bound.
        for found in self._reader.execute(f"SELECT {columns} FROM tasks {condition}", values):
            row, content, step, language, source, texts, authors, needed, reason = found
            yield Task(
                row=row,
                hash=content,
                step=step,
                language=language,
                source=source,
                texts=tuple(json.loads(texts)),
                authors=tuple(json.loads(authors)),
                needed=needed,
                reason=reason,
            )

    def contributions(self, row: str, content: str) -> list[Contribution]:
        """Returns what people did about a task as it is now, by the names of the people."""
        found = self._reader.execute(
            "SELECT person, text, comment FROM contributions WHERE row = ? AND hash = ? "
            "ORDER BY person",
            (row, content),
        )
        return [
            Contribution(row=row, hash=content, person=person, text=text, comment=comment)
            for person, text, comment in found
        ]

    async def add_contributions(self, contributions: Sequence[Contribution]) -> None:
        """Keeps what people did, all of it or nothing."""
        now = time.time()
        values = [(c.row, c.hash, c.person, c.text, c.comment, now) for c in contributions]
        await self._write("INSERT INTO contributions VALUES (?, ?, ?, ?, ?, ?)", values, many=True)

    def spending(self) -> Spending:
        """Sums what the job has taken, answers that could not be used included."""
        row = self._reader.execute(
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
            " coalesce(sum(cost), 0), count(*) - count(cost) FROM ("
            " SELECT prompt_tokens, completion_tokens, cost FROM answers UNION ALL"
            " SELECT prompt_tokens, completion_tokens, cost FROM failures"
            " WHERE completion_tokens + prompt_tokens > 0)"
        ).fetchone()
        return Spending(
            requests=row[0],
            prompt_tokens=row[1],
            completion_tokens=row[2],
            cost=row[3],
            without_price=row[4],
        )

    def failures(self) -> dict[str, int]:
        """Counts failed calls by reason, over all runs of the job."""
        rows = self._reader.execute(
            "SELECT reason, count(*) FROM failures GROUP BY reason ORDER BY 2 DESC, 1"
        )
        return dict(rows.fetchall())

    async def _write(self, sql: str, values: Sequence[Any], *, many: bool = False) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.put(_Write(sql=sql, values=values, many=many, loop=loop, done=done))
        await done

    def _write_all(self) -> None:
        """The writing thread: waits for a write, takes all that have come, commits them as one."""
        connection = _open(self.path)
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
                ParrotError(
                    f"cannot write the journal: {problem}",
                    hint="Check the disk; what was written before is safe, so run it again then.",
                )
            )


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, FORMAT):
        connection.close()
        raise sqlite3.DatabaseError(f"its format is {version}, this Parrot writes {FORMAT}")
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
    return connection


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
