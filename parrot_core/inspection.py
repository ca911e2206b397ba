"""Which expert works for which language: Figure 7c of the paper, from the routing a model returns."""

import random
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from PIL import Image, ImageDraw

from parrot_core.errors import UsageError
from parrot_core.generation import Conversation, ask, routing
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
) -> dict[str, list[Weights]]:
    """Routes every image of the conversations of each language.

    Args:
        model: With experts.
        processor: The model's.
        conversations: By language code; only prompts guide, so answers do not matter.
        batch_size: Conversations encoded at once; does not change the result beyond rounding.

    Returns:
        For each language one P float[E] per image.

    Raises:
        UsageError: if the model has no experts, or a language no image.
    """
    if model.experts is None or not model.config.experts_enabled:
        raise UsageError(
            "this checkpoint has no experts to inspect",
            hint="Stage 1 bypasses them; name a checkpoint of stage 2 with model.experts.enabled.",
        )
    routed: dict[str, list[Weights]] = {}
    for language, chats in conversations.items():
        rows: list[Weights] = []
        for start in range(0, len(chats), batch_size):
            rows += routing(model, processor, chats[start : start + batch_size])
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
        centroids[language] = tuple(statistics.fmean(column) for column in zip(*learned, strict=True))
    shares = []
    for language, rows in tested.items():
        hits = sum(_nearest(row, centroids) == language for row in rows)
        shares.append(hits / len(rows))
    return statistics.fmean(shares)


def built_in_conversations(
    languages: Iterable[str], *, pictures: Sequence[Image.Image] | None = None
) -> dict[str, list[Conversation]]:
    """Questions that every language has in the same number, about the pictures given.

    Without pictures they are about plain drawn shapes.

    Raises:
        UsageError: if a language has no built-in questions.
    """
    text = files("parrot_core").joinpath("inspection_questions.toml").read_text(encoding="utf-8")
    questions: dict[str, list[str]] = tomllib.loads(text)["questions"]
    shown = list(pictures) if pictures else _drawn_shapes()
    conversations = {}
    for language in languages:
        if language not in questions:
            raise UsageError(
                f"no built-in questions in {language!r}",
                hint=f"There are some in {', '.join(questions)}; for others give --data.",
            )
        conversations[language] = [
            ask(question, images=[picture]) for question in questions[language] for picture in shown
        ]
    return conversations


def _nearest(row: Weights, centroids: Mapping[str, Weights]) -> str:
    def distance(language: str) -> float:
        return sum((a - b) ** 2 for a, b in zip(row, centroids[language], strict=True))

    return min(centroids, key=distance)


def _drawn_shapes() -> list[Image.Image]:
    """Three shapes in three colours: pictures that need no file and belong to no language."""
    pictures = []
    for shape in ("ellipse", "rectangle", "polygon"):
        for colour in ("firebrick", "seagreen", "royalblue"):
            picture = Image.new("RGB", (224, 224), "white")
            pencil = ImageDraw.Draw(picture)
            if shape == "polygon":
                pencil.polygon([(112, 32), (200, 192), (24, 192)], fill=colour)
            else:
                getattr(pencil, shape)((32, 32, 192, 192), fill=colour)
            pictures.append(picture)
    return pictures
