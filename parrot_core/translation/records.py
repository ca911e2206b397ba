"""What a translation job's journal holds, and how it is read."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from parrot_core.errors import UsageError
from parrot_core.translation.workers import Answer

JOURNAL_NAME = "journal.sqlite"
"""The journal's file in the folder of its job."""

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
    """What a job has taken so far; costs are in billionths of a dollar.

    Attributes:
        requests: Answers, those that could not be used among them.
        prompt_tokens: Their questions' tokens.
        completion_tokens: Their own tokens.
        cost: What they cost.
        without_price: Those of them whose price is not known.
        lost: The most that answers cost, if they were charged, which never arrived.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0
    without_price: int = 0
    lost: int = 0

    @property
    def most(self) -> int:
        """The most that the job may have cost."""
        return self.cost + self.lost


class JournalReader:
    """Reads a journal, also while another process writes it; use it with `with`.

    Args:
        path: The SQLite file.

    Raises:
        UsageError: if it is no journal of this version.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file."""
        self.path = path
        try:
            self._reader = open_database(path)
        except sqlite3.DatabaseError as error:
            raise UsageError(
                f"{path} is not a usable journal: {error}",
                hint="Restore it from a copy, or choose another --out.",
            ) from error

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._reader.close()

    def answer(self, key: str) -> Answer | None:
        """Returns the answer to a call, if it was ever got."""
        row = self._reader.execute(
            "SELECT text, prompt_tokens, completion_tokens, cost FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        return Answer(text=row[0], prompt_tokens=row[1], completion_tokens=row[2], cost=row[3])

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

    def spending(self) -> Spending:
        """Sums what the job has taken, answers that could not be used included."""
        row = self._reader.execute(
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
            " coalesce(sum(cost), 0), count(*) - count(cost) FROM ("
            " SELECT prompt_tokens, completion_tokens, cost FROM answers UNION ALL"
            " SELECT prompt_tokens, completion_tokens, cost FROM failures"
            " WHERE completion_tokens + prompt_tokens > 0)"
        ).fetchone()
        lost = self._reader.execute(
            "SELECT coalesce(sum(cost), 0) FROM failures"
            " WHERE prompt_tokens + completion_tokens = 0"
        ).fetchone()
        return Spending(
            requests=row[0],
            prompt_tokens=row[1],
            completion_tokens=row[2],
            cost=row[3],
            without_price=row[4],
            lost=lost[0],
        )

    def failures(self) -> dict[str, int]:
        """Counts failed calls by reason, over all runs of the job."""
        rows = self._reader.execute(
            "SELECT reason, count(*) FROM failures GROUP BY reason ORDER BY 2 DESC, 1"
        )
        return dict(rows.fetchall())


def open_database(path: Path) -> sqlite3.Connection:
    """Opens a journal's file, and makes its tables if it is new."""
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
