"""What a recipe says of a stage, in the words of the training loop."""

import os
from typing import Any

from parrot_core.data.parts import DataSource
from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.recipe import ChosenData, Part, Recipe, StageRecipe
from parrot_core.training.batches import plan_batches
from parrot_core.training.deepspeed import deepspeed_config
from parrot_core.training.settings import Engine, Schedule
from parrot_core.training.world import World

PARTS: tuple[Part, ...] = ("vision_encoder", "projector", "experts", "language_model")


def engine_of(recipe: Recipe, settings: StageRecipe, *, processes: int) -> Engine:
    """How a stage is executed by so many processes."""
    together = processes > 1 or settings.offload != "none"
    logging_to = {"tensorboard": recipe.logging.tensorboard, "wandb": recipe.logging.wandb}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    spare = max(0, (cores or 1) // processes - 1)
    return Engine(
        zero=settings.zero if together else 0,
        offload=settings.offload,
        gradient_checkpointing=settings.gradient_checkpointing,
        per_device_batch_size=settings.device_batch_size,
        data_workers=0
        if settings.cache_vision_features
        else min(recipe.launch.loader_workers, spare),
        save_every=settings.save_every,
        keep=settings.keep,
        log_every=recipe.logging.every,
        tf32=settings.tf32,
        report_to=tuple(name for name, wanted in logging_to.items() if wanted),
    )


def sharding_of(
    recipe: Recipe, settings: StageRecipe, engine: Engine, world: World
) -> dict[str, Any]:
    """DeepSpeed's settings as far as reading a checkpoint in shares needs them."""
    return deepspeed_config(
        engine.zero,
        plan=plan_batches(
            settings.global_batch_size,
            processes=world.size,
            per_device_at_most=settings.device_batch_size,
        ),
        hidden_size=recipe.model.experts.hidden_size or 1,
        max_grad_norm=settings.max_grad_norm,
        bfloat16=settings.precision == "bfloat16",
        offload=engine.offload,
    )


def schedule_of(
    recipe: Recipe, settings: StageRecipe, model: ParrotForConditionalGeneration
) -> Schedule:
    """How a stage is optimised."""
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
        vision_feature_dropout=settings.vision_feature_dropout,
    )


def source_of(data: ChosenData) -> DataSource:
    """A data set of a stage, as the data room reads it."""
    return DataSource(
        name=data.name,
        file=data.file,
        images=data.images,
        language=data.language,
        weight=1.0 if data.weight is None else data.weight,
        samples=data.samples,
    )
