"""The two stages of section 3.4 (Algorithm 1): which parts learn, from what, and what comes out."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from parrot_core.data.collate import Collator
from parrot_core.data.dataset import SampleSet
from parrot_core.errors import MissingError, UsageError
from parrot_core.model import (
    ParrotForConditionalGeneration,
    ParrotProcessor,
    join_parrot,
    load_parrot,
)
from parrot_core.recipe import Part, Recipe, StageRecipe, chosen_data
from parrot_core.training.loop import Progress, Schedule, train
from parrot_core.training.runs import RUN_FILE, find_stage, log_file, open_run, save_run
from parrot_core.training.vision import VisionFeatures, load_vision_encoder

logger = logging.getLogger(__name__)

PARTS: tuple[Part, ...] = ("vision_encoder", "projector", "experts", "language_model")


def train_stage(
    recipe: Recipe,
    stage: int,
    *,
    output: Path,
    init_from: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_start: Callable[[dict[str, tuple[int, bool]]], None] | None = None,
) -> Path:
    """Runs stage 1 or 2 of a recipe.

    Stage 1 joins the language model and the vision encoder with a fresh projector, and bypasses
    the experts. Stage 2 starts from stage 1's output and draws the experts afresh.

    Args:
        recipe: What to do.
        stage: 1 or 2.
        output: Folder for the checkpoint, `log.jsonl` and `run.json`.
        init_from: Stage 1: folder of the language model; stage 2: checkpoint to start from. Left
            out, the newest run of the stage before, beside `output` or where the recipe says.
        on_progress: Called after every optimiser step.
        on_start: Called with the parameters of each part, and whether it learns.

    Returns:
        The folder of the checkpoint.

    Raises:
        ParrotError: if something the recipe names is missing or wrong.
    """
    settings = recipe.stage1 if stage == 1 else recipe.stage2
    open_run(output)
    root = Path(recipe.data.folder)
    files = [str(entry.file.relative_to(root)) for entry in chosen_data(recipe, stage)]
    samples = SampleSet(files, root=root)
    _check_languages(samples, recipe)
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    if stage == 1:
        model, processor = _join(recipe, output=output, given=init_from, generator=generator)
    else:
        model, processor = _continue(recipe, output=output, given=init_from)
        if recipe.model.experts.enabled:
            model.initialise_experts(generator)
    model.config.vision_feature_dropout = settings.vision_feature_dropout
    parts = choose_what_learns(model, settings.trains)
    logger.info("stage %d learns %s from %d samples", stage, settings.trains, len(samples))
    if on_start is not None:
        on_start(parts)
    features = VisionFeatures(model, processor, samples) if settings.cache_vision_features else None
    collate = Collator(
        processor,
        root=samples.root,
        max_length=settings.max_length,
        features=features,
    )
    with log_file(output) as log:
        loss = train(
            model,
            samples,
            collate=collate,
            schedule=_schedule(recipe, settings, model),
            log=log,
            on_progress=on_progress,
        )
    model.eval()

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)

    facts = {
        "samples": len(samples),
        "languages": samples.languages(),
        "loss": loss,
        "parameters": {name: count for name, (count, _) in parts.items()},
        "learned": [name for name, (_, learns) in parts.items() if learns],
    }
    save_run(output, recipe=recipe, stage=str(stage), facts=facts, save=save)
    return output


def choose_what_learns(
    model: ParrotForConditionalGeneration, trains: Sequence[Part]
) -> dict[str, tuple[int, bool]]:
    """Lets some parts of a model learn and freezes the others (Algorithm 1).

    Returns:
        For each part that the model has, its parameters and whether they learn.

    Raises:
        UsageError: if a part is to learn that the model does not have.
    """
    parts: dict[str, tuple[int, bool]] = {}
    for name in PARTS:
        part: nn.Module | None = getattr(model, name)
        learns = name in trains
        if part is None:
            continue
        for parameter in part.parameters():
            parameter.requires_grad_(learns)
        parts[name] = (sum(parameter.numel() for parameter in part.parameters()), learns)
    missing = [name for name in trains if name not in parts and name != "experts"]
    if missing or not any(learns for _, learns in parts.values()):
        raise UsageError(f"nothing to train in {list(trains)}", hint=f"Parts: {', '.join(parts)}.")
    return parts


def _join(
    recipe: Recipe, *, output: Path, given: Path | None, generator: torch.Generator
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """Equation 1's parts, the experts bypassed: where stage 1 begins."""
    settings = recipe.model
    source: str = settings.language_model
    if given is not None:
        source = str(given)
    elif recipe.language_model is not None:
        default = Path(settings.language_model)
        found = find_stage(recipe.name, stage="language-model", beside=output, default=default)
        if found is None:
            raise MissingError(
                f"no language model: {default} has no finished run",
                hint="Train it first: parrot train --stage language-model --recipe FILE",
            )
        source = str(found)
    # AutoTokenizer takes whatever lies beside a Qwen2 model for Qwen's own tokenizer.
    trained_here = recipe.language_model is not None
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source) if trained_here else source
    encoder, image_processor, layer = load_vision_encoder(settings)
    logger.info("joins the language model of %s and %s", source, settings.vision_encoder)
    return join_parrot(
        language_model=source,
        vision_encoder=encoder,
        image_processor=image_processor,
        tokenizer=tokenizer,
        generator=generator,
        vision_feature_layer=layer,
        experts_enabled=False,
        **_expert_settings(recipe),
    )


def _continue(
    recipe: Recipe, *, output: Path, given: Path | None
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """The checkpoint of stage 1: where stage 2 begins."""
    source = given
    if source is None:
        default = Path("runs") / recipe.name / "stage1"
        source = find_stage(recipe.name, stage="1", beside=output, default=default)
    if source is None:
        raise MissingError(
            f"no output of stage 1 beside {output} or in {default}",
            hint=f"Run stage 1 first, or name a checkpoint with --init-from (it has {RUN_FILE}).",
        )
    logger.info("starts from %s", source)
    model, processor = load_parrot(source)
    for name, value in _expert_settings(recipe).items():
        setattr(model.config, name, value)
    return model, processor


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


def _schedule(
    recipe: Recipe, settings: StageRecipe, model: ParrotForConditionalGeneration
) -> Schedule:
    own: dict[str, float] = {}
    for part in PARTS:
        rate, module = getattr(settings.learning_rates, part), getattr(model, part)
        if rate is not None and module is not None:
            own |= dict.fromkeys((name for name, _ in module.named_parameters(part)), rate)
    if settings.learning_rates.router is not None and model.experts is not None:
        own["experts.router"] = settings.learning_rates.router
    return Schedule(
        learning_rate=settings.learning_rate,
        global_batch_size=settings.global_batch_size,
        steps=settings.steps,
        epochs=settings.epochs,
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bfloat16=settings.precision == "bfloat16",
        seed=recipe.seed,
        learning_rates=own,
    )


def _check_languages(samples: SampleSet, recipe: Recipe) -> None:
    """Refuses samples in languages that the recipe does not name."""
    found = samples.languages()
    unknown = sorted(set(found) - set(recipe.languages))
    if unknown:
        raise UsageError(
            f"the data has samples in {', '.join(unknown)}, the recipe does not name them",
            hint="Add them to `languages`, or leave the files out.",
        )
