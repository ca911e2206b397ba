"""The configs of a recipe's backbones, without their weights: from wherever they are at hand."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from transformers import AutoConfig, PreTrainedConfig, Qwen2Config

from parrot_core.errors import MissingError, UsageError
from parrot_core.model import ParrotConfig
from parrot_core.model.backbones import VISION_ENCODERS, language_model_row
from parrot_core.recipe import LanguageModelRecipe, Recipe
from parrot_core.training.vision import EFFICIENTNET_LITE0, load_vision_encoder

_FACTS = Path(__file__).with_name("backbones.toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A backbone's config and where it was found.

    Attributes:
        config: Of the part alone.
        source: `folder`, `hub cache`, `hub`, `package`, `recipe`, or `shipped facts`.
    """

    config: PreTrainedConfig
    source: str


def model_config(recipe: Recipe, *, experts: bool) -> tuple[ParrotConfig, dict[str, str]]:
    """Returns the config of the model that a recipe trains, and where its parts' came from.

    Args:
        recipe: Its `[model]` section counts.
        experts: Whether the stage has experts; stage 1 bypasses them.

    Raises:
        MissingError: if a backbone's config is nowhere to be found.
        UsageError: if a backbone is of a family that Parrot does not know.
    """
    language_model = language_model_config(recipe)
    vision_encoder, layer = vision_encoder_config(recipe)
    settings = recipe.model.experts
    config = ParrotConfig(
        vision_config=vision_encoder.config,
        text_config=language_model.config,
        vision_feature_layer=layer,
        projector_layers=recipe.model.projector_layers,
        experts_enabled=experts and settings.enabled,
        num_experts=settings.count,
        num_experts_per_tok=settings.active or settings.count,
        expert_kind=settings.kind,
        expert_intermediate_size=settings.hidden_size,
        text_guidance=settings.text_guidance,
    )
    return config, {
        "language_model": language_model.source,
        "vision_encoder": vision_encoder.source,
    }


def language_model_config(recipe: Recipe) -> Origin:
    """Finds the language model's config; one that is yet to be trained has the recipe's."""
    source = recipe.model.language_model
    if recipe.language_model is not None and not (Path(source) / "config.json").is_file():
        return Origin(config=_yet_to_be_trained(recipe.language_model), source="recipe")
    found = _find(source)
    text: PreTrainedConfig = getattr(found.config, "text_config", found.config)
    language_model_row(text)
    return Origin(config=text, source=found.source)


def vision_encoder_config(recipe: Recipe) -> tuple[Origin, int]:
    """Finds the vision encoder's config, and the hidden states that are its features."""
    if recipe.model.vision_encoder == EFFICIENTNET_LITE0:
        encoder, _, layer = load_vision_encoder(recipe.model)
        config: Any = getattr(encoder, "config")  # noqa: B009 - the library types it as text, too
        config.image_size = recipe.model.image_size or config.image_size
        return Origin(config=config, source="package"), layer
    found = _find(recipe.model.vision_encoder)
    kind = found.config.model_type
    config = getattr(found.config, "vision_config", found.config)
    if config.model_type not in VISION_ENCODERS:
        raise UsageError(
            f"{recipe.model.vision_encoder} is a {kind!r}, not a vision encoder that Parrot knows",
            hint=f"Parrot knows {', '.join(VISION_ENCODERS)}.",
        )
    return Origin(config=config, source=found.source), recipe.model.vision_feature_layer


def _find(source: str) -> Origin:
    """A folder, the hub's cache, the facts that are shipped, and the hub itself, in this order."""
    if Path(source).is_dir():
        return Origin(config=_load(source), source="folder")
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True)
        return Origin(config=config, source="hub cache")
    except (OSError, ValueError):  # not in the cache, or no name that the hub could have
        pass
    if source in _facts():
        facts = dict(_facts()[source])
        config = AutoConfig.for_model(facts.pop("model_type"), **facts)
        return Origin(config=config, source="shipped facts")
    if constants.HF_HUB_OFFLINE:
        raise MissingError(
            f"no model {source}: no such folder, not in the hub's cache, and the hub is off",
            hint="Name a folder, or fetch it where there is a network: hf download "
            f"{source}; HF_HUB_OFFLINE keeps this machine from it.",
        )
    return Origin(config=_load(source), source="hub")


def _load(source: str) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MissingError(
            f"no model {source}: {reason}",
            hint="Name a folder or a hub name; without a network, models must be in the hub's "
            "cache already (hf download NAME).",
        ) from error
    return config


@cache
def _facts() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(_FACTS.read_text(encoding="utf-8"))


def _yet_to_be_trained(settings: LanguageModelRecipe) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=settings.vocabulary_size,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        tie_word_embeddings=True,
    )
