"""A translation job: all samples of a file into several languages, resumable at any moment."""

import asyncio
import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parrot_core.data.images import resolve_image
from parrot_core.errors import ParrotError, Stopped, UsageError
from parrot_core.translation.by_people import PendingError
from parrot_core.translation.calls import Caller, UnansweredError
from parrot_core.translation.journal import Journal
from parrot_core.translation.limits import Budget, Gate, LimitReachedError, StoppedError
from parrot_core.translation.output import LanguageSummary, check_replaceable, write_output
from parrot_core.translation.pipeline import Pipeline
from parrot_core.translation.records import JOURNAL_NAME, Spending
from parrot_core.translation.segments import Segment, read_sources, segment_of
from parrot_core.translation.settings import Settings
from parrot_core.translation.workers import UnusableError, Worker

_PROGRESS_SECONDS = 0.5
_TURN_SECONDS = 0.0002
_SEGMENTS_PER_SLOT = 2  # under way: while one waits out a back-off, another uses its slot


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How fast and how much may be asked.

    Attributes:
        concurrency: Requests under way at once.
        requests_per_minute: Limit, or None.
        tokens_per_minute: Limit on estimated tokens, or None.
        max_cost: Billionths of a dollar that the job may cost over all its runs, or None.
        max_requests: Requests of this run, or None.
    """

    concurrency: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_cost: int | None = None
    max_requests: int | None = None


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: Segments of the job, equal ones counted each time.
        done: Segments that have a result.
        pending: Segments that wait for people.
        failed: Segments without a translation in this run.
        answers: Answers got in this run.
        cost: Billionths of a dollar that the job has cost so far, at most.
        failures: Failed requests of this run by reason.
        seconds: Time since the run began.
    """

    total: int = 0
    done: int = 0
    pending: int = 0
    failed: int = 0
    answers: int = 0
    cost: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time that is left at the rate so far, or None if it cannot be told."""
        settled = self.done + self.pending + self.failed
        if not settled or not self.answers:
            return None
        return self.seconds / settled * (self.total - settled)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobReport:
    """How a run ended.

    Attributes:
        languages: What became of the samples, by language.
        answers: Answers got in this run.
        spending: What the job has taken over all its runs.
        failures: Failed requests of this run by reason.
        unanswered: Segments that the service did not answer, by reason.
        said: What was said about the last of these, or None.
        unusable: Segments for which the model gave nothing usable, by reason.
        pending: Segments that wait for people, by what they are to do.
        stopped: Why the run ended early, or None.
        seconds: Time it took.
    """

    languages: dict[str, LanguageSummary]
    answers: int
    spending: Spending
    failures: dict[str, int]
    unanswered: dict[str, int]
    said: str | None
    unusable: dict[str, int]
    pending: dict[str, int]
    stopped: str | None
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every sample is translated, dropped on purpose aside."""
        return not any(part.missing or part.waiting for part in self.languages.values())


