"""Batches: samples in, the model's tensors out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image
from torch import Tensor

from parrot_core.data.images import load_image
from parrot_core.data.samples import Sample
from parrot_core.errors import UsageError

ROLE_IN_TEMPLATES = {"system": "system", "human": "user", "gpt": "assistant"}
"""LLaVA's roles, and what chat templates call them."""

Messages = list[dict[str, str]]


class ConversationEncoder(Protocol):
    """What a batch needs of a processor; `ParrotProcessor` is one."""

    def encode_conversations(
        self,
        conversations: Sequence[Messages],
        *,
        images: Sequence[Sequence[Image.Image]] | None,
        supervise: bool = False,
    ) -> Mapping[str, Tensor]:
        """Encodes conversations, and their images unless the caller brings their features."""
        ...


def as_messages(sample: Sample) -> Messages:
    """A sample's turns in the words of chat templates."""
    return [{"role": ROLE_IN_TEMPLATES[turn.role], "content": turn.text} for turn in sample.turns]


class Collator:
    """Makes a training batch of samples.

    Args:
        processor: Encodes conversations.
        root: Folder of the images.
        max_length: Longest sample in tokens, those of its images included.
        features: Looks up the vision features float[images, V, D_v] of image paths, in place of
            reading the images; None reads and decodes them.
    """

    def __init__(
        self,
        processor: ConversationEncoder,
        *,
        root: Path,
        max_length: int,
        features: Callable[[Sequence[str]], Tensor] | None = None,
    ) -> None:
        self._processor = processor
        self._root = root
        self._max_length = max_length
        self._features = features

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Returns `input_ids`, masks and `labels` int[B, N], and the images' tensor, if any.

        Raises:
            UsageError: naming a sample that is longer than allowed.
        """
        conversations = [as_messages(sample) for sample in samples]
        paths = [path for sample in samples for path in sample.images]
        images = None
        if self._features is None:
            images = [
                [load_image(path, root=self._root) for path in sample.images] for sample in samples
            ]
        batch = dict(
            self._processor.encode_conversations(conversations, images=images, supervise=True)
        )
        if self._features is not None:  # for a batch of text, too: none says that others have some
            batch["vision_features"] = self._features(paths)
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        for sample, length in zip(samples, lengths, strict=True):
            if length > self._max_length:
                raise UsageError(
                    f"{sample.origin}: {length} tokens, {self._max_length} are allowed",
                    hint="Shorten or remove the sample, or raise max_length in the recipe.",
                )
        return batch
