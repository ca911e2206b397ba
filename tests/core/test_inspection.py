import json
import random
from statistics import fmean

import pytest

from parrot_core.errors import MissingError, UsageError
from parrot_core.generation import routing
from parrot_core.inspection import (
    built_in_conversations,
    language_told_by_routing,
    routing_by_language,
    sample_conversations,
    summarise,
)
from parrot_core.languages import PAPER_LANGUAGES


@pytest.fixture
def asked(tiny):
    return built_in_conversations(["en", "tr"], pictures=[tiny.image(0), tiny.image(1)])


def test_means_sum_to_1_and_are_those_of_the_images(parrot, asked):
    routed = routing_by_language(*parrot, asked)
    summary = summarise(routed)
    for language, entry in summary.items():
        alone = [row for chat in asked[language] for row in routing(*parrot, [chat])]
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


def test_every_language_of_the_paper_has_as_many_built_in_questions():
    asked = built_in_conversations(PAPER_LANGUAGES)
    assert len({len(chats) for chats in asked.values()}) == 1
    assert all(len(chat.images) == 1 for chats in asked.values() for chat in chats)
    texts = {
        language: {c.messages[0]["content"] for c in chats} for language, chats in asked.items()
    }
    assert len(set().union(*texts.values())) == sum(map(len, texts.values()))


def test_a_language_without_built_in_questions_is_named():
    with pytest.raises(UsageError, match="no built-in questions in 'de'"):
        built_in_conversations(["en", "de"])


def test_samples_with_images_are_taken_by_language(tmp_path, tiny):
    tiny.image(0).save(tmp_path / "a.png")

    def sample(number, language, image):
        question = "<image>\nWhat?" if image else "What?"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "A cat"}]
        shown = {"image": image} if image else {}
        return {"id": str(number), "language": language, **shown, "conversations": turns}

    rows = [sample(n, "tr" if n % 2 else "en", "a.png" if n != 1 else None) for n in range(9)]
    path = tmp_path / "samples.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    found = sample_conversations(path, root=tmp_path, languages=["en", "tr"], limit=4)
    assert {language: len(chats) for language, chats in found.items()} == {"en": 4, "tr": 3}
    with pytest.raises(UsageError, match="nothing with an image in ru"):
        sample_conversations(path, root=tmp_path, languages=["en", "ru"], limit=4)
    with pytest.raises(MissingError, match="nowhere"):
        sample_conversations(tmp_path / "nowhere.json", root=tmp_path, languages=["en"], limit=1)
