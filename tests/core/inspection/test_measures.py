import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from parrot_core.inspection import (
    entropy,
    expert_usage,
    find_warnings,
    jensen_shannon,
    language_distances,
    mean_distance,
    mean_entropy,
    summarise,
)

distributions = st.lists(st.floats(0.001, 1), min_size=4, max_size=4).map(
    lambda row: [value / sum(row) for value in row]
)


@given(distributions, distributions)
def test_distances_and_entropies_are_the_libraries(one, other):
    assert jensen_shannon(one, other) == pytest.approx(jensenshannon(one, other, base=2), abs=1e-6)
    assert entropy(one) == pytest.approx(scipy_entropy(one, base=2))


def test_entropy_and_distance_reach_their_ends():
    assert entropy([0.25] * 4) == pytest.approx(2)
    assert entropy([0, 1, 0]) == 0
    assert jensen_shannon([1, 0], [0, 1]) == pytest.approx(1)
    assert jensen_shannon([0.3, 0.7], [0.3, 0.7]) == 0


def test_an_image_may_be_decided_where_the_mean_is_not():
    rows = [(1.0, 0.0), (0.0, 1.0)]
    assert mean_entropy(rows) == 0
    assert entropy(summarise({"en": rows})["en"].mean) == pytest.approx(1)


def test_distances_of_languages_are_a_symmetric_matrix_with_their_mean():
    means = {"en": [0.5, 0.5], "tr": [0.9, 0.1], "ru": [0.1, 0.9]}
    distances = language_distances(means)
    for one in means:
        assert distances[one][one] == 0
        for other in means:
            assert distances[one][other] == distances[other][one]
    pairs = [distances["en"]["tr"], distances["en"]["ru"], distances["tr"]["ru"]]
    assert mean_distance(means) == pytest.approx(sum(pairs) / 3)
    assert mean_distance({"en": (0.5, 0.5)}) == 0


def test_use_counts_every_language_the_same_however_many_its_images():
    routed = {"en": [(0.8, 0.2)] * 9, "tr": [(0.2, 0.8)]}
    usage = expert_usage(routed)
    assert [entry.share for entry in usage] == pytest.approx([0.5, 0.5])
    assert [entry.first for entry in usage] == pytest.approx([0.5, 0.5])
    assert [entry.language for entry in usage] == ["en", "tr"]
    assert usage[1].highest == pytest.approx(0.8)


def warnings_of(routed):
    return find_warnings(summarise(routed), expert_usage(routed))


def test_a_dead_expert_is_named():
    (warning,) = warnings_of({"en": [(0.6, 0.39, 0.01)], "tr": [(0.3, 0.69, 0.01)]})
    assert warning.startswith("dead: expert 3 gets less than 3.3%")


def test_an_expert_that_one_language_needs_is_not_dead():
    assert not warnings_of({"en": [(0.6, 0.39, 0.01)], "tr": [(0.3, 0.3, 0.4)]})


def test_collapse_is_said_with_the_expert_that_takes_it_all():
    warnings = warnings_of({"en": [(0.02, 0.92, 0.06)], "tr": [(0.06, 0.9, 0.04)]})
    assert any(text.startswith("collapse: expert 2 gets 91%") for text in warnings)


def test_languages_that_are_routed_alike_are_said_so():
    even = [(0.34, 0.33, 0.33)]
    (warning,) = warnings_of({"en": even, "tr": even})
    assert warning.startswith("alike:")
    assert not warnings_of({"en": even})


def test_a_single_expert_is_nothing_to_warn_of():
    assert not warnings_of({"en": [(1.0,)], "tr": [(1.0,)]})
    assert math.isclose(expert_usage({"en": [(1.0,)]})[0].share, 1)
