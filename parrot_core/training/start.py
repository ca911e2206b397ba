"""Where a stage begins: the parts joined for stage 1, the checkpoint of stage 1 for stage 2."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast
from transformers.integrations.deepspeed import HfDeepSpeedConfig

from parrot_core.errors import MissingError, UsageError
from parrot_core.model import (
    ParrotForConditionalGeneration,
    ParrotProcessor,
    join_parrot,
    load_parrot,
)
from parrot_core.recipe import Recipe
from parrot_core.training.runs import RUN_FILE, find_stage
from parrot_core.training.vision import EFFICIENTNET_LITE0, load_vision_encoder

logger = logging.getLogger(__name__)


def find_start(recipe: Recipe, stage: int, *, output: Path, given: Path | None) -> str:
    """Finds what a stage starts from: a folder, or a hub name of a language model.

    Args:
        recipe: What to do.
        stage: 1 or 2.
        output: Folder of the run; what lies beside it is looked at.
        given: What the user names instead.

    Raises:
        MissingError: if the stage before has not been run.
    """
    if given is not None:
        return str(given)
    if stage == 1:
        if recipe.language_model is None:
            return recipe.model.language_model
        default = Path(recipe.model.language_model)
        found = find_stage(recipe.name, stage="language-model", beside=output, default=default)
        if found is None:
            raise MissingError(
                f"no language model: {default} has no finished run",
                hint="Train it first: parrot train --stage language-model --recipe FILE",
            )
        return str(found)
    default = Path("runs") / recipe.name / "stage1"
    found = find_stage(recipe.name, stage="1", beside=output, default=default)
    if found is None:
        raise MissingError(
            "no output of stage 1 in "
            + " or ".join(dict.fromkeys(map(str, (output.parent, default.parent)))),
            hint=f"Run stage 1 first, or name a checkpoint with --init-from (it has {RUN_FILE}).",
        )
    return str(found)


def fingerprint_of_start(source: str) -> str:
    """What tells one start from another: the run that made it, or else its place or name."""
    run = Path(source) / RUN_FILE
    if run.is_file():
        return hashlib.sha256(run.read_bytes()).hexdigest()
    return str(Path(source).resolve()) if Path(source).is_dir() else source


def join(recipe: Recipe, source: str) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """Equation 1's parts, the experts bypassed: where stage 1 begins.

    Raises:
        UsageError: if the vision encoder does not take images of the recipe's size.
    """
    settings = recipe.model
    # AutoTokenizer takes whatever lies beside a Qwen2 model for Qwen's own tokenizer.
    trained_here = recipe.language_model is not None
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source) if trained_here else source
    encoder, image_processor, layer = load_vision_encoder(settings)
    logger.info("joins the language model of %s and %s", source, settings.vision_encoder)
    model, processor = join_parrot(
        language_model=source,
        vision_encoder=encoder,
        image_processor=image_processor,
        tokenizer=tokenizer,
        generator=torch.Generator().manual_seed(recipe.seed),
        vision_feature_layer=layer,
        projector_layers=settings.projector_layers,
        experts_enabled=False,
        **_expert_settings(recipe),
    )
    if settings.image_size not in (None, model.config.image_size):
        raise UsageError(
            f"model.image_size is {settings.image_size}, but {settings.vision_encoder} takes "
            f"images of {model.config.image_size} pixels",
            hint="Leave image_size out.",
        )
    return model, processor


def go_on(
    recipe: Recipe,
    source: str,
    *,
    sharded: Mapping[str, Any] | None,
    quantised: Any = None,  # noqa: ANN401 - the library's
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """The checkpoint of stage 1 with freshly drawn experts: where stage 2 begins.

    Args:
        recipe: What to do.
        source: The checkpoint.
        sharded: DeepSpeed's settings where parameters are to be divided among processes as they
            are read, so that none holds all of them.
        quantised: How the library is to hold frozen weights in fewer bits.
    """
    logger.info("starts from %s", source)
    divided = HfDeepSpeedConfig(dict(sharded)) if sharded is not None else None
    model, processor = load_parrot(source, quantization_config=quantised)
    del divided  # the library divides what is read while this lives
    _warn_of_what_stays(recipe, model, source)
    for name, value in _expert_settings(recipe).items():
        setattr(model.config, name, value)
    if recipe.model.experts.enabled:
        model.initialise_experts(torch.Generator().manual_seed(recipe.seed))
    return model, processor


def _warn_of_what_stays(recipe: Recipe, model: ParrotForConditionalGeneration, source: str) -> None:
    """Says what a recipe wants that only stage 1 could have done."""
    settings = recipe.model
    wanted = {"projector_layers": settings.projector_layers, "image_size": settings.image_size}
    if settings.vision_encoder != EFFICIENTNET_LITE0:  # it has no layers to choose from
        wanted["vision_feature_layer"] = settings.vision_feature_layer
    for name, value in wanted.items():
        found = getattr(model.config, name)
        if value not in (None, found):
            logger.warning(
                "model.%s = %s is for stage 1: it is %s in %s, and stays so",
                *(name, value, found, source),
            )


def _expert_settings(recipe: Recipe) -> dict[str, Any]:
    """The recipe's experts in the words of `ParrotConfig`, every default filled in."""
    experts = recipe.model.experts
    settings: dict[str, Any] = {
        "num_experts": experts.count,
        "num_experts_per_tok": experts.active or experts.count,
        "expert_kind": experts.kind,
        "alpha": experts.alpha,
        "text_guidance": experts.text_guidance,
    }
    if experts.hidden_size is not None:
        settings["expert_intermediate_size"] = experts.hidden_size
    return settings
