"""How far a measured share may be off, and whether two runs differ."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A share of right answers, with its 95 % interval.

    Attributes:
        value: In 0..1; not a number where there is nothing to count.
        low: Lower end of the interval.
        high: Upper end.
        n: How many were counted.
    """

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Returns the figures for JSON."""
        empty = self.n == 0
        return {
            "value": None if empty else self.value,
            "low": None if empty else self.low,
            "high": None if empty else self.high,
            "n": self.n,
        }


def share(hits: Sequence[bool]) -> Share:
    """Returns the share of hits, with Wilson's score interval (Wilson, 1927).

    Args:
        hits: One entry for whatever is counted: a question, a group of rotations, a pair.
    """
    n = len(hits)
    if n == 0:
        return Share(value=math.nan, low=0.0, high=1.0, n=0)
    value = sum(hits) / n
    denominator = 1 + _Z**2 / n
    centre = (value + _Z**2 / (2 * n)) / denominator
    half = _Z * math.sqrt(value * (1 - value) / n + _Z**2 / (4 * n * n)) / denominator
    # At 0 and at 1 rounding could leave the share just outside of its own interval.
    low, high = max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half))
    return Share(value=value, low=low, high=high, n=n)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """Two runs on the same questions.

    Attributes:
        difference: Share of the second less that of the first.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: Of McNemar's exact test that neither is better.
        only_first: How many the first alone got right.
        only_second: How many the second alone got right.
        n: Questions that both answered.
    """

    difference: float
    low: float
    high: float
    p_value: float
    only_first: int
    only_second: int
    n: int


def compare_paired(first: Sequence[bool], second: Sequence[bool]) -> PairedDifference:
    """Compares two runs question by question.

    The test is McNemar's in its exact form; the interval is Agresti and Min's (2005), which adds
    half an observation to each of the four cells.

    Raises:
        ValueError: if the runs differ in length.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} answers cannot be compared in pairs")
    n = len(first)
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    total, left, right = n + 2, only_first + 0.5, only_second + 0.5
    centre = (right - left) / total
    half = _Z * math.sqrt(left + right - (right - left) ** 2 / total) / total
    return PairedDifference(
        difference=(only_second - only_first) / n if n else 0.0,
        low=max(-1.0, centre - half),
        high=min(1.0, centre + half),
        p_value=_mcnemar(only_first, only_second),
        only_first=only_first,
        only_second=only_second,
        n=n,
    )


def _mcnemar(only_first: int, only_second: int) -> float:
    """Returns the two-sided exact p value: a fair coin among the questions that differ."""
    differing, fewer = only_first + only_second, min(only_first, only_second)
    if differing == 0:
        return 1.0
    log_half = differing * math.log(0.5)
    tail = sum(
        math.exp(
            math.lgamma(differing + 1)
            - math.lgamma(k + 1)
            - math.lgamma(differing - k + 1)
            + log_half
        )
        for k in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def ratio_interval(
    pairs: Sequence[tuple[float, float]], *, seed: int = 0, draws: int = 2000
) -> tuple[float, float]:
    """Returns the 95 % percentile bootstrap interval of a ratio of two means.

    Args:
        pairs: Numerator and denominator of each answer.
        seed: Of the draws, so that a report is the same twice.
        draws: How many samples are drawn.
    """
    generator = random.Random(seed)
    ratios = sorted(
        sum(a for a, _ in drawn) / sum(b for _, b in drawn)
        for drawn in (generator.choices(pairs, k=len(pairs)) for _ in range(draws))
    )
    return ratios[int(0.025 * draws)], ratios[int(0.975 * draws)]
