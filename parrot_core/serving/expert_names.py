"""What the experts of a model are called: the languages that inspection finds them to work for."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from parrot_core.inspection import (
    LanguageRouting,
    built_in_conversations,
    routing_by_language,
    summarise,
)
from parrot_core.languages import LANGUAGES, PAPER_LANGUAGES
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor


def find_expert_names(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    picture: Image.Image | None = None,
) -> tuple[str | None, ...]:
    """Asks the built-in questions of the paper's languages about one picture, and names experts.

    Args:
        model: With or without experts.
        processor: The model's.
        picture: What is asked about; a drawn shape by default.

    Returns:
        For each expert what `name_experts` says; empty for a model without experts.
    """
    if model.experts is None or not model.config.experts_enabled:
        return ()
    pictures = [_drawn_shape() if picture is None else picture]
    conversations = built_in_conversations(PAPER_LANGUAGES, pictures=pictures)
    return name_experts(summarise(routing_by_language(model, processor, conversations)))


def name_experts(summary: Mapping[str, LanguageRouting]) -> tuple[str | None, ...]:
    """Names each expert after the language whose questions clearly give it the most weight.

    Clearly: the language's mean weight less its standard deviation is above the mean of every other
    language. An expert that no language leads so has no name.

    Returns:
        English names of languages, or None, one for each expert.
    """
    return tuple(
        _leader({code: (entry.mean[i], entry.deviation[i]) for code, entry in summary.items()})
        for i in range(len(next(iter(summary.values())).mean))
    )


def _leader(weights: Mapping[str, Sequence[float]]) -> str | None:
    first = max(weights, key=lambda code: weights[code][0])
    mean, deviation = weights[first]
    others = [weight for code, (weight, _) in weights.items() if code != first]
    return LANGUAGES[first].name if mean - deviation > max(others, default=0.0) else None


def _drawn_shape() -> Image.Image:
    picture = Image.new("RGB", (224, 224), "white")
    ImageDraw.Draw(picture).ellipse((32, 32, 192, 192), fill="royalblue")
    return picture
