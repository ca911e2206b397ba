import json

import pytest

from parrot_core.inspection import (
    ablate,
    compare,
    comparison_as_json,
    entropy,
    inspect,
    inspection_as_json,
    jensen_shannon,
)


def test_one_pass_says_everything_and_json_holds_it(parrot, answered):
    found = inspect(*parrot, answered, words=True, tokens=True)
    report = json.loads(json.dumps(inspection_as_json(found, ablate(*parrot, answered))))
    assert report["routing"] == found.means
    assert report["images"] == {"en": 8, "tr": 8}
    for language, weights in report["routing"].items():
        assert sum(weights) == pytest.approx(1, abs=1e-5)
        assert report["entropy"][language] == pytest.approx(entropy(weights))
        assert report["image_entropy"][language] <= report["entropy"][language] + 1e-9
    expected = jensen_shannon(report["routing"]["en"], report["routing"]["tr"])
    assert report["distances"]["en"]["tr"] == pytest.approx(expected)
    assert [entry["expert"] for entry in report["usage"]] == [1, 2, 3, 4, 5, 6]
    assert sum(entry["share"] for entry in report["usage"]) == pytest.approx(1, abs=1e-5)
    word = report["words"]["en"][0]
    assert word["favours"] == 1 + word["pull"].index(max(word["pull"]))
    assert len(report["ablation"]["en"]["without"]) == 6
    assert set(report["tokens"]["tr"]) == {"before", "after"}


def test_what_was_not_asked_for_is_not_there(parrot, asked):
    found = inspect(*parrot, asked)
    report = inspection_as_json(found, None)
    assert found.words is None
    assert found.clouds is None
    assert not {"words", "ablation", "tokens"} & set(report)


def test_too_few_images_leave_open_whether_the_language_is_told(parrot, asked):
    assert inspect(*parrot, asked).language_told is not None
    assert inspect(*parrot, {"en": asked["en"]}).language_told is None
    few = {language: chats[:1] for language, chats in asked.items()}
    assert inspect(*parrot, few).language_told is None


def test_experts_of_a_comparison_count_from_1_in_json(parrot, asked, tiny):
    sides = [inspect(*parts, asked).routing for parts in (parrot, tiny.parrot(num_experts=4))]
    report = json.loads(json.dumps(comparison_as_json(compare(*sides))))
    assert sorted(place for place in report["pairing"] if place) == [1, 2, 3, 4]
    assert report["most_changed"] in ("en", "tr")
