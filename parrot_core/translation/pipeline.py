"""Figure 3 for one segment: draft, re-check, independent refinements, vote."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parrot_core.errors import UsageError
from parrot_core.languages import get_language
from parrot_core.translation import checks
from parrot_core.translation.calls import Caller
from parrot_core.translation.checks import CHECKS_VERSION, Flag
from parrot_core.translation.glossary import Glossary, as_prompt
from parrot_core.translation.journal import Journal, Task
from parrot_core.translation.prompts import STEPS, Prompt
from parrot_core.translation.segments import Segment
from parrot_core.translation.workers import Answer, Call, UnusableError, digest

ON_FLAG = ("keep", "drop", "review")
"""What can happen to samples with flags."""

_NUMBERS = re.compile(r"\d+")
_VOTE_LETTERS = 80  # a longer text is no vote, whatever numbers it has


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How segments are translated. Every field but `attempts` and `on_flag` is part of the keys.

    Attributes:
        prompts: The prompt of each step.
        model: The model's name.
        source_language: Code of the samples' language.
        steps: Steps that are done, in Figure 3's order.
        human: Those of them that people do.
        step_models: Models of single steps, where not `model`.
        candidates: Independent refinements of each segment (the paper's first group: 3).
        voters: Votes on each segment (the paper's second group).
        glossary: Terms with one translation.
        attempts: Answers that a model may give to one question before its best, with its faults,
            is taken.
        on_flag: What happens to samples with flags: `keep` writes them with their flags, `drop`
            leaves them out, `review` lets them wait for people.
    """

    prompts: Mapping[str, Prompt]
    model: str
    source_language: str = "en"
    steps: tuple[str, ...] = STEPS
    human: frozenset[str] = frozenset()
    step_models: Mapping[str, str] = field(default_factory=dict)
    candidates: int = 3
    voters: int = 1
    glossary: Glossary = field(default_factory=Glossary)
    attempts: int = 4
    on_flag: str = "keep"

    def __post_init__(self) -> None:
        """Refuses steps that make no sense together."""
        if self.on_flag not in ON_FLAG:
            raise UsageError(
                f"no such policy: {self.on_flag!r}", hint=f"Give one of {', '.join(ON_FLAG)}."
            )
        unknown = [step for step in (*self.steps, *self.human) if step not in STEPS]
        if unknown:
            raise UsageError(f"no such step: {unknown[0]!r}", hint=f"Steps: {', '.join(STEPS)}.")
        if "draft" not in self.steps or list(self.steps) != sorted(
            set(self.steps), key=STEPS.index
        ):
            raise UsageError(
                f"the steps {','.join(self.steps)} are no order of work",
                hint=f"Steps are some of {','.join(STEPS)} in this order, the draft among them.",
            )
        if "vote" in self.steps and "refine" not in self.steps:
            raise UsageError("a vote without refinements", hint="Add refine, or leave out vote.")
        if "refine" in self.steps and "vote" not in self.steps and self.candidates > 1:
            raise UsageError(
                f"{self.candidates} refinements and no vote among them",
                hint="Add vote, or set --candidates 1.",
            )

    def model_of(self, step: str) -> str:
        """Returns who does a step, as provenance states it."""
        return "people" if step in self.human else self.step_models.get(step, self.model)


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One translation of a segment.

    Attributes:
        text: The translation.
        author: The model or person.
        flags: What is suspicious about it.
    """

    text: str
    author: str
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Translated:
    """A finished segment; `final` if no later run needs to look at it again."""

    text: str
    detail: dict[str, Any]
    final: bool


class PendingError(Exception):
    """A segment that waits for people.

    Attributes:
        step: What they are to do.
    """

    def __init__(self, step: str) -> None:
        """Keeps the step."""
        super().__init__(f"waits for people to {step}")
        self.step = step


@dataclass(slots=True)
class _Account:
    """What the answers that made a segment have taken.

    Those that were found faulty are in the journal's sums, but not here: which they are can differ
    between two runs of one job, and this is part of its results.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0

    def add(self, answer: Answer) -> None:
        self.requests += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.cost += answer.cost or 0


