"""Everything that one pass over the questions says about a checkpoint, and its form as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from parrot_core.inspection.ablation import Ablation
from parrot_core.inspection.comparison import Comparison
from parrot_core.inspection.measures import (
    ExpertUsage,
    entropy,
    expert_usage,
    find_warnings,
    language_distances,
    mean_entropy,
)
from parrot_core.inspection.questions import Asked
from parrot_core.inspection.reading import OnProgress
from parrot_core.inspection.routing import (
    LanguageRouting,
    language_told_by_routing,
    routing_by_language,
    summarise,
)
from parrot_core.inspection.tokens import TokenClouds, TokenWatcher
from parrot_core.inspection.words import GuidingWord, WordWatcher
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What the routing of a checkpoint over some questions says.

    Attributes:
        routing: Mean and spread, by language.
        entropy: In bits, of the mean weights, by language; log2 E if all experts work alike.
        image_entropy: In bits, of an image's weights, mean over the images, by language.
        usage: Expert by expert.
        distances: Jensen-Shannon distances between the languages' mean weights.
        language_told: How often the routing alone tells the language; None where a language has
            fewer than two images or there is but one language.
        warnings: What is suspicious, in words.
        words: Which words pulled the router, by language; None if not asked for.
        clouds: Visual and text tokens, by language; None if not asked for.
    """

    routing: Mapping[str, LanguageRouting]
    entropy: Mapping[str, float]
    image_entropy: Mapping[str, float]
    usage: Sequence[ExpertUsage]
    distances: Mapping[str, Mapping[str, float]]
    language_told: float | None
    warnings: Sequence[str]
    words: Mapping[str, Sequence[GuidingWord]] | None = None
    clouds: Mapping[str, TokenClouds] | None = None

    @property
    def means(self) -> dict[str, list[float]]:
        """Mean weights float[E] by language; each sums to 1."""
        return {language: list(entry.mean) for language, entry in self.routing.items()}


def inspect(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Mapping[str, Sequence[Asked]],
    *,
    words: bool = False,
    tokens: bool = False,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Inspection:
    """Looks at the routing of every image of the conversations.

    Args:
        model: With experts, in evaluation mode.
        processor: The model's.
        conversations: By language code.
        words: Whether to see which words pulled the router.
        tokens: Whether to see how near visual and text tokens are.
        seed: Of whatever is drawn.
        on_progress: Told how many conversations are done.

    Raises:
        UsageError: if the model has no experts, or no words that guide them though `words` are
            asked for, or if a language has no image.
    """
    word_watcher = WordWatcher(model, processor) if words else None
    token_watcher = TokenWatcher(model, seed=seed) if tokens else None
    routed = routing_by_language(
        model,
        processor,
        conversations,
        watchers=[watcher for watcher in (word_watcher, token_watcher) if watcher is not None],
        on_progress=on_progress,
    )
    summary = summarise(routed)
    usage = expert_usage(routed)
    enough = len(routed) > 1 and all(len(rows) > 1 for rows in routed.values())
    return Inspection(
        routing=summary,
        entropy={language: entropy(entry.mean) for language, entry in summary.items()},
        image_entropy={language: mean_entropy(rows) for language, rows in routed.items()},
        usage=usage,
        distances=language_distances({code: entry.mean for code, entry in summary.items()}),
        language_told=language_told_by_routing(routed, seed=seed) if enough else None,
        warnings=find_warnings(summary, usage),
        words=None if word_watcher is None else word_watcher.words(),
        clouds=None if token_watcher is None else token_watcher.clouds(),
    )


def inspection_as_json(
    found: Inspection, ablation: Mapping[str, Ablation] | None
) -> dict[str, Any]:
    """What was found, as JSON has it; experts count from 1 where they are named by a number."""
    report: dict[str, Any] = {
        "routing": found.means,
        "deviation": {code: list(entry.deviation) for code, entry in found.routing.items()},
        "images": {code: entry.count for code, entry in found.routing.items()},
        "entropy": dict(found.entropy),
        "image_entropy": dict(found.image_entropy),
        "usage": [
            {"expert": number, **asdict(entry)} for number, entry in enumerate(found.usage, 1)
        ],
        "distances": {code: dict(row) for code, row in found.distances.items()},
        "language_told_by_routing": found.language_told,
        "warnings": list(found.warnings),
    }
    if found.words is not None:
        report["words"] = {
            code: [{**asdict(word), "favours": word.favours + 1} for word in words]
            for code, words in found.words.items()
        }
    if ablation is not None:
        report["ablation"] = {code: asdict(entry) for code, entry in ablation.items()}
    if found.clouds is not None:
        report["tokens"] = {
            code: {
                "before": asdict(entry.closeness_before),
                "after": asdict(entry.closeness_after),
            }
            for code, entry in found.clouds.items()
        }
    return report


def comparison_as_json(found: Comparison) -> dict[str, Any]:
    """What differs, as JSON has it; experts count from 1."""
    return {
        **asdict(found),
        "pairing": [None if place is None else place + 1 for place in found.pairing],
        "most_changed": found.most_changed,
    }
