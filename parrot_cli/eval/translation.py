"""The translation of `parrot data translate` as what `--via-translation` needs of a translator."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from parrot_core.errors import ParrotError, RemoteError
from parrot_core.translation import Limits, Settings
from parrot_core.translation.calls import Caller, UnansweredError
from parrot_core.translation.costs import dollars
from parrot_core.translation.journal import Journal
from parrot_core.translation.limits import Budget, Gate, StoppedError
from parrot_core.translation.pipeline import Pipeline, Translated
from parrot_core.translation.prompts import load_prompts
from parrot_core.translation.protection import needs_translation, split_edges
from parrot_core.translation.records import JOURNAL_NAME
from parrot_core.translation.segments import Segment
from parrot_core.translation.workers import UnusableError, Worker

_STEPS = ("draft",)  # Table 10 translates once; Figure 3's further steps are for training data


class JournalTranslator:
    """Translates texts by a worker, each once: every answer is in a journal before it is used.

    Use it with `with`; it owns the event loop that the worker's connections live in.

    Args:
        worker: Who translates; closed at the end.
        folder: Where the journal is.
        model: The model's name, as the calls state it.
        limits: How fast may be asked.

    Raises:
        UsageError: if another process writes the journal.
    """

    def __init__(
        self, worker: Worker, folder: Path, *, model: str, limits: Limits | None = None
    ) -> None:
        """Opens the journal."""
        limits = limits or Limits()
        self._worker, self._model = worker, model
        self._prompts = load_prompts()
        self._journal = Journal(folder / JOURNAL_NAME)
        self._runner = asyncio.Runner()
        gate = Gate(
            concurrency=limits.concurrency,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
        )
        budget = Budget(
            max_cost=limits.max_cost,
            spent=self._journal.spending().cost,
            max_requests=limits.max_requests,
        )
        self._caller = Caller(worker, journal=self._journal, gate=gate, budget=budget)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the worker and the journal."""
        try:
            self._runner.run(self._worker.close())
        finally:
            self._runner.close()
            self._journal.__exit__(kind, error, trace)

    @property
    def identity(self) -> Mapping[str, object]:
        """All that the translations depend on."""
        return {
            "name": self._model,
            "backend": self._worker.name,
            "prompts": {step: self._prompts[step].identity for step in _STEPS},
            "parameters": self._worker.parameters("draft", candidate=0, text=""),
        }

    @property
    def spent(self) -> str:
        """What all runs on this journal have taken, in words."""
        spending = self._journal.spending()
        cost = "at a price not known" if spending.without_price else f"for {dollars(spending.cost)}"
        return f"{spending.requests:,} answers {cost}"

    def translate(self, texts: Sequence[str], *, source: str, target: str) -> list[str]:
        """Returns each text in the target language; white space at its ends stays.

        Raises:
            RemoteError: if a text cannot be translated; what was answered is kept.
        """
        settings = Settings(
            prompts=self._prompts, model=self._model, source_language=source, steps=_STEPS
        )
        pipeline = Pipeline(settings, caller=self._caller, journal=self._journal)
        edges = [split_edges(text) for text in texts]
        bodies = list(dict.fromkeys(body for _, body, _ in edges if needs_translation(body)))
        found = self._runner.run(self._translate_all(pipeline, bodies, target))
        done = dict(zip(bodies, found, strict=True))
        return [before + done.get(body, body) + after for before, body, after in edges]

    async def _translate_all(
        self, pipeline: Pipeline, texts: Sequence[str], target: str
    ) -> list[str]:
        work = asyncio.gather(
            *(pipeline.translate(Segment(text=text, language=target)) for text in texts),
            return_exceptions=True,
        )
        try:
            found = await asyncio.shield(work)
        except asyncio.CancelledError:  # Ctrl-C: what is on the wire is paid for, so it is awaited
            self._caller.stop()
            await work
            raise
        return [self._text_of(result, text) for text, result in zip(texts, found, strict=True)]

    def _text_of(self, result: Translated | BaseException, text: str) -> str:
        """Returns a translation, or raises what the user is to know about why there is none."""
        if isinstance(result, Translated):
            return result.text
        if isinstance(result, StoppedError) and isinstance(self._caller.end, ParrotError):
            raise self._caller.end
        if isinstance(result, UnusableError):
            raise RemoteError(
                f"{self._model!r} gives no translation of {text[:60]!r}: {result.reason}",
                hint="Run it again, or translate by another --translation-model.",
            ) from result
        if isinstance(result, UnansweredError):
            raise RemoteError(
                f"a text could not be translated: {result}",
                hint="What was answered is kept: run it again to go on.",
            ) from result
        raise result
