import itertools
import random

import pytest

from parrot_core.errors import UsageError
from parrot_core.inspection import compare, jensen_shannon, pair_experts, summarise


def routing(seed, languages=("en", "tr", "ru"), experts=4):
    draw = random.Random(seed)
    rows = {}
    for language in languages:
        weights = [draw.random() ** 3 for _ in range(experts)]
        rows[language] = [tuple(weight / sum(weights) for weight in weights)]
    return summarise(rows)


def test_the_same_checkpoint_has_not_changed():
    found = compare(routing(0), routing(0))
    assert set(found.distance.values()) == {0.0}
    assert found.pairing == (0, 1, 2, 3)
    assert found.spread[0] == found.spread[1] > 0


def test_the_language_that_changed_most_comes_first():
    first, second = routing(0), routing(1)
    found = compare(first, second)
    for language, distance in found.distance.items():
        expected = jensen_shannon(first[language].mean, second[language].mean)
        assert distance == pytest.approx(expected)
    assert list(found.distance.values()) == sorted(found.distance.values(), reverse=True)
    assert found.most_changed == max(found.distance, key=found.distance.get)


def test_experts_that_were_only_renumbered_are_paired():
    first = routing(0)
    order = [2, 0, 3, 1]
    renumbered = summarise(
        {code: [tuple(entry.mean[place] for place in order)] for code, entry in first.items()}
    )
    found = compare(first, renumbered)
    assert found.pairing == tuple(order.index(place) for place in range(4))
    assert max(found.distance_when_paired.values()) == pytest.approx(0, abs=1e-6)
    assert max(found.distance.values()) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_no_other_pairing_is_better(seed):
    first, second = ({c: e.mean for c, e in routing(s).items()} for s in (seed, seed + 50))

    def cost(order):
        return sum(
            abs(first[code][i] - second[code][j]) for code in first for i, j in enumerate(order)
        )

    best = min(cost(order) for order in itertools.permutations(range(4)))
    assert cost(pair_experts(first, second)) == pytest.approx(best)


def test_experts_that_one_side_lacks_are_left_over():
    found = compare(routing(0, experts=4), routing(0, experts=2))
    assert sorted(place for place in found.pairing if place is not None) == [0, 1]
    assert found.pairing.count(None) == 2
    assert len(compare(routing(0, experts=2), routing(0, experts=4)).pairing) == 2


def test_other_languages_cannot_be_compared():
    with pytest.raises(UsageError, match="languages differ"):
        compare(routing(0), routing(0, languages=("en", "tr")))
