"""What a step learns from depends on the global batch alone, however many processes there are."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parrot_core.data.samples import Sample
from parrot_core.errors import UsageError
from parrot_core.training.batches import (
    FILLER_KEY,
    IMAGES_KEY,
    LANGUAGES_KEY,
    BatchPlan,
    Draw,
    LengthGrouped,
    RankBatches,
    RunCollator,
    count_steps,
    plan_batches,
)


def plan(processes, per_device, accumulation):
    size = processes * per_device * accumulation
    return BatchPlan(
        global_batch_size=size,
        processes=processes,
        per_device=per_device,
        accumulation=accumulation,
    )


def of_each_step(plan, samples, steps):
    """For every step, the draws that teach something, of all processes together."""
    found = [[] for _ in range(steps)]
    for rank in range(plan.processes):
        order = LengthGrouped(
            [n % 7 for n in range(samples)], batch_size=plan.global_batch_size, seed=1
        )
        batches = RankBatches(order, plan=plan, rank=rank, steps=steps)
        drawn = list(batches)
        assert len(drawn) == len(batches) == steps * plan.accumulation
        for number, batch in enumerate(drawn):
            assert 1 <= len(batch) <= plan.per_device
            found[number // plan.accumulation] += [draw for draw in batch if not draw.filler]
    return [sorted(step) for step in found]


@given(
    processes=st.integers(1, 4),
    per_device=st.integers(1, 3),
    accumulation=st.integers(1, 3),
    samples=st.integers(1, 50),
    epochs=st.integers(1, 3),
)
def test_all_processes_together_learn_from_what_one_would(
    processes, per_device, accumulation, samples, epochs
):
    many = plan(processes, per_device, accumulation)
    alone = plan(1, many.global_batch_size, 1)
    steps = count_steps(samples, global_batch_size=many.global_batch_size, epochs=epochs)
    together = of_each_step(many, samples, steps)
    assert together == of_each_step(alone, samples, steps)
    seen = Counter(draw.sample for step in together for draw in step)
    assert seen == dict.fromkeys(range(samples), epochs)
    positions = [draw.position for step in together for draw in step]
    assert len(set(positions)) == len(positions)


def test_a_process_without_a_sample_is_kept_in_step_by_a_filler():
    order = LengthGrouped([1] * 5, batch_size=4, seed=0)
    batches = list(RankBatches(order, plan=plan(2, 2, 1), rank=1, steps=2))
    assert [draw.filler for draw in batches[0]] == [False, False]
    assert [draw.filler for draw in batches[1]] == [True]


def test_a_batch_is_laid_over_processes_in_as_few_passes_as_the_limit_allows():
    assert plan_batches(128, processes=16, per_device_at_most=3) == plan(16, 2, 4)
    assert plan_batches(64, processes=2) == plan(2, 32, 1)


def test_a_batch_that_does_not_divide_names_the_nearest_that_do():
    with pytest.raises(UsageError, match="the nearest sizes that do are 126 and 129"):
        plan_batches(128, processes=3)


def sample(images, language):
    return Sample(id="", images=("a.png",) * images, turns=(), language=language, origin="here")


def collator(seed=0, dropped=0.5):
    return RunCollator(
        lambda samples: {"input_ids": torch.zeros(len(samples), 1)},
        languages=("en", "tr"),
        seed=seed,
        dropped_channels=dropped,
        channels=1000,
    )


def test_a_batch_says_of_its_samples_what_the_run_counts():
    drawn = [(Draw(0, 7), sample(2, "tr")), (Draw(1, 3), sample(0, None))]
    batch = collator()(drawn)
    assert batch[LANGUAGES_KEY].tolist() == [1, 2]
    assert batch[IMAGES_KEY].tolist() == [2, 0]
    assert FILLER_KEY not in batch
    assert FILLER_KEY in collator()([(Draw(0, 7, filler=True), sample(0, "en"))])


def test_dropout_follows_the_sample_to_whatever_process_it_goes():
    first, second = (Draw(10, 0), sample(1, "en")), (Draw(11, 1), sample(2, "en"))
    together = collator()([first, second])["vision_feature_mask"]
    apart = [collator()([one])["vision_feature_mask"] for one in (first, second)]
    assert torch.equal(together, torch.cat(apart))
    assert set(together.unique().tolist()) == {0.0, 2.0}
    assert together.mean() == pytest.approx(1.0, abs=0.1)
    assert not torch.equal(together[1], together[2])
    assert not torch.equal(collator(seed=1)([first])["vision_feature_mask"], apart[0])
