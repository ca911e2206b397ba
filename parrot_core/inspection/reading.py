"""Running a model over questions to watch it: what it makes of their images, batch by batch.

Shapes: B samples, M images of the batch in reading order, V visual tokens of an image, N tokens of
a sample, C hidden size, E experts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
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
            f"{model.name_or_path or 'this checkpoint'} has no experts to inspect",
            hint="Stage 1 bypasses them; name a checkpoint of stage 2 with model.experts.enabled.",
        )


class Viewer:
    """Looks at images for a model, and remembers some: questions in six languages share pictures.

    Args:
        model: In evaluation mode.
        processor: The model's.
        remembered: How many images at most; their features may be megabytes each.
    """

    def __init__(
        self,
        model: ParrotForConditionalGeneration,
        processor: ParrotProcessor,
        *,
        remembered: int = 32,
    ) -> None:
        self._model = model
        self._processor = processor
        self._most = remembered
        self._seen: dict[int, tuple[Image.Image, Tensor]] = {}  # by identity, held so that it lasts

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Returns Z_v of equation 1 for each image, float[M, 1 + patches, D_v]."""
        seen = {id(image): self._seen[id(image)] for image in images if id(image) in self._seen}
        new = {id(image): image for image in images if id(image) not in seen}
        if new:
            pixels = self._processor.prepare_images(list(new.values())).to(self._model.device)
            with torch.no_grad():
                features = self._model.vision_features(pixels)
            seen |= {key: (new[key], row) for key, row in zip(new, features, strict=True)}
        for key, entry in seen.items():
            if len(self._seen) < self._most:
                self._seen[key] = entry
        return torch.stack([seen[id(image)][1] for image in images])


def read_images(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
    *,
    viewer: Viewer,
    batch_size: int,
) -> Iterator[Batch]:
    """Yields what a model makes of the images of conversations that it is about to answer."""
    for start in range(0, len(conversations), batch_size):
        chats = conversations[start : start + batch_size]
        images = [image for chat in chats for image in chat.images]
        if not images:
            continue
        encoded = processor.encode_conversations(
            [chat.messages for chat in chats],
            images=None,
            add_generation_prompt=True,
            padding_side="left",
        )
        inputs = {name: tensor.to(model.device) for name, tensor in encoded.items()}
        with torch.no_grad():
            features = model.encode_images(vision_features=viewer(images), **inputs)
        samples = tuple(number for number, chat in enumerate(chats) for _ in chat.images)
        yield Batch(conversations=chats, inputs=inputs, features=features, samples=samples)
