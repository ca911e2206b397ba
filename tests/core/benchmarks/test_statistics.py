import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from parrot_core.benchmarks.statistics import compare_paired, ratio_interval, share

HITS = st.lists(st.booleans(), min_size=1, max_size=60)


def test_wilson_s_interval_is_that_of_the_textbook():
    found = share([True] * 8 + [False] * 2)
    assert found.low == pytest.approx(0.4901, abs=1e-4)  # Newcombe (1998), method 3
    assert found.high == pytest.approx(0.9433, abs=1e-4)


@given(HITS)
def test_wilson_s_interval_is_scipy_s(hits):
    found, theirs = share(hits), binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(HITS)
def test_an_interval_holds_its_share(hits):
    found = share(hits)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.n == len(hits)


def test_nothing_counted_is_no_figure():
    assert math.isnan(share([]).value)
    assert share([]).as_dict()["value"] is None


@given(HITS)
def test_a_run_does_not_differ_from_itself(hits):
    found = compare_paired(hits, hits)
    assert found.difference == 0
    assert found.p_value == 1
    assert found.low <= 0 <= found.high


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_comparing_the_other_way_round_turns_the_sign(pairs):
    first, second = (list(side) for side in zip(*pairs, strict=True))
    one, other = compare_paired(first, second), compare_paired(second, first)
    assert one.difference == -other.difference
    assert one.p_value == pytest.approx(other.p_value)
    assert one.low == pytest.approx(-other.high)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_s_exact_test_is_scipy_s_of_a_coin(first, second):
    found = compare_paired([True] * first + [False] * second, [False] * first + [True] * second)
    theirs = binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.p_value == pytest.approx(theirs, abs=1e-12)


def test_mcnemar_s_exact_test_is_a_fair_coin():
    found = compare_paired([False] * 8 + [True] * 2, [True] * 8 + [False] * 2)
    assert found.p_value == pytest.approx(2 * (1 + 10 + 45) / 2**10)


def test_a_ratio_s_interval_is_the_same_twice():
    pairs = [(6.0, 8.0), (7.0, 9.0), (3.0, 8.0)]
    assert ratio_interval(pairs) == ratio_interval(pairs)
