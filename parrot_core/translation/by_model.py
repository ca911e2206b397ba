"""Steps done by a model: texts, asked for again while they have faults, and votes."""

import asyncio
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from parrot_core.languages import get_language
from parrot_core.translation import checks
from parrot_core.translation.glossary import as_prompt
from parrot_core.translation.segments import Segment
from parrot_core.translation.settings import Settings
from parrot_core.translation.versions import Version, judged
from parrot_core.translation.workers import Answer, Call, Worker, digest

_NUMBERS = re.compile(r"\d+")
_STUBBORN_ATTEMPTS = 2  # at faults that the step before could not mend with all of its own
_VOTE_LETTERS = 80  # a longer text is no vote, whatever numbers it has


@dataclass(slots=True)
class Account:
    """What the answers that made a segment have taken.

    Those that were found faulty are in the journal's sums, but not here: which they are can differ
    between two runs of one job, and this is part of its results.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int = 0

    def add(self, answer: Answer) -> None:
        """Counts an answer."""
        self.requests += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.cost += answer.cost or 0


class Asker(Protocol):
    """Whoever gets answers to calls: `calls.Caller`, or a rehearsal that asks nothing."""

    worker: Worker

    async def get(self, call: Call, *, judge: Callable[[str], str | None]) -> Answer:
        """Returns the answer to a call; see `Caller.get`."""
        ...


class ByModel:
    """Does steps by calls to a model."""

    def __init__(self, settings: Settings, *, caller: Asker) -> None:
        """Keeps how, and by whom."""
        self._settings = settings
        self._caller = caller

    async def text(
        self,
        step: str,
        segment: Segment,
        before: Version | None,
        account: Account,
        *,
        candidate: int,
    ) -> Version:
        """Asks the model for a text; if it has faults, says which and asks again.

        Args:
            step: The step.
            segment: What is translated.
            before: The version that the step starts from, or None for a draft.
            account: What it takes is added here.
            candidate: Which of several independent versions this is, from 0.

        Raises:
            UnusableError, UnansweredError, StoppedError: as `Caller.get`.
        """
        settings = self._settings
        entries = settings.glossary.for_text(segment.text, segment.language)
        prompt = settings.prompts[step]
        fields = self._fields(segment, entries)
        if before is not None:
            fields["translation"] = before.text
        asked = prompt.messages(fields)
        attempts = settings.attempts if self._caller.worker.repeatable else 1
        if before is not None and before.flags:
            attempts = min(attempts, _STUBBORN_ATTEMPTS)
        best: Version | None = None
        for attempt in range(attempts):
            call = self._call(step, segment, asked, candidate=candidate, attempt=attempt)
            answer = await self._caller.get(call, judge=lambda text: self._unusable(text, segment))
            text = checks.clean(answer.text, segment.text)
            version = judged(segment, text, author=call.model, settings=settings)
            if best is None or len(version.flags) < len(best.flags):
                best, taken = version, answer
            if not version.flags:
                break
            problems = "; ".join(flag.detail for flag in version.flags)
            # Each round is added, so that no question is ever the same as one before.
            asked = [
                *asked,
                {"role": "assistant", "content": answer.text},
                {"role": "user", "content": prompt.correction(problems)},
            ]
        assert best is not None  # there is at least one attempt
        account.add(taken)
        return best

    def _unusable(self, text: str, segment: Segment) -> str | None:
        """Says why a text is no translation at all, or None if it is one."""
        if checks.refusal(
            text,
            segment.text,
            source_language=self._settings.source_language,
            language=segment.language,
        ):
            return "refused"
        return None if checks.clean(text, segment.text) else "empty"

    async def votes(
        self,
        segment: Segment,
        versions: Sequence[Version],
        choices: Sequence[int],
        account: Account,
    ) -> list[int]:
        """Returns which version each voter chooses.

        Args:
            segment: What is translated.
            versions: All versions.
            choices: Which of them stand for election.
            account: What it takes is added here.

        Raises:
            UnusableError, UnansweredError, StoppedError: as `Caller.get`.
        """
        settings = self._settings
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
