"""Answers token by token: a batch of rows, each with its own sampling, length and end.

Shapes: B rows of a batch, N tokens so far, W words of the vocabulary, M images, E experts.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria
from transformers.generation.stopping_criteria import StoppingCriteriaList

from parrot_core.generation.prompts import Prompt, put_together
from parrot_core.machine import gpu_memory
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

Weights = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 always takes the most probable token.
        top_p: Of the most probable tokens those whose probabilities sum to this.
        seed: The same seed gives the same answer; None draws one.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuses what no distribution has."""
        if not 0 <= self.temperature < float("inf") or not 0 < self.top_p <= 1:
            raise ValueError(f"temperature {self.temperature}, top_p {self.top_p}")


GREEDY = Sampling()


class Row:
    """One answer in the making; a subclass that wants to hear of it overrides `on_…`.

    Args:
        prompt: What is answered.
        max_new_tokens: Longest answer; the model's room may be less.
        sampling: How tokens are chosen.
        stop: Texts that end the answer and are not part of it.

    Attributes:
        text: The answer so far, without white space around it.
        ids: Its tokens so far.
        routing: P of equation 3, float[M][E]; None before it is known, and without images or
            experts.
        ended: Why it ended: `stop`, `length` or `cancelled`; None while it goes on.
    """

    def __init__(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
    ) -> None:
        self.prompt = prompt
        self.limit = min(max_new_tokens, prompt.room)
        self.sampling = sampling
        self.text = ""
        self.ids: list[int] = []
        self.routing: tuple[Weights, ...] | None = None
        self.ended: str | None = None
        self._stop = tuple(stop)
        self._cancelled = False
        self._held = ""
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._generator: torch.Generator | None = None

    def on_routing(self, routing: tuple[Weights, ...] | None) -> None:
        """Called once, before the first text, in the thread that decodes."""

    def on_text(self, piece: str) -> None:
        """Called with each further piece of the text."""

    def on_end(self) -> None:
        """Called once, when it has ended; others of its batch may go on."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self._cancelled

    def cancel(self) -> None:
        """Ends the answer at the next token; from any thread."""
        self._cancelled = True

    def tell_routing(self, routing: tuple[Weights, ...] | None) -> None:
        """Takes the routing of the row's images."""
        self.routing = routing
        self.on_routing(routing)

    def push(self, token: int, processor: ParrotProcessor, ends: frozenset[int]) -> None:
        """Takes the next token."""
        if self.ended is None:
            self._take(token, processor, ends)
            if self.ended is not None:
                self.on_end()

    def choose(self, scores: Tensor) -> int:
        """Draws a token from the scores float[W] of all."""
        if self._generator is None:
            seed = self.sampling.seed
            self._generator = torch.Generator().manual_seed(
                secrets.randbits(63) if seed is None else seed
            )
        probabilities = (scores.float() / self.sampling.temperature).softmax(dim=-1).cpu()
        if self.sampling.top_p < 1:
            ordered, places = probabilities.sort(descending=True)
            before = ordered.cumsum(dim=-1) - ordered
            kept = ordered.masked_fill(before >= self.sampling.top_p, 0)
            return int(places[torch.multinomial(kept, 1, generator=self._generator)])
        return int(torch.multinomial(probabilities, 1, generator=self._generator))

    def _take(self, token: int, processor: ParrotProcessor, ends: frozenset[int]) -> None:
        if self._cancelled:
            self.ended = "cancelled"
            return
        if token in ends:
            self._end("stop", processor)
            return
        self.ids.append(token)
        piece = self._decoder.step(processor.tokenizer.backend_tokenizer, token)
        if piece:
            self._say(piece)
        if self.ended is None and len(self.ids) >= self.limit:
            self._end("length", processor)

    def _say(self, piece: str) -> None:
        """Passes on what can be neither the beginning of a stop text nor white space at the end."""
        held = self._held + piece
        if not self.text:
            held = held.lstrip()
        for stop in self._stop:
            if stop in held:
                held = held[: held.index(stop)]
                self.ended = "stop"
        last = len(held.rstrip())
        if self.ended is None:
            for stop in self._stop:
                for length in range(min(len(stop) - 1, len(held)), 0, -1):
                    if held.endswith(stop[:length]):
                        last = min(last, len(held) - length)
                        break
            last = len(held[:last].rstrip())
        ready, self._held = held[:last], held[last:]
        if ready:
            self.text += ready
            self.on_text(ready)

    def _end(self, reason: str, processor: ParrotProcessor) -> None:
        """Ends the answer with what was held back, as decoding all tokens at once has it."""
        self.ended = reason
        whole = processor.tokenizer.decode(self.ids, skip_special_tokens=True).strip()
        rest = whole[len(self.text) :] if whole.startswith(self.text) else self._held.rstrip()
        self._held = ""
        if rest:
            self.text += rest
            self.on_text(rest)


