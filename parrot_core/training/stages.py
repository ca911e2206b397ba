"""The two stages of section 3.4 (Algorithm 1): which parts learn, from what, and what comes out."""

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from parrot_core.data.collate import Collator
from parrot_core.data.dataset import SampleSet
from parrot_core.data.first_batch import FirstBatch, first_batch
from parrot_core.data.index import OnIndexing
from parrot_core.data.order import OrderSampler
from parrot_core.errors import UsageError
from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.recipe import Part, Recipe, chosen_data, require_data_files
from parrot_core.training.checkpoints import Checkpoint
from parrot_core.training.features import VisionFeatures
from parrot_core.training.from_recipe import PARTS, engine_of, schedule_of, sharding_of, source_of
from parrot_core.training.kernels import choose_attention, choose_packing, use_fused_kernels
from parrot_core.training.loggers import prepare_loggers
from parrot_core.training.loop import train
from parrot_core.training.lora import add_adapters, quantised_loading
from parrot_core.training.resuming import Runs, identity_of
from parrot_core.training.runs import log_file, save_run
from parrot_core.training.saving import saver
from parrot_core.training.settings import Progress, Run
from parrot_core.training.start import find_start, fingerprint_of_start, go_on, join
from parrot_core.training.warnings import warn_of_missing_languages
from parrot_core.training.world import joined_world, number_of_processes, wait_for_all

logger = logging.getLogger(__name__)

BROKEN_FILE = "broken.jsonl"
"""In the folder of a run: the samples that turned out to be broken while it learned from them."""


