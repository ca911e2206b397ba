"""Global batches and their share for each process: the same samples in every step, however many.

A global batch of G samples is laid over W processes as A micro-batches of P samples each, so that
G = W · A · P. What a step learns from depends on G alone.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from parrot_core.recipe import share_batch

LANGUAGES_KEY = "sample_languages"
"""In a batch: int[B], which of the run's languages each sample is in, their number if in none."""

IMAGES_KEY = "sample_images"
"""In a batch: int[B], how many images each sample has."""

FILLER_KEY = "is_filler"
"""In a batch: present where it is there only to keep a process in step, and teaches nothing."""

_BATCHES_IN_A_GROUP = 16

Batch = dict[str, Any]
SampleType = TypeVar("SampleType")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPlan:
    """How a global batch is laid over processes.

    Attributes:
        global_batch_size: G, samples per optimiser step.
        processes: W.
        per_device: P, samples of a forward pass.
        accumulation: A, forward passes of a process per optimiser step.
    """

    global_batch_size: int
    processes: int
    per_device: int
    accumulation: int


def plan_batches(
    global_batch_size: int, *, processes: int, per_device_at_most: int | None = None
) -> BatchPlan:
    """Divides a global batch among processes.

    Args:
        global_batch_size: Samples per optimiser step.
        processes: Over all nodes.
        per_device_at_most: The most samples that a forward pass may hold; None sets no limit.

    Raises:
        UsageError: if it does not divide, naming the nearest sizes that do.
    """
    share = share_batch(
        global_batch_size, processes=processes, at_most=per_device_at_most or global_batch_size
    )
    return BatchPlan(
        global_batch_size=global_batch_size,
        processes=processes,
        per_device=share.device_batch_size,
        accumulation=share.accumulation,
    )


class LengthGrouped(Sampler[int]):
    """A seeded order in which neighbours are about equally long.

    Samples are shuffled, cut into groups of several batches, sorted within a group, and the batches
    shuffled again; every pass over the data draws another order.

    Args:
        lengths: Of each sample, in any unit.
        batch_size: Samples of a batch.
        seed: Of all orders.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the pass over the data whose order comes next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Yields every index once."""
        draw = random.Random(f"{self._seed}/{self._epoch}")
        order = draw.sample(range(len(self)), len(self))
        group = self._batch_size * _BATCHES_IN_A_GROUP
        batches = []
        for start in range(0, len(order), group):
            ranked = sorted(order[start : start + group], key=self._lengths.__getitem__)
            batches += [
                ranked[at : at + self._batch_size] for at in range(0, len(ranked), self._batch_size)
            ]
        whole = [batch for batch in batches if len(batch) == self._batch_size]
        rest = [batch for batch in batches if len(batch) < self._batch_size]
        draw.shuffle(whole)
        for batch in (*whole, *rest):  # a short batch anywhere else would shift all that follow
            yield from batch


class Order(Protocol):
    """In which order samples are seen; `LengthGrouped` is one, and `OrderSampler` of the data."""

    def __len__(self) -> int:
        """Samples of a pass over the data."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Chooses the pass over the data."""
        ...

    def __iter__(self) -> Iterator[int]:
        """Yields the indices of the pass."""
        ...


class Draw(NamedTuple):
    """A sample's turn in a run.

    Attributes:
        position: How many samples the run drew before it: what is random about it follows from
            this number and the seed, on whatever process it is.
        sample: Which one.
        filler: Whether it only keeps a process in step.
    """

    position: int
    sample: int
    filler: bool = False


