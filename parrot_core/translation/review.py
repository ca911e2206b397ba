"""The two groups of people of Figure 3: what they work on, what they bring back, how they agree."""

import asyncio
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parrot_core.data.samples import IMAGE_PLACEHOLDER
from parrot_core.errors import MissingError, UsageError
from parrot_core.translation.exchange import WorkRow, read_rows, write_rows
from parrot_core.translation.journal import Journal
from parrot_core.translation.records import JOURNAL_NAME, Contribution, JournalReader, Task
from parrot_core.translation.workers import digest

PEOPLE_STEPS = ("draft", "recheck", "refine", "vote", "review")
"""What people can do: the steps, and the review of what was flagged."""

# `#NAME?`, `#N/A`, `Err:509`: a text that begins with `=` or `-` was taken for a formula.
_SPREADSHEET_ERROR = re.compile(r"#\S+|Err:\d+")
_LOST_LETTER = re.compile(r"\w\?\w")  # what is left of a letter that an old code page lacks
_UNSEEN = re.compile("[\\s\x00-\x1f\x7f-\x9f\ufffd-\uffff]")  # what tools change: no words


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A row that was not taken: where it is, which, and why."""

    line: int
    row: str
    kind: str
    message: str


@dataclass(slots=True)
class ImportReport:
    """What became of the rows of a file.

    Attributes:
        accepted: Rows that were taken.
        empty: Rows without an answer.
        refused: Rows that were not taken.
    """

    accepted: int = 0
    empty: int = 0
    refused: list[Refusal] = field(default_factory=list)


@dataclass(slots=True)
class StepStatus:
    """How far people are with one step in one language.

    Attributes:
        tasks: Rows there are.
        settled: Rows that need nobody any more.
        ties: Votes that are tied and need one more.
        people: Rows done by each person.
        agreement: Share of pairs of voters that agree, or None without two votes on a row.
        kappa: Fleiss' kappa of the votes, or None where it is not defined.
    """

    tasks: int = 0
    settled: int = 0
    ties: int = 0
    people: Counter[str] = field(default_factory=Counter)
    agreement: float | None = None
    kappa: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns the status as JSON holds it."""
        return {
            "tasks": self.tasks,
            "settled": self.settled,
            "ties": self.ties,
            "people": dict(sorted(self.people.items())),
            "agreement": self.agreement,
            "kappa": self.kappa,
        }


def open_journal(folder: Path) -> Journal:
    """Opens the journal of a job to write in it.

    Raises:
        MissingError: if there is none in the folder.
        UsageError: if another process writes it.
    """
    return Journal(_journal_of(folder))


def read_journal(folder: Path) -> JournalReader:
    """Opens the journal of a job to read it, also while the job runs.

    Raises:
        MissingError: if there is none in the folder.
    """
    return JournalReader(_journal_of(folder))


def _journal_of(folder: Path) -> Path:
    path = folder / JOURNAL_NAME
    if not path.is_file():
        raise MissingError(
            f"no translation job in {folder}", hint="Give the --out of `parrot data translate`."
        )
    return path


def export_work(
    journal: JournalReader,
    path: Path,
    *,
    step: str,
    kind: str,
    language: str | None = None,
    person: str | None = None,
    source_language: str = "en",
) -> int:
    """Writes the open rows of a step.

    Args:
        journal: The job's journal.
        path: The file to write.
        step: One of `PEOPLE_STEPS`.
        kind: One of `exchange.FORMATS`.
        language: Code of a language; None is all.
        person: Who will work on it: rows that this person has done, or must not vote on, are left
            out.
        source_language: Code of the language of the source texts.

    Returns:
        How many rows were written.

    Raises:
        UsageError: if the step or kind is unknown, or if something would be lost: the file has
            answers that were never imported, or is no table of work.
    """
    if step not in PEOPLE_STEPS:
        raise UsageError(f"no such step: {step!r}", hint=f"Steps: {', '.join(PEOPLE_STEPS)}.")
    person = None if person is None else one_name(person)
    _check_replaceable(journal, path)
    rows = []
    for task in journal.tasks(step=step, language=language):
        done = journal.contributions(task.row, task.hash)
        if _is_settled(task, done) or (person is not None and _has_done(person, task, done)):
            continue
        rows.append(
            WorkRow(
                row=task.row,
                hash=task.hash,
                language=task.language,
                step=task.step,
                source=task.source,
                texts=tuple(task.texts[place] for place in _shown_order(task)),
                reason=task.reason,
            )
        )
    write_rows(rows, path, kind=kind, source_language=source_language)
    return len(rows)