def train_stage(  # noqa: PLR0913 - four of them hear how it goes
    recipe: Recipe,
    stage: int,
    *,
    output: Path,
    init_from: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_start: Callable[[dict[str, tuple[int, bool]]], None] | None = None,
    on_resume: Callable[[Checkpoint], None] | None = None,
    on_indexing: OnIndexing | None = None,
    on_first_batch: Callable[[FirstBatch], bool] | None = None,
) -> Path:
    """Runs stage 1 or 2 of a recipe.

    Stage 1 joins the language model and the vision encoder with a fresh projector, and bypasses
    the experts. Stage 2 starts from stage 1's output and draws the experts afresh.

    Where a launcher started this process with others, all of them call this; the first one writes.

    Args:
        recipe: What to do.
        stage: 1 or 2.
        output: Folder for the checkpoint, `log.jsonl` and `run.json`.
        init_from: Stage 1: folder of the language model; stage 2: checkpoint to start from. Left
            out, the newest run of the stage before, beside `output` or where the recipe says.
        resume: Go on from the newest whole checkpoint of a run that was cut off.
        on_progress: Called after every optimiser step.
        on_start: Called with the parameters of each part, and whether it learns.
        on_resume: Called with the checkpoint that the run goes on from.
        on_indexing: Called while the data is read for the first time.
        on_first_batch: Called with the first samples before the first step; returns whether to go
            on and train.

    Returns:
        The folder of the checkpoint.

    Raises:
        ParrotError: if something the recipe names is missing or wrong.
        Stopped: if the process was asked to stop; the run is saved.
    """
    settings = recipe.stage1 if stage == 1 else recipe.stage2
    processes = number_of_processes(os.environ)
    engine = engine_of(recipe, settings, processes=processes)
    prepare_loggers(recipe, engine.report_to, output=output)
    with (
        joined_world(
            deepspeed=bool(engine.zero), timeout_minutes=recipe.launch.timeout_minutes
        ) as world,
        Runs(output, world=world).open() as runs,
    ):
        chosen = chosen_data(recipe, stage)
        require_data_files(chosen)
        samples = SampleSet(
            [source_of(entry) for entry in chosen],
            root=Path(recipe.data.folder),
            max_bad_samples=settings.max_bad_samples,
            on_progress=on_indexing if world.is_first else None,
        )
        _check_languages(samples, recipe)
        source = find_start(recipe, stage, output=output, given=init_from)
        identity = identity_of(
            recipe,
            stage,
            data=samples.identity(),
            start=fingerprint_of_start(source),
            zero=engine.zero,
            processes=processes,
        )
        checkpoint = runs.find(identity, resume=resume)
        if runs.finished:
            return output
        if checkpoint is not None and on_resume is not None and world.is_first:
            on_resume(checkpoint)
        if world.is_first and stage == 2:  # stage 1 is English in the paper, too
            warn_of_missing_languages(recipe.languages, samples.languages())
        torch.manual_seed(recipe.seed)
        attention = choose_attention(
            recipe.model.attention, bfloat16=settings.precision == "bfloat16"
        )
        quantised = quantised_loading(settings.lora)
        if stage == 1:
            model, processor = join(recipe, source)
        else:
            sharded = sharding_of(recipe, settings, engine, world) if engine.zero == 3 else None
            model, processor = go_on(recipe, source, sharded=sharded, quantised=quantised)
        if attention is not None:
            model.language_model.set_attn_implementation(attention)
        packing = choose_packing(settings.packing, model.language_model)
        engine = dataclasses.replace(engine, packing=packing)
        if settings.fused_kernels:
            use_fused_kernels(model)
        samples = samples.measure(processor).limit(
            settings.max_length, over_long=settings.over_long
        )
        dtype = model.dtype
        parts = choose_what_learns(model, settings.trains)
        if settings.lora is not None:
            count = add_adapters(model, settings.lora, seed=recipe.seed)
            parts |= {"language_model": (parts["language_model"][0], False)}
            parts["adapters"] = (count, True)
        if settings.precision == "bfloat16" and not engine.zero:
            _hold_in_float32(model)
        logger.info("stage %d learns %s from %d samples", stage, settings.trains, len(samples))
        if on_start is not None and world.is_first:
            on_start(parts)
        features = None
        if settings.cache_vision_features:
            if torch.cuda.is_available() and engine.zero != 3 and quantised is None:
                model.vision_encoder.cuda()  # whereto the rest of the model goes when it learns
            features = VisionFeatures(model, processor, samples.images, world=world)
            samples = samples.without_images(features.broken)
        broken = samples.broken_samples(output / BROKEN_FILE)
        if checkpoint is None and world.is_first:
            broken.forget()
        collate = Collator(
            processor,
            root=samples.root,
            max_length=settings.max_length,
            over_long="truncate" if settings.over_long == "truncate" else "error",
            features=features,
            broken=broken,
            stand_ins=samples.stand_ins,
        )
        order = samples.order(
            batch_size=settings.global_batch_size,
            seed=recipe.seed,
            group_by_length=settings.group_by_length,
        )
        if on_first_batch is not None and checkpoint is None and world.is_first:
            first = first_batch(
                samples, order, collate, processor, batch_size=settings.global_batch_size
            )
            if not on_first_batch(first):
                return output
        after = checkpoint.step if checkpoint is not None else 0
        with log_file(output, after=after, active=world.is_first) as log:
            trained = train(
                model,
                samples,
                order=OrderSampler(order),
                collate=collate,
                schedule=schedule_of(recipe, settings, model),
                engine=engine,
                run=Run(
                    log=log,
                    on_progress=on_progress,
                    world=world,
                    languages=recipe.languages,
                    checkpoints=runs.checkpoints,
                    identity=identity,
                    resume=checkpoint,
                ),
            )
        model.eval()
        facts = {
            "samples": len(samples),
            "data": [dataclasses.asdict(entry) for entry in samples.report()],
            "broken_samples": len(samples.broken) + len(broken.found()),
            "languages": samples.languages(),
            "loss": trained.loss if trained.loss is not None else runs.last_loss(),
            "parameters": {name: count for name, (count, _) in parts.items()},
            "learned": [name for name, (_, learns) in parts.items() if learns],
            "processes": processes,
            "zero": engine.zero,
            "identity": identity,
        }
        if world.is_first:
            save_run(
                output,
                recipe=recipe,
                stage=str(stage),
                facts=facts,
                save=saver(
                    model,
                    processor,
                    weights=trained.weights,
                    dtype=dtype,
                    lora=settings.lora,
                    base=source if quantised is not None else None,
                ),
            )
        wait_for_all(world)
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
            # Four-bit weights are integers, beside which adapters learn.
            parameter.requires_grad_(learns and parameter.is_floating_point())
        parts[name] = (sum(map(_size, part.parameters())), learns)
    missing = [name for name in trains if name not in parts and name != "experts"]
    if missing or not any(learns for _, learns in parts.values()):
        raise UsageError(f"nothing to train in {list(trains)}", hint=f"Parts: {', '.join(parts)}.")
    return parts


def _size(parameter: Any) -> int:  # noqa: ANN401 - DeepSpeed's parameters have further attributes
    """Numbers in a parameter, also where this process holds only its share of it."""
    size: int = parameter.ds_numel if hasattr(parameter, "ds_numel") else parameter.numel()
    return size


def _hold_in_float32(model: nn.Module) -> None:
    """Without DeepSpeed nobody keeps float32 masters: bfloat16 would lose small updates."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _check_languages(samples: SampleSet, recipe: Recipe) -> None:
    """Refuses samples in languages that the recipe does not name."""
    found = samples.languages()
    unknown = sorted(set(found) - set(recipe.languages))
    if unknown:
        raise UsageError(
            f"the data has samples in {', '.join(unknown)}, the recipe does not name them",
            hint="Add them to `languages`, or leave the files out.",
        )