class RankBatches(Sampler[list[Draw]]):
    """All micro-batches of one process, from the first step of a run to its last.

    Args:
        order: Yields each index once; `set_epoch` chooses the pass over the data.
        plan: How a global batch is laid over processes.
        rank: Which process.
        steps: Optimiser steps of the run.
    """

    def __init__(self, order: Order, *, plan: BatchPlan, rank: int, steps: int) -> None:
        self._order = order
        self._plan = plan
        self._rank = rank
        self._steps = steps

    def __len__(self) -> int:
        """How many micro-batches there are."""
        return self._steps * self._plan.accumulation

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yields the micro-batches in order."""
        for step, batch in zip(range(self._steps), self._global_batches(), strict=False):
            first = step * self._plan.global_batch_size
            draws = [Draw(first + place, index) for place, index in enumerate(batch)]
            yield from self._share(draws)

    def _global_batches(self) -> Iterator[list[int]]:
        epoch = 0
        while True:
            self._order.set_epoch(epoch)
            batch: list[int] = []
            for index in self._order:
                batch.append(index)
                if len(batch) == self._plan.global_batch_size:
                    yield batch
                    batch = []
            if batch:
                yield batch
            epoch += 1

    def _share(self, draws: list[Draw]) -> Iterator[list[Draw]]:
        """This process's micro-batches of one step; neighbours in length stay together."""
        plan = self._plan
        parts = plan.processes * plan.accumulation
        size, longer = divmod(len(draws), parts)  # the last batch of a pass may be a short one
        for turn in range(plan.accumulation):
            part = turn * plan.processes + self._rank
            start = part * size + min(part, longer)
            mine = draws[start : start + size + (part < longer)]
            yield mine or [draws[0]._replace(filler=True)]


def count_steps(samples: int, *, global_batch_size: int, epochs: float) -> int:
    """Optimiser steps of so many passes over the data; a short last batch is a step."""
    per_epoch = -(-samples // global_batch_size)
    return math.ceil(per_epoch * epochs)


class Drawn(Dataset[tuple[Draw, SampleType]]):
    """A data set that is asked for draws and gives each back with its sample."""

    def __init__(self, samples: Dataset[SampleType]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        """How many samples there are."""
        samples: Any = self._samples
        return len(samples)

    def __getitem__(self, draw: Draw) -> tuple[Draw, SampleType]:
        """The sample of a draw."""
        return draw, self._samples[draw.sample]


class RunCollator:
    """Makes a batch of draws: the model's tensors, and what the run wants to know of its samples.

    Args:
        collate: Makes the model's tensors of samples.
        languages: The run's, in the order in which they are counted.
        seed: Of what is drawn.
        dropped_channels: Share of the vision features' channels that are zeroed.
        channels: D_v, how many there are.
    """

    def __init__(
        self,
        collate: Callable[[list[Any]], Mapping[str, Any]],
        *,
        languages: Sequence[str],
        seed: int,
        dropped_channels: float = 0.0,
        channels: int = 0,
    ) -> None:
        self._collate = collate
        self._languages = {code: number for number, code in enumerate(languages)}
        self._seed = seed
        self._dropped = dropped_channels
        self._channels = channels

    def __call__(self, drawn: Sequence[tuple[Draw, Any]]) -> Batch:
        """Returns the batch; `FILLER_KEY` is in it if its draws teach nothing."""
        samples = [sample for _, sample in drawn]
        batch = dict(self._collate(samples))
        none = len(self._languages)
        batch[LANGUAGES_KEY] = torch.tensor(
            [self._languages.get(sample.language, none) for sample in samples]
        )
        batch[IMAGES_KEY] = torch.tensor([len(sample.images) for sample in samples])
        if self._dropped:
            masks = [self._mask(draw, images=len(sample.images)) for draw, sample in drawn]
            batch["vision_feature_mask"] = torch.cat(masks)
        if drawn[0][0].filler:
            batch[FILLER_KEY] = torch.tensor(1)
        return batch

    def _mask(self, draw: Draw, *, images: int) -> Tensor:
        """float[images, D_v]: dropout of whole channels, the kept ones scaled up."""
        digest = sha256(f"{self._seed}/{draw.position}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        kept = torch.rand(images, self._channels, generator=generator) >= self._dropped
        return kept / (1 - self._dropped)
