"""Conversations as a model takes them: each encoded by itself, many put together for a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from parrot_core.errors import UsageError
from parrot_core.generation.conversations import Conversation
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor


class PromptTooLongError(UsageError):
    """A conversation that leaves the model no room for an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """One encoded conversation.

    Attributes:
        input_ids: int[N].
        guidance_mask: int[N], 1 on what guides (equation 2).
        pixel_values: float[M, 3, S, S], or None without images.
        room: Tokens that an answer can have at most.
    """

    input_ids: Tensor
    guidance_mask: Tensor
    pixel_values: Tensor | None
    room: int

    @property
    def images(self) -> int:
        """M."""
        return 0 if self.pixel_values is None else len(self.pixel_values)


def encode_prompt(
    model: ParrotForConditionalGeneration, processor: ParrotProcessor, conversation: Conversation
) -> Prompt:
    """Encodes a conversation that ends with a user's turn.

    Raises:
        PromptTooLongError: if the model has no room for a single token after it.
        ParrotError: what is wrong with its turns or pictures.
    """
    batch = processor.encode_conversations(
        [conversation.messages], images=[conversation.images], add_generation_prompt=True
    )
    ids = batch["input_ids"][0]
    most = model.config.text_config.max_position_embeddings
    room = most - len(ids)
    if room < 1:
        raise PromptTooLongError(
            f"the conversation has {len(ids)} tokens with its pictures, the model takes {most}",
            hint="Begin anew, or ask more briefly.",
        )
    return Prompt(
        input_ids=ids,
        guidance_mask=batch["guidance_mask"][0],
        pixel_values=batch.get("pixel_values"),
        room=room,
    )


def put_together(prompts: Sequence[Prompt], *, pad: int, device: torch.device) -> dict[str, Tensor]:
    """Makes a batch: int[B, N] padded on the left, float[M, 3, S, S] in reading order."""
    longest = max(len(prompt.input_ids) for prompt in prompts)

    def stack(rows: Sequence[Tensor], fill: int) -> Tensor:
        padded = [torch.nn.functional.pad(row, (longest - len(row), 0), value=fill) for row in rows]
        return torch.stack(padded).to(device)

    batch = {
        "input_ids": stack([prompt.input_ids for prompt in prompts], pad),
        "attention_mask": stack([torch.ones_like(prompt.input_ids) for prompt in prompts], 0),
        "guidance_mask": stack([prompt.guidance_mask for prompt in prompts], 0),
    }
    pixels = [prompt.pixel_values for prompt in prompts if prompt.pixel_values is not None]
    if pixels:
        batch["pixel_values"] = torch.cat(pixels).to(device)
    return batch
