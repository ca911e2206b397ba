"""What a translation job will take, before anything is asked."""

import asyncio
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parrot_core.languages import LANGUAGES
from parrot_core.translation.by_people import PendingError
from parrot_core.translation.costs import IMAGE_TOKENS, Price, estimate_tokens
from parrot_core.translation.glossary import as_prompt
from parrot_core.translation.job import Limits
from parrot_core.translation.pipeline import Pipeline
from parrot_core.translation.records import JournalReader, Task
from parrot_core.translation.segments import Segment, read_sources, segment_of
from parrot_core.translation.settings import Settings
from parrot_core.translation.workers import Answer, Call, Worker, digest

_SECONDS_FIRST = 0.5  # until an answer begins, as hosted models go
_SECONDS_PER_TOKEN = 0.015
_VOTE_TOKENS = 3
_OTHER_SCRIPT = 1.6  # tokens of a translation over those of English, where letters are not Latin
_LATIN_SCRIPT = 1.25


@dataclass(slots=True)
class StepEstimate:
    """Requests that are still to be made for one step, their tokens, and answers that are kept."""

    answered: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Estimate:
    """What a job will still take if nothing fails.

    Attributes:
        segments: Segments, equal ones counted each time.
        unique: Different segments; only these are asked.
        done: Those of them whose result the journal has.
        waiting: Those of them that wait for people.
        steps: Requests and tokens by step.
        cost: Billionths of a dollar, or None if a price is not known.
        seconds: Time at the given concurrency and rates.
        seconds_per_request: Time one request is taken to need, on average.
    """

    segments: int = 0
    unique: int = 0
    done: int = 0
    waiting: int = 0
    steps: dict[str, StepEstimate] = field(default_factory=dict)
    cost: int | None = None
    seconds: float = 0.0
    seconds_per_request: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Returns the estimate as JSON holds it."""
        return {
            "segments": self.segments,
            "unique_segments": self.unique,
            "done_segments": self.done,
            "waiting_segments": self.waiting,
            "answered": sum(part.answered for part in self.steps.values()),
            "requests": sum(part.requests for part in self.steps.values()),
            "prompt_tokens": sum(part.prompt_tokens for part in self.steps.values()),
            "completion_tokens": sum(part.completion_tokens for part in self.steps.values()),
            "steps": {
                step: {
                    "answered": part.answered,
                    "requests": part.requests,
                    "prompt_tokens": part.prompt_tokens,
                    "completion_tokens": part.completion_tokens,
                }
                for step, part in self.steps.items()
            },
            "dollars": None if self.cost is None else self.cost / 1e9,
            "seconds": round(self.seconds, 1),
        }


def estimate(
    source: Path,
    *,
    languages: Sequence[str],
    settings: Settings,
    limits: Limits,
    prices: Mapping[str, Price],
    worker: Worker,
    journal: Path | None = None,
    image_root: Path | None = None,
) -> Estimate:
    """Estimates a job by filling in the prompts of every different segment.

    Where the job has begun, each segment goes as far as the answers in its journal take it; only
    what comes after is counted. Nothing is asked or written.

    Args:
        source: JSON or JSONL file of LLaVA samples.
        languages: Codes of the languages to translate into.
        settings: Steps, prompts, glossary.
        limits: Concurrency and rates.
        prices: What tokens cost by model, where that is known.
        worker: Who would be asked.
        journal: The job's journal, which need not be there.
        image_root: Image root, if the model is to see pictures.
    """
    found = Estimate(steps={step: StepEstimate() for step in settings.steps})
    with ExitStack() as stack:
        rehearsal = None
        if journal is not None and journal.is_file():
            rehearsal = _Rehearsal(
                settings,
                worker=worker,
                journal=stack.enter_context(_Kept(journal)),
                runner=stack.enter_context(asyncio.Runner()),
                found=found,
            )
        seen = stack.enter_context(closing(sqlite3.connect("")))  # on disk, not in memory
        seen.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        for entry in read_sources(source):
            for turn in range(len(entry.sample.turns)):
                for language in languages:
                    segment = segment_of(entry.sample, turn, language, image_root=image_root)
                    if segment is None:
                        continue
                    found.segments += 1
                    key = digest(segment.text, language, segment.image_digest)
                    if seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount:
                        found.unique += 1
                        left = None if rehearsal is None else rehearsal.left(segment)
                        _add(
                            found,
                            segment,
                            settings,
                            prices=prices,
                            left=left,
                            local=worker.name == "local",
                        )
    requests = sum(part.requests for part in found.steps.values())
    tokens_in = sum(part.prompt_tokens for part in found.steps.values())
    tokens_out = sum(part.completion_tokens for part in found.steps.values())
    asked = {step: part for step, part in found.steps.items() if part.requests}
    known = [
        prices[settings.model_of(step)].cost(part.prompt_tokens, part.completion_tokens)
        for step, part in asked.items()
        if settings.model_of(step) in prices
    ]
    found.cost = sum(known) if len(known) == len(asked) else None
    if requests:
        found.seconds_per_request = round(
            _SECONDS_FIRST + _SECONDS_PER_TOKEN * tokens_out / requests, 2
        )
    found.seconds = max(
        found.seconds_per_request * math.ceil(requests / limits.concurrency),
        60 * requests / (limits.requests_per_minute or math.inf),
        60 * (tokens_in + tokens_out) / (limits.tokens_per_minute or math.inf),
    )
    return found


class _Kept(JournalReader):
    """A journal in which nothing changes."""

    async def add_task(self, task: Task) -> None:
        """Leaves the task out."""
        del task


class _UnansweredError(Exception):
    """A call whose answer the journal does not have."""


class _Rehearsal:
    """Takes segments as far as a journal's answers go; the `Asker` that asks nobody."""

    def __init__(
        self,
        settings: Settings,
        *,
        worker: Worker,
        journal: _Kept,
        runner: asyncio.Runner,
        found: Estimate,
    ) -> None:
        self.worker = worker
        self._settings = settings
        self._journal = journal
        self._runner = runner
        self._found = found
        self._pipeline = Pipeline(settings, caller=self, journal=journal)
        self._missing: Counter[str] = Counter()

    async def get(self, call: Call, *, judge: Callable[[str], str | None]) -> Answer:
        """Returns the kept answer to a call, or notes that there is none."""
        del judge
        answer = self._journal.answer(call.key())
        if answer is None:
            self._missing[call.step] += 1
            raise _UnansweredError
        self._found.steps[call.step].answered += 1
        return answer

    def left(self, segment: Segment) -> dict[str, int]:
        """Returns how many calls of each step a segment still needs, or an empty dict for none."""
        self._missing.clear()
        try:
            self._runner.run(self._pipeline.translate(segment))
        except _UnansweredError:
            steps = self._settings.steps
            reached = max(map(steps.index, self._missing))
            after = {
                step: _calls(step, self._settings)
                for step in steps[reached + 1 :]
                if step not in self._settings.human
            }
            return dict(self._missing) | after
        except PendingError:
            self._found.waiting += 1
        else:
            self._found.done += 1
        return {}


