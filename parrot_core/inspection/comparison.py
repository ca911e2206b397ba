"""Two checkpoints over the same questions: for which languages the routing has changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parrot_core.errors import UsageError
from parrot_core.inspection.measures import entropy, jensen_shannon, mean_distance
from parrot_core.inspection.routing import LanguageRouting, Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What differs between the routing of two checkpoints, the first and the second.

    Attributes:
        distance: Jensen-Shannon distance of the mean weights, by language; largest first.
        pairing: For each expert of the first, the expert of the second that works most like it,
            from 0; None where the second has fewer.
        distance_when_paired: The distances once the second's experts are put in that order: two
            runs number the same experts differently.
        entropy: Of the mean weights in bits, of the first and the second, by language.
        spread: Mean distance between languages, of the first and the second.
    """

    distance: Mapping[str, float]
    pairing: tuple[int | None, ...]
    distance_when_paired: Mapping[str, float]
    entropy: Mapping[str, tuple[float, float]]
    spread: tuple[float, float]

    @property
    def most_changed(self) -> str:
        """The language whose routing differs most."""
        return next(iter(self.distance))


def compare(
    first: Mapping[str, LanguageRouting], second: Mapping[str, LanguageRouting]
) -> Comparison:
    """Compares the routing of two checkpoints over the same questions.

    An expert that only one of them has counts as one with weight 0 in the other.

    Raises:
        UsageError: if the languages differ.
    """
    if set(first) != set(second):
        raise UsageError(
            f"languages differ: {', '.join(first)} and {', '.join(second)}",
            hint="Inspect both over the same data.",
        )
    means = [{code: side[code].mean for code in first} for side in (first, second)]
    experts = max(len(weights) for side in means for weights in side.values())
    one, other = (
        {code: _filled(weights, experts) for code, weights in side.items()} for side in means
    )
    order = pair_experts(one, other)
    paired = {code: tuple(weights[place] for place in order) for code, weights in other.items()}
    distances = {code: jensen_shannon(one[code], other[code]) for code in one}
    mine, theirs = (len(next(iter(side.values()))) for side in means)
    return Comparison(
        distance=dict(sorted(distances.items(), key=lambda entry: -entry[1])),
        pairing=tuple(place if place < theirs else None for place in order[:mine]),
        distance_when_paired={code: jensen_shannon(one[code], paired[code]) for code in one},
        entropy={code: (entropy(one[code]), entropy(other[code])) for code in one},
        spread=(mean_distance(one), mean_distance(other)),
    )


def pair_experts(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]
) -> list[int]:
    """For each expert of one checkpoint the other's whose weights are most like it, one to one.

    The assignment with the smallest sum of absolute differences over all languages.

    Args:
        first: Mean weights float[E] by language.
        second: Of the same languages and E.
    """
    from scipy.optimize import linear_sum_assignment

    experts = len(next(iter(first.values())))
    costs = [
        [math.fsum(abs(first[code][i] - second[code][j]) for code in first) for j in range(experts)]
        for i in range(experts)
    ]
    _, order = linear_sum_assignment(costs)
    return [int(place) for place in order]


def _filled(weights: Weights, experts: int) -> Weights:
    return weights + (0.0,) * (experts - len(weights))
