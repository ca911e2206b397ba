"""In which order samples are seen: a function of the seed and the position, and of nothing else.

Every process computes the same order and takes its own part of it, so the number of processes does
not matter; and the order from any position on is computed without going through what came before.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

_BATCHES_IN_A_GROUP = 16
_INDICES_AT_ONCE = 4096

Indices = npt.NDArray[np.int64]
_Kept = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What a data set gives to an epoch.

    Attributes:
        size: Samples that it has.
        drawn: Samples that an epoch draws from it; more than `size` repeats some.
    """

    size: int
    drawn: int


class SampleOrder:
    """The order of all epochs.

    A data set is gone through pass after pass, each in an order of its own, and every epoch goes on
    where the last one stopped: whatever its share, each sample has come equally often, give or take
    one. What an epoch draws is shuffled together. If lengths are given, groups of sixteen batches
    are sorted by length, cut into batches, and the batches shuffled.

    Args:
        shares: Of the data sets, whose samples are numbered one set after the other.
        seed: Of all orders.
        batch_size: Samples per optimiser step, over all processes.
        lengths: Of all samples; None leaves batches as they are drawn.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        *,
        seed: int,
        batch_size: int,
        lengths: npt.NDArray[np.integer] | None = None,
    ) -> None:
        sizes = sum(share.size for share in shares)
        if lengths is not None and len(lengths) != sizes:
            raise ValueError(f"{len(lengths)} lengths for {sizes} samples")
        if any(share.drawn and not share.size for share in shares):
            raise ValueError(f"nothing to draw from: {shares}")
        self._shares = tuple(shares)
        self._seed = seed
        self._batch_size = batch_size
        self._lengths = lengths
        self._latest: tuple[int, _Kept] | None = None

    def __len__(self) -> int:
        """Samples of an epoch."""
        return sum(share.drawn for share in self._shares)

    def __getitem__(self, position: int) -> int:
        """The sample at a position of the endless order, all epochs one after the other."""
        if position < 0 or not len(self):
            raise IndexError(f"position {position} of an order of {len(self)} samples an epoch")
        epoch, at = divmod(position, len(self))
        return int(self.epoch(epoch)[at])

    def epoch(self, number: int) -> _Kept:
        """The samples of an epoch (from 0), in order."""
        if self._latest is None or self._latest[0] != number:
            self._latest = (number, self._compute(number).astype(np.int32))
        return self._latest[1]

    def _compute(self, epoch: int) -> Indices:
        drawn = []
        first = 0
        for place, share in enumerate(self._shares):
            start = epoch * share.drawn
            drawn.append(first + self._draw(place, share, start, start + share.drawn))
            first += share.size
        order = np.concatenate([np.zeros(0, np.int64), *drawn])
        order = order[self._shuffled(len(order), "epoch", epoch)]
        if self._lengths is None:
            return order
        return self._by_length(order, self._lengths[order], epoch)

    def _draw(self, place: int, share: Share, start: int, stop: int) -> Indices:
        """The samples from `start` up to `stop` of a data set's endless sequence of passes."""
        parts = [np.zeros(0, np.int64)]
        while start < stop:
            number, at = divmod(start, share.size)
            taken = min(stop - start, share.size - at)
            parts.append(self._shuffled(share.size, "pass", place, number)[at : at + taken])
            start += taken
        return np.concatenate(parts)

    def _by_length(self, order: Indices, lengths: npt.NDArray[np.integer], epoch: int) -> Indices:
        groups = np.arange(len(order)) // (self._batch_size * _BATCHES_IN_A_GROUP)
        order = order[np.lexsort((lengths, groups))]
        whole = len(order) // self._batch_size
        end = whole * self._batch_size
        batches = order[:end].reshape(whole, self._batch_size)
        batches = batches[self._shuffled(whole, "batches", epoch)]
        # A short batch anywhere but at the end would put all later ones across two lengths.
        return np.concatenate([batches.reshape(-1), order[end:]])

    def _shuffled(self, count: int, *purpose: str | int) -> Indices:
        """The numbers below `count` in an order that depends on the seed and the purpose."""
        text = "/".join(map(str, (self._seed, *purpose)))
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        # NumPy promises that this generator's raw numbers stay as they are, which it does not of
        # its permutations: a run resumed with a later version finds the same order.
        drawn = np.random.Philox(key=key).random_raw(count)
        return np.argsort(np.atleast_1d(drawn), kind="stable")


class OrderSampler(Sampler[int]):
    """An order for the library's loaders: one epoch at a time, from any position on.

    Args:
        order: The order.
        start: Position in the endless order at which to begin.
    """

    def __init__(self, order: SampleOrder, *, start: int = 0) -> None:
        self._order = order
        self._epoch, self._start = divmod(start, max(1, len(order)))

    def __len__(self) -> int:
        """Samples of an epoch."""
        return len(self._order)

    def set_epoch(self, epoch: int) -> None:
        """Goes to the beginning of an epoch, unless it is the one that this begins within."""
        if epoch != self._epoch:
            self._epoch, self._start = epoch, 0

    def __iter__(self) -> Iterator[int]:
        """Yields the samples of the epoch; the next time, those of all of it."""
        start, self._start = self._start, 0
        indices = self._order.epoch(self._epoch)
        for at in range(start, len(indices), _INDICES_AT_ONCE):
            yield from indices[at : at + _INDICES_AT_ONCE].tolist()