def import_work(
    journal: Journal, path: Path, *, person: str, replace: bool = False
) -> ImportReport:
    """Takes back what one person did; each row by itself, those taken all at once.

    Args:
        journal: The job's journal.
        path: A file that `export_work` wrote, with answers.
        person: Who did it.
        replace: Whether rows that this person has done before are taken in place of what was.

    Raises:
        MissingError, UsageError: if the file cannot be read, or the person has no name.
    """
    person = one_name(person)
    report = ImportReport()
    accepted: list[Contribution] = []
    seen: dict[str, int] = {}
    for row in read_rows(path):
        task = journal.task(row.row)
        answer = _answer(task, row)
        changed = None if task is None else _change(task, row)
        if not answer and changed is None:
            report.empty += 1
            continue
        problem = _problem(journal, task, row, answer, person=person, replace=replace, seen=seen)
        if problem is None and changed is not None:
            problem = "changed", changed
        seen.setdefault(row.row, row.line)
        if problem is not None:
            report.refused.append(
                Refusal(line=row.line, row=row.row, kind=problem[0], message=problem[1])
            )
            continue
        assert task is not None  # else it is foreign
        before = _own(person, journal.contributions(task.row, task.hash))
        accepted.append(
            Contribution(
                row=task.row,
                hash=task.hash,
                person=before[0].person if before else person,
                text=_value(task, answer),
                comment=row.comment,
            )
        )
    if accepted:
        asyncio.run(journal.add_contributions(accepted))
    report.accepted = len(accepted)
    return report


def _check_replaceable(journal: JournalReader, path: Path) -> None:
    """Refuses to write over people's work that the journal does not have, or another file."""
    if not path.exists():
        return
    elsewhere = "Choose another --out."
    try:
        rows = read_rows(path)
    except (UsageError, MissingError) as error:
        raise UsageError(f"{path} exists and is no table of work", hint=elsewhere) from error
    lost = sum(not _is_taken(journal, row) for row in rows)
    if lost:
        raise UsageError(
            f"{path} has {lost} answers that were not taken",
            hint=f"Import them (`parrot data review import`). {elsewhere}",
        )


def _is_taken(journal: JournalReader, row: WorkRow) -> bool:
    """Says whether a row has no answer, or one that the journal has."""
    task = journal.task(row.row)
    answer = _answer(task, row)
    if not answer:
        return True
    done = {entry.text for entry in journal.contributions(row.row, row.hash)}
    if task is None or task.hash != row.hash:  # what an `=` or a number stood for is forgotten
        return bool(done)
    return _unreadable(task, answer) is None and _value(task, answer) in done


def _answer(task: Task | None, row: WorkRow) -> str:
    """Returns what a person wrote in a row, or nothing."""
    answer = row.answer.strip()
    if answer.startswith("\0"):  # XLIFF: the tool did not say that it was worked on
        answer = answer[1:].strip()
        if task is not None and task.texts and answer == task.texts[0]:
            return ""
    return answer


def _change(task: Task, row: WorkRow) -> str | None:
    """Says what else was changed in a row than its answer; columns that are gone tell nothing."""
    if row.hash != task.hash:  # what it showed is not known any more
        return None
    if row.source and _unspaced(row.source) != _unspaced(task.source):
        return (
            "its source text is another row's, or was changed: was a column sorted or shifted "
            "without the others?"
        )
    shown = [task.texts[place] for place in _shown_order(task)]
    if row.texts and [*map(_unspaced, row.texts)] != [*map(_unspaced, shown)]:
        return "the translation that was shown is changed: a new text goes to `answer`"
    return None


def _unspaced(text: str) -> str:
    """A text without what programs change by themselves: line ends, white space, control signs."""
    return _UNSEEN.sub("", unicodedata.normalize("NFC", text))


def one_name(person: str) -> str:
    """Returns a person's name in one spelling, so that nobody is two by a space or an accent.

    Raises:
        UsageError: if there is no name.
    """
    name = " ".join(unicodedata.normalize("NFC", person).split())
    if not name:
        raise UsageError("a contribution needs a name", hint="Give --person NAME.")
    return name


def _problem(
    journal: Journal,
    task: Task | None,
    row: WorkRow,
    answer: str,
    *,
    person: str,
    replace: bool,
    seen: Mapping[str, int],
) -> tuple[str, str] | None:
    """Returns kind and words of what is wrong with a row, or None."""
    if task is None:
        return "foreign", "it is not a row of this job"
    if row.hash != task.hash:
        return "stale", "it has changed since it was exported: export it again"
    if row.row in seen:
        return "duplicate", f"it stands on line {seen[row.row]} already"
    done = journal.contributions(task.row, task.hash)
    before = _own(person, done)
    if before and not replace:
        return "duplicate", f"{person} has done it already; --replace takes this instead"
    if _is_among(person, _authors(task)):
        return "own", f"{person} wrote one of the versions"
    if not before and _is_settled(task, done):
        return "settled", "it needs nobody any more"
    if not answer:  # only what was shown beside it is changed
        return None
    unreadable = _unreadable(task, answer)
    if unreadable is not None:
        return "unreadable", unreadable
    wanted = task.source.count(IMAGE_PLACEHOLDER)
    found = _value(task, answer).count(IMAGE_PLACEHOLDER)
    if task.step != "vote" and found != wanted:
        return "placeholder", f"{found} {IMAGE_PLACEHOLDER} in the answer, {wanted} in the source"
    return None


