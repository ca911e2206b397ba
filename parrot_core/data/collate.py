"""Batches: samples in, the model's tensors out."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image
from torch import Tensor
from torch.utils.data import get_worker_info

from parrot_core.data.broken import BrokenSamples
from parrot_core.data.images import load_image
from parrot_core.data.samples import ImageFile, Sample
from parrot_core.data.sent import pack
from parrot_core.errors import ParrotError, UsageError

ROLE_IN_TEMPLATES = {"system": "system", "human": "user", "gpt": "assistant"}
"""LLaVA's roles, and what chat templates call them."""

IGNORED_LABEL = -100
"""The label of a token that is not learnt from."""

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


_Ready = tuple[Sample, list[Image.Image]]


class Collator:
    """Makes a training batch of samples.

    Args:
        processor: Encodes conversations.
        root: Folder of the images of samples that do not say theirs.
        max_length: Longest sample in tokens, those of its images included.
        over_long: What becomes of a longer one; `truncate` cuts its end off.
        features: Looks up the vision features float[images, V, D_v] of images, in place of reading
            them; None reads and decodes them.
        broken: Counts samples whose images cannot be read, and says when there are too many; None
            allows none.
        stand_ins: What may take the place of such a sample, best first, so that every process has
            its whole batch.
    """

    def __init__(
        self,
        processor: ConversationEncoder,
        *,
        root: Path,
        max_length: int,
        over_long: Literal["error", "truncate"] = "error",
        features: Callable[[Sequence[ImageFile]], Tensor] | None = None,
        broken: BrokenSamples | None = None,
        stand_ins: Callable[[Sample], Iterable[Sample]] = lambda _: (),
    ) -> None:
        self._processor = processor
        self._root = root
        self._max_length = max_length
        self._over_long = over_long
        self._features = features
        self._broken = broken or BrokenSamples(allowed=0)
        self._stand_ins = stand_ins

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Returns `input_ids`, masks and `labels` int[B, N], and the images' tensor, if any.

        Raises:
            UsageError: naming the place of a sample that is broken or longer than allowed.
        """
        try:
            return self._make(samples)
        except ParrotError as error:
            if get_worker_info() is None:
                raise
            raise pack(error) from None

    def _make(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        ready = [self._prepare(sample) for sample in samples]
        try:
            batch = self._encode(ready)
        except UsageError:  # each alone tells which one it is
            ready = [self._prepare(sample, encode=True) for sample, _ in ready]
            batch = self._encode(ready)
        files = [file for sample, _ in ready for file in self._files(sample)]
        if self._features is not None:  # for a batch of text, too: none says that others have some
            batch["vision_features"] = self._features(files)
        return self._cut(batch, [sample for sample, _ in ready])

    def _prepare(self, sample: Sample, *, encode: bool = False) -> _Ready:
        """Reads a sample's images, or those of what stands in for it."""
        for candidate in itertools.chain([sample], self._stand_ins(sample)):
            try:
                ready = candidate, self._load(candidate)
                if encode:
                    self._encode([ready])
            except UsageError as error:
                self._broken.add(candidate, error)
            else:
                return ready
        raise UsageError(
            f"{sample.origin}: broken, and nothing is left to take its place",
            hint="Run `parrot data check` on the file.",
        )

    def _files(self, sample: Sample) -> list[ImageFile]:
        return [ImageFile(sample.image_root or self._root, path) for path in sample.images]

    def _load(self, sample: Sample) -> list[Image.Image]:
        if self._features is not None:
            return []
        return [load_image(file.path, root=file.root) for file in self._files(sample)]

    def _encode(self, ready: Sequence[_Ready]) -> dict[str, Tensor]:
        images = None if self._features is not None else [images for _, images in ready]
        conversations = [as_messages(sample) for sample, _ in ready]
        return dict(
            self._processor.encode_conversations(conversations, images=images, supervise=True)
        )

    def _cut(self, batch: dict[str, Tensor], samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Sees to it that no sample is longer than allowed."""
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        most = self._max_length
        long = [at for at, length in enumerate(lengths) if length > most]
        if not long:
            return batch
        if self._over_long == "error":
            raise UsageError(
                f"{samples[long[0]].origin}: {lengths[long[0]]} tokens, {most} are allowed",
                hint="Shorten or remove the sample, or raise max_length in the recipe.",
            )
        whole = batch["input_ids"].shape[1]
        supervised = batch["labels"] != IGNORED_LABEL
        batch = {
            name: value[:, :most] if value.shape[1:2] == (whole,) and value.ndim == 2 else value
            for name, value in batch.items()
        }
        for at in long:
            if not bool(supervised[at, :most].any()):
                raise UsageError(
                    f"{samples[at].origin}: {most} of its {lengths[at]} tokens teach nothing",
                    hint="Drop over-long samples, or raise max_length in the recipe.",
                )
        return batch
