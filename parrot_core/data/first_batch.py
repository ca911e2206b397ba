"""What the first samples become: their text as the model will read it, what is learnt marked.

Labels that are masked by mistake teach nothing for a whole run, and no number says so; a look does.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from parrot_core.data.collate import IGNORED_LABEL
from parrot_core.data.dataset import DataSetReport
from parrot_core.data.samples import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A stretch of tokens of one kind.

    Attributes:
        text: Decoded; empty for an image.
        learnt: Whether it is supervised.
        image_tokens: How many tokens of images it is; 0 for text.
    """

    text: str
    learnt: bool
    image_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownSample:
    """A sample as the model reads it.

    Attributes:
        place: `file:line`.
        dataset: Name of its data set.
        language: Its language, where it states one.
        images: Its images' paths.
        tokens: How many there are, those of images included.
        learnt: How many of them are supervised.
        pieces: The tokens, in order.
    """

    place: str
    dataset: str
    language: str | None
    images: tuple[str, ...]
    tokens: int
    learnt: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstBatch:
    """What training begins with.

    Attributes:
        data: What became of the records of every data set.
        batch_size: Samples per optimiser step.
        samples: The first of them.
    """

    data: tuple[DataSetReport, ...]
    batch_size: int
    samples: tuple[ShownSample, ...]


def show_samples(
    samples: Sequence[Sample],
    batch: Mapping[str, Tensor],
    *,
    decode: Callable[[list[int]], str],
    image_token_id: int,
) -> tuple[ShownSample, ...]:
    """Shows samples from the batch that was made of them.

    Args:
        samples: B samples.
        batch: `input_ids`, `attention_mask` and `labels` int[B, N].
        decode: Of the tokenizer; special tokens are to be seen.
        image_token_id: The placeholder that images take.
    """
    shown = []
    for row, sample in enumerate(samples):
        whole = batch["attention_mask"][row].bool()
        ids: list[int] = batch["input_ids"][row][whole].tolist()
        learnt: list[bool] = (batch["labels"][row][whole] != IGNORED_LABEL).tolist()
        kinds = [
            (taught, token == image_token_id) for token, taught in zip(ids, learnt, strict=True)
        ]
        pieces = []
        for (taught, image), run in itertools.groupby(range(len(ids)), key=kinds.__getitem__):
            tokens = [ids[at] for at in run]
            pieces.append(
                Piece(text="", learnt=taught, image_tokens=len(tokens))
                if image
                else Piece(text=decode(tokens), learnt=taught)
            )
        shown.append(
            ShownSample(
                place=sample.origin,
                dataset=sample.dataset,
                language=sample.language,
                images=sample.images,
                tokens=len(ids),
                learnt=sum(learnt),
                pieces=tuple(pieces),
            )
        )
    return tuple(shown)