def decode(
    model: ParrotForConditionalGeneration, processor: ParrotProcessor, rows: Sequence[Row]
) -> None:
    """Answers all rows as one batch, left-padded, and returns when the last has ended.

    Images are encoded and routed once, by the prompts alone; rows that ended early do not keep the
    others from going on, nor is a row's answer another for its company, beyond rounding.

    Raises:
        GpuFullError: if the GPU's memory is too small.
    """
    inputs = put_together(
        [row.prompt for row in rows], pad=processor.tokenizer.pad_token_id, device=model.device
    )
    with torch.no_grad(), gpu_memory("Ask less at once, or give --load-in-4bit."):
        guidance_mask = inputs.pop("guidance_mask")
        pixel_values = inputs.pop("pixel_values", None)
        given = {}
        weights: list[Weights] | None = None
        if pixel_values is not None:
            features = model.encode_images(
                pixel_values.to(model.dtype), guidance_mask=guidance_mask, **inputs
            )
            given = {"mm_encoder_outputs": {"image": features}}
            if features.routing_weights is not None:
                weights = [tuple(row) for row in features.routing_weights.tolist()]
        begin = 0
        for row in rows:
            end = begin + row.prompt.images
            row.tell_routing(tuple(weights[begin:end]) if weights and end > begin else None)
            begin = end
        chosen = [_Choice(rows)] if any(row.sampling.temperature > 0 for row in rows) else []
        model.generate(
            **inputs,
            **given,
            max_new_tokens=max(row.limit for row in rows),
            do_sample=False,  # rows that sample choose for themselves, each with its own seed
            temperature=None,
            top_p=None,
            top_k=None,
            logits_processor=LogitsProcessorList(chosen),
            stopping_criteria=StoppingCriteriaList([_Progress(rows, model, processor)]),
        )


class _Choice(LogitsProcessor):
    """Leaves rows that sample the one token that they drew."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the library's
        scores = scores.clone()
        for number, row in enumerate(self._rows):
            if row.sampling.temperature > 0 and row.ended is None:
                token = row.choose(scores[number])
                scores[number] = float("-inf")
                scores[number, token] = 0
        return scores


class _Progress(StoppingCriteria):
    """Hands each row its new token, and says which rows have ended."""

    def __init__(
        self,
        rows: Sequence[Row],
        model: ParrotForConditionalGeneration,
        processor: ParrotProcessor,
    ) -> None:
        self._rows = rows
        self._processor = processor
        self._ends = frozenset(end_tokens(model))

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: object) -> Tensor:  # noqa: ARG002
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            row.push(token, self._processor, self._ends)
        ended = [row.ended is not None for row in self._rows]
        return torch.tensor(ended, device=input_ids.device)


def end_tokens(model: ParrotForConditionalGeneration) -> list[int]:
    """Tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        return []
    return list(ends) if isinstance(ends, list) else [ends]
