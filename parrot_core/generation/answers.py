"""Answers to a batch of conversations at once, and their routing alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from parrot_core.generation.conversations import Conversation
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A model's words, and for each image P of Equation 3, float[E]; None without experts."""

    text: str
    routing: tuple[tuple[float, ...], ...] | None


def answer(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
    *,
    max_new_tokens: int = 512,
    **sampling: Any,  # noqa: ANN401 - the library's generation settings
) -> list[Answer]:
    """Answers a batch of conversations, greedily unless told otherwise.

    Args:
        model: In evaluation mode.
        processor: The model's.
        conversations: Each ends with a user's turn.
        max_new_tokens: Longest answer.
        **sampling: As `generate` takes them, for instance `do_sample` and `temperature`.
    """
    inputs = _encode(model, processor, conversations)
    with torch.no_grad():
        output = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            return_dict_in_generate=True,
            **{"do_sample": False, **sampling},
        )
    prompt_length = inputs["input_ids"].shape[1]
    texts = processor.tokenizer.batch_decode(
        output.sequences[:, prompt_length:], skip_special_tokens=True
    )
    rows = iter(_rows(output.get("routing_weights")))
    has_routing = output.get("routing_weights") is not None
    return [
        Answer(
            text=text.strip(),
            routing=tuple(next(rows) for _ in conversation.images) if has_routing else None,
        )
        for text, conversation in zip(texts, conversations, strict=True)
    ]


def routing(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
) -> list[tuple[float, ...]]:
    """Returns P of Equation 3, float[E], for every image of a batch, without generating."""
    inputs = _encode(model, processor, conversations)
    with torch.no_grad():
        features = model.encode_images(
            inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            guidance_mask=inputs["guidance_mask"],
        )
    return _rows(features.routing_weights)


def _encode(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
) -> dict[str, torch.Tensor]:
    batch = processor.encode_conversations(
        [conversation.messages for conversation in conversations],
        images=[conversation.images for conversation in conversations],
        add_generation_prompt=True,
        padding_side="left",
    )
    return {name: tensor.to(model.device) for name, tensor in batch.items()}


def _rows(weights: torch.Tensor | None) -> list[tuple[float, ...]]:
    return [] if weights is None else [tuple(row) for row in weights.tolist()]
