import itertools
import json
import statistics
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrot_core.data.order import OrderSampler, SampleOrder, Share
from parrot_core.training.batches import RankBatches, plan_batches

SHARES = st.lists(
    st.builds(Share, size=st.integers(1, 40), drawn=st.integers(0, 100)), min_size=1, max_size=4
).filter(lambda shares: any(share.drawn for share in shares))


def order_of(shares, *, seed=0, batch_size=4, grouped=True):
    sizes = sum(share.size for share in shares)
    lengths = np.random.default_rng(1).integers(1, 50, sizes) if grouped else None
    return SampleOrder(shares, seed=seed, batch_size=batch_size, lengths=lengths)


@settings(deadline=None)
@given(shares=SHARES, epochs=st.integers(1, 5), seed=st.integers(0, 9), grouped=st.booleans())
def test_data_sets_give_what_they_should_and_their_samples_come_equally_often(
    shares, epochs, seed, grouped
):
    order = order_of(shares, seed=seed, grouped=grouped)
    assert len(order) == sum(share.drawn for share in shares)
    seen = Counter()
    for epoch in range(epochs):
        seen.update(order.epoch(epoch).tolist())
    first = 0
    for share in shares:
        counts = [seen[first + sample] for sample in range(share.size)]
        assert sum(counts) == epochs * share.drawn
        assert max(counts) - min(counts) <= 1
        first += share.size
    assert set(seen) <= set(range(first))


@settings(deadline=None)
@given(shares=SHARES, start=st.integers(0, 300), batch=st.integers(1, 9))
def test_the_order_from_a_position_on_is_computed_without_what_came_before(shares, start, batch):
    order = order_of(shares, batch_size=batch)
    whole = np.concatenate([order.epoch(epoch) for epoch in range(start // len(order) + 2)])
    fresh = order_of(shares, batch_size=batch)
    assert fresh[start] == whole[start]
    sampler = OrderSampler(fresh, start=start)
    rest = list(sampler)
    assert rest == whole[start : start + len(rest)].tolist()
    assert len(rest) == len(order) - start % len(order)
    sampler.set_epoch(start // len(order) + 1)
    assert list(sampler) == order.epoch(start // len(order) + 1).tolist()


@given(shares=SHARES, seed=st.integers(0, 9), grouped=st.booleans())
@settings(deadline=None, max_examples=20)
def test_every_step_has_the_same_samples_on_any_number_of_processes(shares, seed, grouped):
    def steps(processes):
        plan = plan_batches(12, processes=processes, per_device_at_most=2)
        ranks = [
            RankBatches(
                OrderSampler(order_of(shares, seed=seed, batch_size=12, grouped=grouped)),
                plan=plan,
                rank=rank,
                steps=5,
            )
            for rank in range(processes)
        ]
        for micro_batches in zip(*(list(rank) for rank in ranks), strict=True):
            for batch in micro_batches:
                yield from ((draw.position, draw.sample) for draw in batch if not draw.filler)

    alone = sorted(steps(1))
    order = order_of(shares, seed=seed, batch_size=12, grouped=grouped)
    first = [index for _, index in alone][: min(len(order), 60)]
    assert first == order.epoch(0)[: len(first)].tolist()
    for processes in (2, 3, 4):
        assert sorted(steps(processes)) == alone


def test_other_processes_compute_the_same_order():
    """Whatever Python's hashes are seeded with."""
    code = (
        "import json, numpy as np\n"
        "from parrot_core.data.order import SampleOrder, Share\n"
        "shares = [Share(size=50, drawn=75), Share(size=9, drawn=4)]\n"
        "order = SampleOrder(shares, seed=3, batch_size=4, lengths=np.arange(59) % 7)\n"
        "print(json.dumps([order.epoch(epoch).tolist() for epoch in (0, 5)]))"
    )
    orders = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout
        for environment in (
            {"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},
            {"PYTHONHASHSEED": "2", "PYTHONPATH": ":".join(sys.path)},
        )
    ]
    order = SampleOrder(
        [Share(size=50, drawn=75), Share(size=9, drawn=4)],
        seed=3,
        batch_size=4,
        lengths=np.arange(59) % 7,
    )
    here = [order.epoch(epoch).tolist() for epoch in (0, 5)]
    assert [json.loads(found) for found in orders] == [here, here]


def test_orders_stay_as_they_are():
    """A run that was cut off is resumed by a later version in the order that it began in."""
    order = SampleOrder(
        [Share(size=8, drawn=8), Share(size=5, drawn=2)],
        seed=7,
        batch_size=2,
        lengths=np.array([5, 3, 9, 1, 7, 2, 8, 4, 6, 5, 3, 9, 1]),
    )
    assert order.epoch(0).tolist() == [9, 4, 7, 0, 1, 10, 6, 2, 3, 5]
    assert order.epoch(3).tolist() == [6, 2, 12, 3, 7, 0, 8, 4, 5, 1]


def test_another_seed_and_another_epoch_have_other_orders():
    shares = [Share(size=100, drawn=100)]
    first = order_of(shares).epoch(0).tolist()
    assert order_of(shares, seed=1).epoch(0).tolist() != first
    assert order_of(shares).epoch(1).tolist() != first


def test_a_data_set_that_is_added_last_leaves_the_draws_of_the_others():
    few = order_of([Share(size=30, drawn=10)], grouped=False).epoch(2).tolist()
    more = order_of([Share(size=30, drawn=10), Share(size=5, drawn=5)], grouped=False).epoch(2)
    assert sorted(few) == sorted(index for index in more.tolist() if index < 30)


def test_samples_of_a_batch_are_about_equally_long_and_batches_come_in_any_order():
    lengths = np.random.default_rng(0).integers(1, 1000, 643)
    order = SampleOrder([Share(size=643, drawn=643)], seed=0, batch_size=8, lengths=lengths)
    plain = SampleOrder([Share(size=643, drawn=643)], seed=0, batch_size=8)

    def batches(order):
        indices = order.epoch(0)
        return [lengths[indices[at : at + 8]] for at in range(0, 640, 8)]

    def spread(order):
        return statistics.fmean(batch.max() - batch.min() for batch in batches(order))

    assert spread(order) < spread(plain) / 5
    means = [batch.mean() for batch in batches(order)]
    falls = sum(later < earlier for earlier, later in itertools.pairwise(means))
    assert 20 < falls < 60  # neither from short to long, which would teach the short ones first


def test_what_cannot_be_drawn_from_is_refused():
    with pytest.raises(ValueError, match="nothing to draw from"):
        SampleOrder([Share(size=0, drawn=3)], seed=0, batch_size=1)
    with pytest.raises(ValueError, match="2 lengths for 3 samples"):
        SampleOrder([Share(size=3, drawn=3)], seed=0, batch_size=1, lengths=np.zeros(2, np.int32))
    with pytest.raises(IndexError):
        SampleOrder([Share(size=3, drawn=0)], seed=0, batch_size=1)[0]
