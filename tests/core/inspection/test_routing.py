import random
from statistics import fmean

import pytest
import torch

from parrot_core.errors import UsageError
from parrot_core.inspection import language_told_by_routing, routing_by_language, summarise


def routing_alone(model, processor, chat):
    """P of one conversation, from the forward pass of the model itself."""
    batch = processor.encode_conversations(
        [chat.messages], images=[chat.images], add_generation_prompt=True
    )
    with torch.no_grad():
        return model(**batch).routing_weights.tolist()


def test_means_sum_to_1_and_are_those_of_the_images(parrot, asked):
    routed = routing_by_language(*parrot, asked)
    summary = summarise(routed)
    for language, entry in summary.items():
        alone = [row for chat in asked[language] for row in routing_alone(*parrot, chat)]
        assert entry.count == len(alone) == 8
        assert sum(entry.mean) == pytest.approx(1, abs=1e-5)
        expected = tuple(fmean(column) for column in zip(*alone, strict=True))
        assert entry.mean == pytest.approx(expected, abs=1e-5)
        assert max(entry.deviation) > 0
    assert summary["en"].mean != pytest.approx(summary["tr"].mean, abs=1e-4)


def test_the_size_of_batches_changes_nothing(parrot, asked):
    one, other = (routing_by_language(*parrot, asked, batch_size=size) for size in (3, 32))
    for language in one:
        for row, expected in zip(one[language], other[language], strict=True):
            assert row == pytest.approx(expected, abs=1e-5)


def test_spreads_are_of_each_weight():
    (entry,) = summarise({"en": [(0.2, 0.8), (0.6, 0.4)]}).values()
    assert entry.mean == pytest.approx((0.4, 0.6))
    assert entry.deviation == pytest.approx((0.2, 0.2))


def clouds(*, apart, count=200, languages=4):
    """Rows around a centre per language; `apart` is the distance in standard deviations."""
    draw = random.Random(0)
    return {
        str(number): [
            tuple(draw.gauss(apart * (number == axis), 1) for axis in range(languages))
            for _ in range(count)
        ]
        for number in range(languages)
    }


def test_languages_that_are_routed_apart_are_told():
    assert language_told_by_routing(clouds(apart=20)) == 1.0


def test_languages_that_are_routed_alike_are_told_by_chance():
    assert language_told_by_routing(clouds(apart=0)) == pytest.approx(0.25, abs=0.06)


def test_what_is_told_is_tested_on_other_rows_than_it_was_learned_from():
    """With two rows a language, a centroid that had seen its own row would always win."""
    rows = clouds(apart=0, count=2)
    scores = [language_told_by_routing(rows, seed=seed) for seed in range(30)]
    assert fmean(scores) < 0.6


def test_the_seed_decides_the_halves():
    rows = clouds(apart=1, count=20)
    assert language_told_by_routing(rows, seed=1) == language_told_by_routing(rows, seed=1)
    assert len({language_told_by_routing(rows, seed=seed) for seed in range(8)}) > 1


def test_one_image_of_a_language_is_too_few():
    with pytest.raises(UsageError, match="1 image in 'tr'"):
        language_told_by_routing({"en": [(1.0,), (1.0,)], "tr": [(1.0,)]})


def test_a_checkpoint_without_experts_is_refused(tiny, asked):
    with pytest.raises(UsageError, match="no experts to inspect") as caught:
        routing_by_language(*tiny.parrot(experts_enabled=False), asked)
    assert "stage 2" in caught.value.hint


def test_a_language_without_images_is_refused(parrot, asked):
    with pytest.raises(UsageError, match="no image in the questions of 'ru'"):
        routing_by_language(*parrot, {**asked, "ru": []})


def test_watchers_see_every_batch_and_progress_reaches_the_end(parrot, asked):
    seen, progress = [], []

    def watch(language, batch):
        seen.append((language, len(batch.conversations), batch.samples))

    routing_by_language(
        *parrot,
        asked,
        batch_size=5,
        watchers=[watch],
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert [entry[:2] for entry in seen] == [("en", 5), ("en", 3), ("tr", 5), ("tr", 3)]
    assert seen[0][2] == (0, 1, 2, 3, 4)
    assert progress[-1] == (16, 16)
