"""Which expert works for which language: Figure 7c of the paper, from a model's routing."""

import random
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageDraw

from parrot_core.benchmarks.prompts import build_prompts
from parrot_core.benchmarks.runner import Settings, load_task
from parrot_core.data.collate import as_messages
from parrot_core.data.images import load_image, open_image
from parrot_core.data.samples import read_samples
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
        centroids[language] = tuple(
            statistics.fmean(column) for column in zip(*learned, strict=True)
        )
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


def benchmark_conversations(
    tables: Sequence[Path],
    *,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
) -> dict[str, list[Conversation]]:
    """The questions of benchmark tables, put as an evaluation would put them, by language.

    Args:
        tables: TSV files.
        languages: Codes; None is all there are.
        limit: At most so many questions of a language.
    """
    task = load_task(tables, languages=languages, settings=Settings())
    prompts = build_prompts(task.questions, style=task.prompt_style, form=task.form)
    found: dict[str, list[Conversation]] = {}
    for prompt in prompts:
        chats = found.setdefault(prompt.language, [])
        if limit is None or len(chats) < limit:
            images = [open_image(source.load()) for source in prompt.images]
            chats.append(ask(prompt.text, images=images))
    return found


def sample_conversations(
    path: Path, *, root: Path, languages: Sequence[str], limit: int
) -> dict[str, list[Conversation]]:
    """The samples of a training file that have images, by the language they state.

    Args:
        path: JSON or JSONL.
        root: Folder of the images.
        languages: Codes.
        limit: At most so many samples of a language.

    Raises:
        UsageError: if a language has none.
    """
    found: dict[str, list[Conversation]] = {language: [] for language in languages}
    for sample in read_samples(path):
        chats = found.get(sample.language or "")
        if chats is None or len(chats) == limit or not sample.images:
            continue
        images = tuple(load_image(image, root=root) for image in sample.images)
        chats.append(Conversation(messages=as_messages(sample), images=images))
    empty = [language for language, chats in found.items() if not chats]
    if empty:
        raise UsageError(
            f"{path} has no sample with an image in {', '.join(empty)}",
            hint="Name the languages that it has with --lang.",
        )
    return found


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
