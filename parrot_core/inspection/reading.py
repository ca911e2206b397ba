"""Running a model over questions to watch it: what it makes of their images, batch by batch.

Shapes: B samples, M images of the batch in reading order, V visual tokens of an image, N tokens of
a sample, C hidden size, E experts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from parrot_core.errors import UsageError
from parrot_core.generation import Conversation
from parrot_core.model import ParrotForConditionalGeneration, ParrotImageFeatures, ParrotProcessor

OnProgress = Callable[[int, int], None]
"""Told how many of how many questions are done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Some questions of one language, encoded, and what the model made of their images.

    Attributes:
        conversations: B of them.
        inputs: The model's, padded on the left.
        features: Of the M images.
        samples: int[M], which sample each image belongs to.
    """

    conversations: Sequence[Conversation]
    inputs: dict[str, Tensor]
    features: ParrotImageFeatures
    samples: tuple[int, ...]


class Watcher(Protocol):
    """Whoever wants to see every batch of every language as it passes."""

    def __call__(self, language: str, batch: Batch) -> None:
        """Takes note of a batch."""


def check_experts(model: ParrotForConditionalGeneration) -> None:
    """Refuses a model that has nothing to inspect.

    Raises:
        UsageError: if the model has no experts.
    """
    if model.experts is None or not model.config.experts_enabled:
        raise UsageError(
            "this checkpoint has no experts to inspect",
            hint="Stage 1 bypasses them; name a checkpoint of stage 2 with model.experts.enabled.",
        )


def read_images(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
    *,
    batch_size: int,
) -> Iterator[Batch]:
    """Yields what a model makes of the images of conversations that it is about to answer."""
    for start in range(0, len(conversations), batch_size):
        chats = conversations[start : start + batch_size]
        encoded = processor.encode_conversations(
            [chat.messages for chat in chats],
            images=[chat.images for chat in chats],
            add_generation_prompt=True,
            padding_side="left",
        )
        inputs = {name: tensor.to(model.device) for name, tensor in encoded.items()}
        if "pixel_values" not in inputs:
            continue
        with torch.no_grad():
            features = model.encode_images(**inputs)
        samples = tuple(number for number, chat in enumerate(chats) for _ in chat.images)
        yield Batch(conversations=chats, inputs=inputs, features=features, samples=samples)