def _unreadable(task: Task, answer: str) -> str | None:
    """Says why an answer cannot be what a person meant, or None."""
    if task.step == "vote":
        if not answer.isdecimal() or not 1 <= int(answer) <= len(task.texts):
            return f"{answer!r:.40} is no number from 1 to {len(task.texts)}"
        return None
    if _stays(answer):
        return None if task.texts else "it has no translation that could stay as it is"
    if _SPREADSHEET_ERROR.fullmatch(answer) and not _SPREADSHEET_ERROR.match(task.source):
        return f"the spreadsheet took the text for a formula: {answer!r:.40}; write ' before it"
    if not any(map(str.isalnum, answer)):
        return f"{answer!r:.40} is no text"
    if _LOST_LETTER.search(answer) and not _LOST_LETTER.search(task.source):
        return 'letters have become "?": save it as "CSV UTF-8"'
    return None


def _stays(answer: str) -> bool:
    """Says whether a translation is right as it is; Chinese keyboards write `=` at full width."""
    return unicodedata.normalize("NFKC", answer) == "="


def _value(task: Task, answer: str) -> str:
    """Returns what is kept of an answer: the text, or the place of the chosen version."""
    if task.step == "vote":
        return str(_shown_order(task)[int(answer) - 1])
    return task.texts[0] if _stays(answer) else answer


def _shown_order(task: Task) -> list[int]:
    """The order in which versions are shown: drawn, so that it does not tell their authors."""
    order = list(range(len(task.texts)))
    if task.step == "vote":
        random.Random(digest("order", task.row, task.hash)).shuffle(order)
    return order


def _authors(task: Task) -> set[str]:
    """Who must not vote; a version that several wrote names them on lines of their own."""
    return (
        {name for names in task.authors for name in names.split("\n")}
        if (task.step == "vote")
        else set()
    )


def _has_done(person: str, task: Task, done: Sequence[Contribution]) -> bool:
    return _is_among(person, _authors(task)) or bool(_own(person, done))


def _own(person: str, done: Sequence[Contribution]) -> list[Contribution]:
    return [entry for entry in done if _is_among(person, [entry.person])]


def _is_among(person: str, people: Iterable[str]) -> bool:
    return person.casefold() in {name.casefold() for name in people}


def _is_settled(task: Task, done: Sequence[Contribution]) -> bool:
    return len(done) >= task.needed and not (task.step == "vote" and _is_tied(done))


def _is_tied(votes: Sequence[Contribution]) -> bool:
    ranked = [count for _, count in Counter(vote.text for vote in votes).most_common(2)]
    return len(ranked) == 2 and ranked[0] == ranked[1]


def status(journal: JournalReader) -> dict[str, dict[str, StepStatus]]:
    """Returns how far people are, by language and step."""
    found: dict[str, dict[str, StepStatus]] = defaultdict(dict)
    votes: dict[str, list[list[int]]] = defaultdict(list)
    for task in journal.tasks():
        part = found[task.language].setdefault(task.step, StepStatus())
        done = journal.contributions(task.row, task.hash)
        part.tasks += 1
        part.settled += _is_settled(task, done)
        part.people.update(entry.person for entry in done)
        if task.step == "vote":
            part.ties += len(done) >= task.needed and _is_tied(done)
            tally = Counter(int(entry.text) for entry in done)
            votes[task.language].append([tally[place] for place in range(len(task.texts))])
    for language, tallies in votes.items():
        part = found[language]["vote"]
        part.agreement, part.kappa = fleiss_kappa(tallies)
    return {language: dict(steps) for language, steps in found.items()}


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> tuple[float | None, float | None]:
    """Returns the observed agreement and Fleiss' kappa (Fleiss 1971).

    Args:
        counts: How many raters chose each category, a row per item. Rows may have different sums
            (then each row's agreement is taken among its own raters); those below two tell nothing.

    Returns:
        The share of pairs of raters that agree, and kappa; None where they are not defined (no
        item with two raters; all ratings in one category).
    """
    rows = [row for row in counts if sum(row) >= 2]
    if not rows:
        return None, None
    per_item = [
        sum(count * (count - 1) for count in row) / (sum(row) * (sum(row) - 1)) for row in rows
    ]
    observed = sum(per_item) / len(per_item)
    total = sum(map(sum, rows))
    width = max(map(len, rows))
    shares = [sum(row[place] for row in rows if place < len(row)) / total for place in range(width)]
    expected = sum(share**2 for share in shares)
    if expected == 1:
        return observed, None
    return observed, (observed - expected) / (1 - expected)
