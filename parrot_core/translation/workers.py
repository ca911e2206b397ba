"""What does a step: the calls that the pipeline makes, the answers it gets, and how they fail."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One question to a model. Two calls with the same key are one, and paid once.

    Attributes:
        step: `draft`, `recheck`, `refine` or `vote`.
        backend: Name of the kind of worker.
        model: The model's name.
        parameters: What goes with the question and can change the answer (temperature, seed, …).
        prompt: Identity of the prompt, version and hash.
        messages: The conversation, with source text, glossary and candidates filled in.
        text: The text to translate, for workers that take no conversation.
        source_language: Code of its language.
        language: Code of the language to translate into.
        image: File of the sample's picture, where the model is to see it.
        image_digest: Hash of that file's content.
        candidate: Which of several independent answers this is, from 0.
        attempt: How many answers to this question were found faulty before.
    """

    step: str
    backend: str
    model: str
    parameters: Mapping[str, Any]
    prompt: str
    messages: Sequence[Mapping[str, str]]
    text: str
    source_language: str
    language: str
    image: Path | None = None
    image_digest: str | None = None
    candidate: int = 0
    attempt: int = 0

    def key(self) -> str:
        """Hash of everything that can change the answer; where the image lies cannot."""
        return digest(
            self.step,
            self.backend,
            self.model,
            dict(self.parameters),
            self.prompt,
            [dict(message) for message in self.messages],
            self.text,
            self.source_language,
            self.language,
            self.image_digest,
            self.candidate,
            self.attempt,
        )


def digest(*parts: Any) -> str:  # noqa: ANN401 - anything that JSON holds
    """Hash of values, in one canonical spelling."""
    text = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model answered, and what it took.

    Attributes:
        text: The answer.
        prompt_tokens: Tokens of the question that are paid for.
        completion_tokens: Tokens of the answer that are paid for.
        cost: Billionths of a dollar, a whole number so that sums do not depend on their order;
            None if the price is not known.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int | None = 0


class UnusableError(Exception):
    """An answer came, and may have been paid for, but is none: empty, refused or cut short.

    Attributes:
        reason: `empty`, `refused`, `truncated` or `filtered`.
        answer: What came, for the accounts.
    """

    def __init__(self, reason: str, answer: Answer) -> None:
        """Keeps the reason and what came."""
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


class TransientError(Exception):
    """No answer came, and asking again later may help.

    Attributes:
        reason: `429`, `500`, `timeout`, `connection`, …: what failures are counted by.
        retry_after: Seconds that the server asks to wait, or None.
        lost: Whether an answer may have been made, and charged, that never arrived.
    """

    def __init__(
        self, reason: str, message: str, *, retry_after: float | None = None, lost: bool = False
    ) -> None:
        """Keeps the reason, how long to wait, and whether it may be charged."""
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after
        self.lost = lost

    @property
    def busy(self) -> bool:
        """Whether the service is there, and only asks to come back later."""
        return self.reason == "429" or self.retry_after is not None


class RejectedError(Exception):
    """The service will not answer this call, however often it is asked (400, too long, …).

    Attributes:
        reason: What failures are counted by.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keeps the reason."""
        super().__init__(message)
        self.reason = reason


class Worker(Protocol):
    """A model that does steps."""

    name: str
    """The kind of worker, as keys and provenance state it."""

    steps: frozenset[str]
    """Steps that it can do."""

    repeatable: bool
    """Whether asking again can bring another answer (a greedy local model repeats itself)."""

    sees: bool
    """Whether it looks at the picture of a call."""

    def parameters(self, step: str, *, candidate: int, text: str) -> dict[str, Any]:
        """Returns the parameters of a call that can change its answer."""
        ...

    def ceiling(self, call: Call, *, tries: int) -> int | None:
        """Returns the most that a call can cost, in billionths of a dollar; None: not known."""
        ...

    async def answer(self, call: Call, *, tries: int) -> Answer:
        """Asks the model.

        Args:
            call: The call.
            tries: How often this call got no usable answer before.

        Raises:
            UnusableError: if what came is no answer.
            TransientError: if nothing came that can be used, and it may later.
            RejectedError: if it never will.
            ParrotError: if no call can succeed (no such model, wrong key).
        """
        ...

    async def close(self) -> None:
        """Lets go of connections and models."""
        ...


class NoWorker:
    """No model: the worker of a job in which people do every step."""

    name = "human"
    steps: frozenset[str] = frozenset()
    repeatable = False
    sees = False

    def parameters(self, step: str, *, candidate: int, text: str) -> dict[str, Any]:
        """Returns no parameters."""
        del step, candidate, text
        return {}

    def ceiling(self, call: Call, *, tries: int) -> int:
        """Returns 0: what people are paid is not counted here."""
        del call, tries
        return 0

    async def answer(self, call: Call, *, tries: int) -> Answer:
        """Is never asked: it can do no step."""
        del tries
        raise NotImplementedError(f"there is no model to {call.step}")

    async def close(self) -> None:
        """Has nothing to let go of."""
