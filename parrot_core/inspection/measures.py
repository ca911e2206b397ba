"""What routing weights say about a model: how decided it is, who works, who does the same."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parrot_core.inspection.routing import LanguageRouting, Weights

DEAD_SHARE = 0.1
"""An expert is dead that gets less than this part of its fair share 1/E in every language."""

COLLAPSED_ENTROPY = 0.5
"""Routing has collapsed where the entropy of all weight is below this part of log E."""

ALIKE_DISTANCE = 0.02
"""Languages are routed alike that are nearer to each other than this (Jensen-Shannon)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertUsage:
    """How much one expert works.

    Attributes:
        share: Of all routing weight, every language counting the same; 1/E is fair.
        first: Share of the images for which it has the largest weight, likewise.
        language: In which it has its largest mean weight.
        highest: That weight.
    """

    share: float
    first: float
    language: str
    highest: float


def entropy(weights: Sequence[float]) -> float:
    """Entropy of a distribution in bits: 0 for one expert alone, log2 E for all alike."""
    return sum(-weight * math.log2(weight) for weight in weights if weight > 0)


def mean_entropy(rows: Sequence[Weights]) -> float:
    """Mean entropy of single images' weights in bits: how decided the router is."""
    return statistics.fmean(entropy(row) for row in rows)


def jensen_shannon(one: Sequence[float], other: Sequence[float]) -> float:
    """Jensen-Shannon distance of two distributions, with base 2: 0 if equal, 1 if disjoint."""
    middle = [(a + b) / 2 for a, b in zip(one, other, strict=True)]
    divergence = entropy(middle) - (entropy(one) + entropy(other)) / 2
    return math.sqrt(max(0.0, divergence))  # rounding may leave it just below 0


def language_distances(means: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Jensen-Shannon distances between the mean weights of languages, a symmetric matrix."""
    return {
        one: {other: jensen_shannon(means[one], means[other]) for other in means} for one in means
    }


def mean_distance(routing: Mapping[str, Sequence[float]]) -> float:
    """Mean Jensen-Shannon distance over all pairs of languages; 0 for a single one."""
    rows = list(routing.values())
    pairs = [(a, b) for number, a in enumerate(rows) for b in rows[number + 1 :]]
    return sum(jensen_shannon(a, b) for a, b in pairs) / max(1, len(pairs))


def expert_usage(routed: Mapping[str, Sequence[Weights]]) -> list[ExpertUsage]:
    """Who works how much, expert by expert; every language counts the same."""
    means = {
        language: [statistics.fmean(column) for column in zip(*rows, strict=True)]
        for language, rows in routed.items()
    }
    usage = []
    for expert in range(len(next(iter(means.values())))):
        busiest = max(means, key=lambda language: means[language][expert])
        first = [
            sum(max(range(len(row)), key=row.__getitem__) == expert for row in rows) / len(rows)
            for rows in routed.values()
        ]
        usage.append(
            ExpertUsage(
                share=statistics.fmean(weights[expert] for weights in means.values()),
                first=statistics.fmean(first),
                language=busiest,
                highest=means[busiest][expert],
            )
        )
    return usage


def find_warnings(
    summary: Mapping[str, LanguageRouting], usage: Sequence[ExpertUsage]
) -> list[str]:
    """Says in words what is suspicious: dead experts, collapse, languages routed alike."""
    experts = len(usage)
    if experts < 2:
        return []
    warnings = []
    dead = [number for number, entry in enumerate(usage, 1) if entry.highest < DEAD_SHARE / experts]
    if dead:
        names = ", ".join(map(str, dead))
        warnings.append(
            f"dead: expert {names} gets less than {DEAD_SHARE / experts:.1%} in every language "
            f"(fair is {1 / experts:.1%})"
        )
    shares = [entry.share for entry in usage]
    if entropy(shares) < COLLAPSED_ENTROPY * math.log2(experts):
        busiest = max(range(experts), key=shares.__getitem__)
        warnings.append(
            f"collapse: expert {busiest + 1} gets {shares[busiest]:.0%} of all weight; the entropy "
            f"of the usage is {entropy(shares):.2f} of {math.log2(experts):.2f} bits"
        )
    distances = language_distances({code: entry.mean for code, entry in summary.items()})
    farthest = max((d for row in distances.values() for d in row.values()), default=0.0)
    if len(summary) > 1 and farthest < ALIKE_DISTANCE:
        warnings.append(
            f"alike: all languages are routed nearly alike (largest Jensen-Shannon distance "
            f"{farthest:.4f}), so the experts hardly differ in their work by language"
        )
    return warnings