class Pipeline:
    """Translates segments, one `translate` per segment, any number at once."""

    def __init__(self, settings: Settings, *, caller: Caller, journal: Journal) -> None:
        """Refuses steps that the worker cannot do."""
        self._settings = settings
        self._caller = caller
        self._journal = journal
        unable = sorted(set(settings.steps) - settings.human - caller.worker.steps)
        if unable:
            raise UsageError(
                f"the backend {caller.worker.name!r} cannot do: {', '.join(unable)}",
                hint=f"Give --steps draft, or let people do it: {unable[0]}:human.",
            )

    @property
    def backend(self) -> str:
        """The kind of worker, as provenance states it."""
        return self._caller.worker.name

    def key(self, segment: Segment) -> str:
        """Hash of everything that a segment's result depends on."""
        settings = self._settings
        worker = self._caller.worker
        steps = [
            [
                step,
                settings.model_of(step),
                settings.prompts[step].identity,
                worker.parameters(step, candidate=0, text="") if step not in settings.human else {},
            ]
            for step in settings.steps
        ]
        return digest(
            "result",
            CHECKS_VERSION,
            worker.name,
            steps,
            settings.candidates,
            settings.voters,
            settings.source_language,
            segment.language,
            segment.text,
            segment.image_digest,
            settings.glossary.for_text(segment.text, segment.language),
        )

    async def translate(self, segment: Segment) -> Translated:
        """Takes a segment through all steps.

        Raises:
            PendingError: if people have to do something first.
            UnusableError: if the model gives no usable draft.
            UnansweredError, StoppedError: as `Caller.get`.
        """
        settings = self._settings
        account = _Account()
        version = await self._version("draft", segment, None, account)
        extra: list[Flag] = []
        if "recheck" in settings.steps:
            version = await self._improved("recheck", segment, version, account, extra)
        detail: dict[str, Any] = {}
        if "refine" in settings.steps:
            version = await self._refined(segment, version, account, extra, detail)
        flags = [*version.flags, *extra]
        text = version.text
        waits = False
        if flags:
            reviewed, waits = await self._reviewed(segment, version, flags)
            if reviewed is not None:
                detail["reviewed_by"], text, flags = reviewed.author, reviewed.text, []
        detail["flags"] = [{"kind": flag.kind, "detail": flag.detail} for flag in flags]
        detail["spent"] = {
            "requests": account.requests,
            "prompt_tokens": account.prompt_tokens,
            "completion_tokens": account.completion_tokens,
            "cost": account.cost,
        }
        if waits:
            detail["waits"] = True
        final = not flags and not settings.human and "reviewed_by" not in detail
        return Translated(text=text, detail=detail, final=final)

    async def _version(
        self, step: str, segment: Segment, before: Version | None, account: _Account
    ) -> Version:
        """Does one step that makes a text."""
        if step in self._settings.human:
            return (await self._by_people(step, segment, before, needed=1))[0]
        return await self._by_model(step, segment, before, account, candidate=0)

    async def _improved(
        self,
        step: str,
        segment: Segment,
        before: Version,
        account: _Account,
        extra: list[Flag],
    ) -> Version:
        """Does a step over an earlier text, which stands if the new one has more faults."""
        try:
            after = await self._version(step, segment, before, account)
        except UnusableError as error:
            extra.append(Flag(kind=f"{step}-failed", detail=error.reason))
            return before
        return after if len(after.flags) <= len(before.flags) else before

    async def _refined(
        self,
        segment: Segment,
        base: Version,
        account: _Account,
        extra: list[Flag],
        detail: dict[str, Any],
    ) -> Version:
        """Collects independent versions and chooses one."""
        settings = self._settings
        if "refine" in settings.human:
            versions = await self._by_people("refine", segment, base, needed=settings.candidates)
        else:
            found = await asyncio.gather(
                *(
                    self._by_model("refine", segment, base, account, candidate=candidate)
                    for candidate in range(settings.candidates)
                ),
                return_exceptions=True,
            )
            versions = []
            for result in found:
                if isinstance(result, UnusableError):
                    extra.append(Flag(kind="refine-failed", detail=result.reason))
                elif isinstance(result, BaseException):
                    raise result
                else:
                    versions.append(result)
        if not versions:
            return base
        detail["versions"] = len(versions)
        # People's versions all stand; a model's stands only without more faults than its base.
        best = min(len(version.flags) for version in versions)
        if best > len(base.flags) and "refine" not in settings.human:
            return base
        standing = [
            index
            for index, version in enumerate(versions)
            if len(version.flags) == best or "refine" in settings.human
        ]
        by_text: dict[str, int] = {}
        for index in standing:
            by_text.setdefault(versions[index].text, index)
        choices = list(by_text.values())
        if len(choices) == 1 or "vote" not in settings.steps:
            detail["chosen"] = choices[0]
            return versions[choices[0]]
        try:
            votes = await self._votes(segment, versions, choices, account)
        except UnusableError as error:
            extra.append(Flag(kind="vote-failed", detail=error.reason))
            detail["chosen"] = choices[0]
            return versions[choices[0]]
        tally = Counter(votes)
        chosen = max(choices, key=lambda index: (tally[index], -index))
        detail["votes"], detail["chosen"] = votes, chosen
        return versions[chosen]

    async def _by_model(
        self,
        step: str,
        segment: Segment,
        before: Version | None,
        account: _Account,
        *,
        candidate: int,
    ) -> Version:
        """Asks the model for a text; if it has faults, says which and asks again."""
        settings = self._settings
        entries = settings.glossary.for_text(segment.text, segment.language)
        prompt = settings.prompts[step]
        fields = self._fields(segment, entries)
        if before is not None:
            fields["translation"] = before.text
        asked = prompt.messages(fields)
        best: Version | None = None
        for attempt in range(settings.attempts if self._caller.worker.repeatable else 1):
            call = self._call(step, segment, asked, candidate=candidate, attempt=attempt)
            answer = await self._caller.get(
                call,
                judge=lambda text: (
                    "refused"
                    if checks.refusal(text, segment.text)
                    else None
                    if checks.clean(text, segment.text)
                    else "empty"
                ),
            )
            text = checks.clean(answer.text, segment.text)
            flags = self._flags(segment, text, entries)
            if best is None or len(flags) < len(best.flags):
                best, taken = Version(text=text, author=call.model, flags=flags), answer
            if not flags:
                break
            problems = "; ".join(flag.detail for flag in flags)
            # Each round is added, so that no question is ever the same as one before.
            asked = [
                *asked,
                {"role": "assistant", "content": answer.text},
                {"role": "user", "content": prompt.correction(problems)},
            ]
        assert best is not None  # there is at least one attempt
        account.add(taken)
        return best

    async def _votes(
        self,
        segment: Segment,
        versions: Sequence[Version],
        choices: Sequence[int],
        account: _Account,
    ) -> list[int]:
        """Returns the chosen version of each voter."""
        settings = self._settings
        if "vote" in settings.human:
            return await self._votes_by_people(segment, versions, choices)
        entries = settings.glossary.for_text(segment.text, segment.language)

        async def vote(voter: int) -> int:
            # Each voter sees its own order, because models prefer places.
            order = list(choices)
            random.Random(digest(segment.text, segment.language, voter)).shuffle(order)
            shown = [versions[index].text for index in order]
            fields = self._fields(segment, entries)
            fields["candidates"] = "\n\n".join(
                f"### Version {number}\n{text}" for number, text in enumerate(shown, start=1)
            )
            messages = settings.prompts["vote"].messages(fields)
            call = self._call("vote", segment, messages, candidate=voter)
            answer = await self._caller.get(
                call,
                judge=lambda text: None if read_vote(text, shown) is not None else "unreadable",
            )
            account.add(answer)
            number = read_vote(answer.text, shown)
            assert number is not None  # judged so
            return order[number]

        return list(await asyncio.gather(*(vote(voter) for voter in range(settings.voters))))

    async def _by_people(
        self, step: str, segment: Segment, before: Version | None, *, needed: int
    ) -> list[Version]:
        """Returns what people wrote, by their names, or puts the task before them."""
        texts = () if before is None else (before.text,)
        authors = () if before is None else (before.author,)
        task = self._task(step, segment, texts, authors, needed=needed)
        written = self._journal.contributions(task.row, task.hash)
        if len(written) < needed:
            await self._put(task)
            raise PendingError(step)
        entries = self._settings.glossary.for_text(segment.text, segment.language)
        return [
            Version(
                text=contribution.text,
                author=contribution.person,
                flags=self._flags(segment, contribution.text, entries),
            )
            for contribution in written
        ]

    async def _votes_by_people(
        self, segment: Segment, versions: Sequence[Version], choices: Sequence[int]
    ) -> list[int]:
        """Returns the votes once there are enough and they are not tied."""
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

    async def _reviewed(
        self, segment: Segment, version: Version, flags: Sequence[Flag]
    ) -> tuple[Version | None, bool]:
        """Returns a person's correction of a flagged text, and whether one is awaited."""
        reason = "; ".join(f"{flag.kind}: {flag.detail}" for flag in flags)
        task = self._task(
            "review", segment, [version.text], [version.author], needed=1, reason=reason
        )
        written = self._journal.contributions(task.row, task.hash)
        if written:
            return Version(text=written[0].text, author=written[0].person), False
        waits = self._settings.on_flag == "review"
        if waits:
            await self._put(task)
        return None, waits

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
        return Task(
            row=digest(
                "row", step, self._settings.source_language, segment.language, segment.text,
                segment.image_digest,
            )[:16],
            hash=digest("seen", segment.text, list(texts))[:16],
            step=step,
            language=segment.language,
            source=segment.text,
            texts=tuple(texts),
            authors=tuple(authors),
            needed=needed,
            reason=reason,
        )  # fmt: skip

    def _call(
        self,
        step: str,
        segment: Segment,
        messages: Sequence[Mapping[str, str]],
        *,
        candidate: int,
        attempt: int = 0,
    ) -> Call:
        settings = self._settings
        worker = self._caller.worker
        return Call(
            step=step,
            backend=worker.name,
            model=settings.model_of(step),
            parameters=worker.parameters(step, candidate=candidate, text=segment.text),
            prompt=settings.prompts[step].identity,
            messages=messages,
            text=segment.text,
            source_language=settings.source_language,
            language=segment.language,
            image=segment.image,
            image_digest=segment.image_digest,
            candidate=candidate,
            attempt=attempt,
        )

    def _fields(self, segment: Segment, entries: Mapping[str, str]) -> dict[str, str]:
        return {
            "source_language": get_language(self._settings.source_language).name,
            "target_language": get_language(segment.language).name,
            "source": segment.text,
            "glossary": as_prompt(entries),
        }

    def _flags(self, segment: Segment, text: str, entries: Mapping[str, str]) -> tuple[Flag, ...]:
        return tuple(
            checks.check(
                segment.text,
                text,
                source_language=self._settings.source_language,
                language=segment.language,
                glossary=entries,
            )
        )


def read_vote(answer: str, versions: Sequence[str]) -> int | None:
    """Returns which version (from 0) an answer chooses, by its number or by its words, or None."""
    text = checks.clean(answer, "")
    quoted = [index for index, version in enumerate(versions) if text == version.strip()]
    if len(quoted) == 1:
        return quoted[0]
    numbers = {int(number) for number in _NUMBERS.findall(text)}
    if len(text) <= _VOTE_LETTERS and len(numbers) == 1:
        number = numbers.pop()
        return number - 1 if 1 <= number <= len(versions) else None
    return None
