"""Steps done by people: what is put before them, and what they brought back."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from parrot_core.translation.checks import Flag
from parrot_core.translation.records import Contribution, Task
from parrot_core.translation.segments import Segment
from parrot_core.translation.settings import Settings
from parrot_core.translation.versions import Version, judged
from parrot_core.translation.workers import digest


class PendingError(Exception):
    """A segment that waits for people.

    Attributes:
        step: What they are to do.
    """

    def __init__(self, step: str) -> None:
        """Keeps the step."""
        super().__init__(f"waits for people to {step}")
        self.step = step


class Tasks(Protocol):
    """Where tasks and what people did about them are: the journal."""

    def task(self, row: str) -> Task | None:
        """Returns the task of a row, as it is now."""
        ...

    def contributions(self, row: str, content: str) -> list[Contribution]:
        """Returns what people did about a task as it is now, by the names of the people."""
        ...

    async def add_task(self, task: Task) -> None:
        """Puts something before the people."""
        ...


class ByPeople:
    """Does steps by tasks in the journal; `review` exports and imports them."""

    def __init__(self, settings: Settings, *, journal: Tasks) -> None:
        """Keeps how, and where the tasks are."""
        self._settings = settings
        self._journal = journal

    async def texts(
        self, step: str, segment: Segment, before: Version | None, *, needed: int
    ) -> list[Version]:
        """Returns what people wrote, by their names, or puts the task before them.

        Raises:
            PendingError: if fewer than are needed have written.
        """
        texts = () if before is None else (before.text,)
        authors = () if before is None else (before.author,)
        task = self._task(step, segment, texts, authors, needed=needed)
        written = self._journal.contributions(task.row, task.hash)
        if len(written) < needed:
            await self._put(task)
            raise PendingError(step)
        return [
            judged(
                segment,
                contribution.text,
                author=contribution.person,
                settings=self._settings,
            )
            for contribution in written
        ]

    async def votes(
        self, segment: Segment, versions: Sequence[Version], choices: Sequence[int]
    ) -> list[int]:
        """Returns the votes once there are enough and they are not tied.

        Raises:
            PendingError: until then.
        """
        shown = [versions[index] for index in choices]
        task = self._task(
            "vote",
            segment,
            [version.text for version in shown],
            # Whoever wrote the same text as another wrote that version too.
            [
                "\n".join(other.author for other in versions if other.text == version.text)
                for version in shown
            ],
            needed=self._settings.voters,
        )
        votes = [int(vote.text) for vote in self._journal.contributions(task.row, task.hash)]
        ranked = [count for _, count in Counter(votes).most_common(2)]
        tied = len(ranked) == 2 and ranked[0] == ranked[1]
        if len(votes) < self._settings.voters or tied:
            await self._put(task)
            raise PendingError("vote")
        return [choices[vote] for vote in votes]

    async def review(
        self, segment: Segment, version: Version, flags: Sequence[Flag]
    ) -> tuple[Version | None, bool]:
        """Returns a person's correction of a flagged text, and whether one is awaited.

        A correction is checked, too: what is wrong with it that nobody was told of is reviewed in
        its turn, until somebody leaves the text as it is.
        """
        told: set[str] = set()
        reviewed: Version | None = None
        while flags:
            told |= set(map(_subject, flags))
            before = reviewed or version
            reason = "; ".join(f"{flag.kind}: {flag.detail}" for flag in flags)
            task = self._task(
                "review", segment, [before.text], [before.author], needed=1, reason=reason
            )
            written = self._journal.contributions(task.row, task.hash)
            if not written:
                waits = self._settings.on_flag == "review"
                if waits:
                    await self._put(task)
                return reviewed, waits
            text, person = written[0].text, written[0].person
            after = judged(segment, text, author=person, settings=self._settings)
            flags = [
                flag for flag in after.flags if text != before.text and _subject(flag) not in told
            ]
            reviewed = Version(text=text, author=person, flags=tuple(flags))
        return reviewed, False

    async def _put(self, task: Task) -> None:
        """Puts a task before the people, unless it is there already."""
        if self._journal.task(task.row) != task:
            await self._journal.add_task(task)

    def _task(
        self,
        step: str,
        segment: Segment,
        texts: Sequence[str],
        authors: Sequence[str],
        *,
        needed: int,
        reason: str = "",
    ) -> Task:
        place = (self._settings.source_language, segment.language)
        return Task(
            row=_identity("r", "row", step, *place, segment.text, segment.image_digest),
            hash=_identity("h", "seen", segment.text, list(texts)),
            step=step,
            language=segment.language,
            source=segment.text,
            texts=tuple(texts),
            authors=tuple(authors),
            needed=needed,
            reason=reason,
        )


def _subject(flag: Flag) -> str:
    """What a flag is about: some are measures, which are never twice the same."""
    exact = flag.kind in ("protected", "glossary")
    return f"{flag.kind}: {flag.detail}" if exact else flag.kind


def _identity(letter: str, *parts: object) -> str:
    """Hash that begins with a letter: of digits and an E alone, a spreadsheet makes a number."""
    return letter + digest(*parts)[:16]