def _calls(step: str, settings: Settings) -> int:
    """Returns how many calls a step takes for a segment."""
    return {"refine": settings.candidates, "vote": settings.voters}.get(step, 1)


def _add(
    found: Estimate,
    segment: Segment,
    settings: Settings,
    *,
    prices: Mapping[str, Price],
    left: Mapping[str, int] | None,
    local: bool,
) -> None:
    """Adds the calls of one segment: those of `left` by step, or if that is None all."""
    if left is not None and not left:
        return
    scripts = LANGUAGES[segment.language].scripts
    factor = _LATIN_SCRIPT if "LATIN" in scripts else _OTHER_SCRIPT
    text_tokens = estimate_tokens(segment.text)
    translation_tokens = math.ceil(text_tokens * factor)
    entries = settings.glossary.for_text(segment.text, segment.language)
    fields = {"source": segment.text, "glossary": as_prompt(entries)}
    for step in settings.steps:
        if step in settings.human:
            continue
        part = found.steps[step]
        calls = _calls(step, settings) if left is None else left.get(step, 0)
        words = settings.prompts[step].messages(fields)
        tokens = 0 if local else sum(estimate_tokens(message["content"]) for message in words)
        texts = {"draft": 0, "vote": settings.candidates}.get(step, 1)
        tokens += texts * translation_tokens
        if segment.image is not None:
            price = prices.get(settings.model_of(step))
            tokens += IMAGE_TOKENS if price is None else price.image_tokens
        part.requests += calls
        part.prompt_tokens += calls * tokens
        part.completion_tokens += calls * (_VOTE_TOKENS if step == "vote" else translation_tokens)