def translate(
    source: Path,
    folder: Path,
    *,
    languages: Sequence[str],
    worker: Worker,
    settings: Settings,
    limits: Limits | None = None,
    image_root: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> JobReport:
    """Translates a file of samples; run again with the same arguments, it goes on where it was.

    Args:
        source: JSON or JSONL file of LLaVA samples.
        folder: Where journal, results and summary are.
        languages: Codes of the languages to translate into.
        worker: Who answers the calls; closed at the end.
        settings: Steps, prompts, glossary.
        limits: How fast and how much may be asked.
        image_root: Image root, if the model is to see each sample's first picture.
        on_progress: Called about twice a second.

    Raises:
        UsageError: if the samples are not in the format, or a result would be written over
            another file: before anything is asked.
        RemoteError: if the service cannot be used; what was answered is kept.
        Stopped: after Ctrl-C, when what was under way has been kept.
    """
    if image_root is not None and not worker.sees:
        raise UsageError(
            f"the backend {worker.name!r} cannot see pictures", hint="Leave out --with-image."
        )
    if settings.source_language in languages:
        raise UsageError(
            f"{settings.source_language!r} is the language of the samples themselves",
            hint="Leave it out of --to, or set --from.",
        )
    check_replaceable(source, folder, languages)
    folder.mkdir(parents=True, exist_ok=True)
    total = _count(source, languages, image_root=image_root)
    job = _Job(source, languages=languages, limits=limits or Limits(), image_root=image_root)
    with Journal(folder / JOURNAL_NAME) as journal:
        job.progress.total = total
        with _quick_turns():
            asyncio.run(
                job.run(worker, settings=settings, journal=journal, on_progress=on_progress)
            )
        if job.interrupted:
            raise Stopped(
                f"stopped with {job.progress.done:,} of {job.progress.total:,} segments done",
                hint="What was answered is kept: the same command goes on from there.",
            )
        if isinstance(job.end, ParrotError):
            raise job.end
        assert job.pipeline is not None  # the run made it
        summaries = write_output(
            source,
            folder,
            languages=languages,
            pipeline=job.pipeline,
            settings=settings,
            journal=journal,
            image_root=image_root,
            waiting=job.waiting,
        )
        return JobReport(
            languages=summaries,
            answers=job.progress.answers,
            spending=journal.spending(),
            failures=dict(job.progress.failures),
            unanswered=dict(job.unanswered),
            said=job.said,
            unusable=dict(job.unusable),
            pending=dict(job.pending),
            stopped=None if job.end is None else str(job.end),
            seconds=job.progress.seconds,
        )


@contextlib.contextmanager
def _quick_turns() -> Iterator[None]:
    """Lets the journal's thread run soon after it asks to.

    A slot is held until its answer is on disk, and the thread asks for the interpreter several
    times on the way there; at Python's 5 ms a turn, a fifth of all slots would only wait for it.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _count(source: Path, languages: Sequence[str], *, image_root: Path | None) -> int:
    """Counts segments, and finds every fault of the format before the first request is paid."""
    total = 0
    for entry in read_sources(source):
        if image_root is not None and entry.sample.images:
            resolve_image(entry.sample.images[0], root=image_root)
        total += len(languages) * sum(
            segment_of(entry.sample, turn, languages[0]) is not None
            for turn in range(len(entry.sample.turns))
        )
    return total


class _Job:
    """One run over all segments."""

    def __init__(
        self,
        source: Path,
        *,
        languages: Sequence[str],
        limits: Limits,
        image_root: Path | None,
    ) -> None:
        self._source = source
        self._languages = languages
        self._limits = limits
        self._image_root = image_root
        self.progress = Progress()
        self.unanswered: Counter[str] = Counter()
        self.said: str | None = None
        self.unusable: Counter[str] = Counter()
        self.pending: Counter[str] = Counter()
        self.interrupted = False
        self.end: ParrotError | LimitReachedError | None = None
        self.pipeline: Pipeline | None = None
        self.waiting: set[str] = set()  # keys of segments that wait for people
        self._under_way: set[str] = set()
        self._lost: set[str] = set()  # keys that failed in this run: equal segments would again

    async def run(
        self,
        worker: Worker,
        *,
        settings: Settings,
        journal: Journal,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        limits = self._limits
        budget = Budget(
            max_cost=limits.max_cost,
            spent=journal.spending().most,
            max_requests=limits.max_requests,
        )
        gate = Gate(
            concurrency=limits.concurrency,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
        )
        caller = Caller(worker, journal=journal, gate=gate, budget=budget)
        pipeline = self.pipeline = Pipeline(settings, caller=caller, journal=journal)
        began = time.monotonic()

        def update() -> None:
            self.progress.seconds = time.monotonic() - began
            self.progress.answers = caller.answered
            self.progress.cost = budget.spent
            self.progress.failures = caller.failures

        async def report() -> None:
            while on_progress is not None:
                update()
                on_progress(self.progress)
                await asyncio.sleep(_PROGRESS_SECONDS)

        reporter = asyncio.create_task(report())
        with self._interruptible(caller):
            try:
                await self._translate_all(pipeline, caller, journal)
            finally:
                reporter.cancel()
                await worker.close()
        update()
        if on_progress is not None:
            on_progress(self.progress)
        self.end = caller.end

    @contextlib.contextmanager
    def _interruptible(self, caller: Caller) -> Iterator[None]:
        """Lets the first Ctrl-C end the run in good order, and the second at once."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            if self.interrupted:
                task.cancel()
            self.interrupted = True
            caller.stop()

        try:
            loop.add_signal_handler(signal.SIGINT, interrupt)
        except (NotImplementedError, ValueError, RuntimeError):  # not the main thread
            yield
            return
        try:
            yield
        except asyncio.CancelledError:
            if not self.interrupted:
                raise
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _translate_all(self, pipeline: Pipeline, caller: Caller, journal: Journal) -> None:
        """Feeds segments to as many workers as may be under way; memory does not grow with them."""
        width = self._limits.concurrency * _SEGMENTS_PER_SLOT
        waiting: asyncio.Queue[tuple[str, Segment] | None] = asyncio.Queue(maxsize=width)

        async def work() -> None:
            while (item := await waiting.get()) is not None:
                if not self._stopping(caller):
                    try:
                        await self._translate_one(*item, pipeline=pipeline, journal=journal)
                    except ParrotError as error:  # the journal cannot be written, a picture read
                        caller.stop(error)
                self._under_way.discard(item[0])

        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(work())
            try:
                async for segment in self._segments(caller):
                    key = pipeline.key(segment)
                    if journal.is_final(key):
                        self.progress.done += 1
                    elif key in self._under_way or key in self._lost:
                        self.progress.total -= 1  # settled by its equal
                    else:
                        self._under_way.add(key)
                        await waiting.put((key, segment))
            except ParrotError as error:  # the file or a picture has changed since it was counted
                caller.stop(error)
            for _ in range(width):
                await waiting.put(None)

    def _stopping(self, caller: Caller) -> bool:
        return self.interrupted or caller.stopping

    async def _segments(self, caller: Caller) -> AsyncIterator[Segment]:
        for number, entry in enumerate(read_sources(self._source)):
            if self._stopping(caller):
                return
            if number % 100 == 0:
                await asyncio.sleep(0)  # let answers be dealt with while a finished part is skipped
            for turn in range(len(entry.sample.turns)):
                for language in self._languages:
                    segment = segment_of(entry.sample, turn, language, image_root=self._image_root)
                    if segment is not None:
                        yield segment

    async def _translate_one(
        self, key: str, segment: Segment, *, pipeline: Pipeline, journal: Journal
    ) -> None:
        try:
            result = await pipeline.translate(segment)
        except StoppedError:
            return
        except PendingError as error:
            self.pending[error.step] += 1
            self.waiting.add(key)
            self.progress.pending += 1
        except UnusableError as error:
            self.unusable[error.reason] += 1
            self.progress.failed += 1
        except UnansweredError as error:
            self.unanswered[error.reason] += 1
            self.said = str(error)
            self.progress.failed += 1
        else:
            await journal.add_result(
                key,
                result.text,
                result.detail,
                language=segment.language,
                final=result.final,
            )
            self.progress.done += 1
            return
        self._lost.add(key)
        if journal.result(key) is not None:
            await journal.drop_result(key)
