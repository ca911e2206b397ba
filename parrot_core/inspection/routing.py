"""Which expert works for which language: Figure 7c of the paper, from a model's routing."""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parrot_core.errors import UsageError
from parrot_core.generation import Conversation
from parrot_core.inspection.reading import OnProgress, Viewer, Watcher, check_experts, read_images
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

Weights = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageRouting:
    """The routing of one language's questions.

    Attributes:
        mean: Mean of P (Equation 3) over the images, float[E]; sums to 1.
        deviation: Standard deviation of each weight over the images, float[E].
        count: Images.
    """

    mean: Weights
    deviation: Weights
    count: int


def routing_by_language(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Mapping[str, Sequence[Conversation]],
    *,
    batch_size: int = 32,
    watchers: Sequence[Watcher] = (),
    on_progress: OnProgress | None = None,
) -> dict[str, list[Weights]]:
    """Routes every image of the conversations of each language.

    Args:
        model: With experts.
        processor: The model's.
        conversations: By language code; only prompts guide, so answers do not matter.
        batch_size: Conversations encoded at once; does not change the result beyond rounding.
        watchers: Shown every batch, so that one pass serves all.
        on_progress: Told how many conversations are done.

    Returns:
        For each language one P float[E] per image.

    Raises:
        UsageError: if the model has no experts, or a language no image.
    """
    check_experts(model)
    viewer = Viewer(model, processor)
    routed: dict[str, list[Weights]] = {}
    total = sum(len(chats) for chats in conversations.values())
    done = 0
    for language, chats in conversations.items():
        rows: list[Weights] = []
        for batch in read_images(model, processor, chats, viewer=viewer, batch_size=batch_size):
            weights = batch.features.routing_weights
            assert weights is not None  # the model has experts
            rows += [tuple(row) for row in weights.tolist()]
            for watcher in watchers:
                watcher(language, batch)
            done += len(batch.conversations)
            if on_progress is not None:
                on_progress(done, total)
        if not rows:
            raise UsageError(f"no image in the questions of {language!r}", hint="Give some.")
        routed[language] = rows
    return routed


def summarise(routed: Mapping[str, Sequence[Weights]]) -> dict[str, LanguageRouting]:
    """Means and spreads of the routing weights, per language."""
    return {
        language: LanguageRouting(
            mean=tuple(statistics.fmean(column) for column in zip(*rows, strict=True)),
            deviation=tuple(statistics.pstdev(column) for column in zip(*rows, strict=True)),
            count=len(rows),
        )
        for language, rows in routed.items()
    }


def language_told_by_routing(routed: Mapping[str, Sequence[Weights]], *, seed: int = 0) -> float:
    """How well the routing weights alone tell the language of the question.

    A nearest-centroid classifier: centroids from a random half of each language's images, accuracy
    on the other half, averaged over the languages; 1/languages by chance.

    Raises:
        UsageError: if a language has fewer than two images.
    """
    draw = random.Random(seed)
    centroids: dict[str, Weights] = {}
    tested: dict[str, list[Weights]] = {}
    for language, rows in routed.items():
        if len(rows) < 2:
            raise UsageError(
                f"{len(rows)} image in {language!r}", hint="At least two are needed per language."
            )
        shuffled = draw.sample(list(rows), len(rows))
        half = len(shuffled) // 2
        learned, tested[language] = shuffled[:half], shuffled[half:]
        centroids[language] = tuple(
            statistics.fmean(column) for column in zip(*learned, strict=True)
        )
    shares = []
    for language, rows in tested.items():
        hits = sum(_nearest(row, centroids) == language for row in rows)
        shares.append(hits / len(rows))
    return statistics.fmean(shares)


def _nearest(row: Weights, centroids: Mapping[str, Weights]) -> str:
    def distance(language: str) -> float:
        return sum((a - b) ** 2 for a, b in zip(row, centroids[language], strict=True))

    return min(centroids, key=distance)
