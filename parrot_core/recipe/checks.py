"""What no type can say: values that are each of the right kind and yet cannot be meant."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from parrot_core.recipe.batches import batch_problem
from parrot_core.recipe.parse import DATA_FILE_ENDINGS, Problem
from parrot_core.recipe.positions import Key
from parrot_core.recipe.schema import (
    ExpertsRecipe,
    LanguageModelRecipe,
    LaunchRecipe,
    LearningRates,
    Part,
    StageRecipe,
)
from parrot_core.recipe.values import did_you_mean


def contradictions(
    parts: Mapping[str, Any], data_sets: Collection[str] | None
) -> Iterator[Problem]:
    """Finds values that are each of the right kind and yet cannot be meant.

    Args:
        parts: The fields of a `Recipe` that are sound by themselves; about the others nothing is
            said here.
        data_sets: Names that its stages may use; None if they are not known.
    """
    languages: tuple[str, ...] | None = parts.get("languages")
    if languages is not None:
        if not languages:
            yield ("languages",), "names no language"
        for code, times in Counter(languages).items():
            if times > 1:
                yield ("languages",), f"{code!r} is named {times} times"
        for index, scores in enumerate(parts["about"].scores if "about" in parts else ()):
            count = len(scores.languages or languages)
            if len(scores.values) != count:
                yield (
                    ("about", "scores", index, "values"),
                    f"{len(scores.values)} values for {count} languages",
                )
    if "model" in parts:
        experts: ExpertsRecipe = parts["model"].experts
        if experts.active is not None and experts.active > experts.count:
            yield ("model", "experts", "active"), f"must lie between 1 and count = {experts.count}"
    small: LanguageModelRecipe | None = parts.get("language_model")
    if small is not None and small.hidden_size % small.heads:
        yield ("language_model", "heads"), f"does not divide hidden_size = {small.hidden_size}"
    for section in ("stage1", "stage2"):
        stage: StageRecipe | None = parts.get(section)
        if stage is not None:
            yield from _about_data(section, stage, data_sets)
            yield from _about_what_learns(section, stage)
            yield from _about_the_engine(section, stage)
            yield from _about_processes(section, stage, parts.get("launch"))


def _about_processes(
    section: str, stage: StageRecipe, launch: LaunchRecipe | None
) -> Iterator[Problem]:
    if launch is None or launch.processes is None:
        return
    problem = batch_problem(stage.global_batch_size, launch.processes * launch.nodes)
    if problem:
        yield (section, "global_batch_size"), problem


def _about_data(
    section: str, stage: StageRecipe, data_sets: Collection[str] | None
) -> Iterator[Problem]:
    if not stage.data:
        yield (section, "data"), "names no data set and no file of samples"
    before: set[str | None] = set()
    for index, use in enumerate(stage.data):
        place: Key = (section, "data", index)
        if (use.name is None) == (use.file is None):
            yield place, "needs either a name or a file"
            continue
        if (use.name or use.file) in before:
            yield place, f"{use.name or use.file} is named before; give it a weight"
        before.add(use.name or use.file)
        if use.name is not None and data_sets is not None and use.name not in data_sets:
            near = did_you_mean(use.name, data_sets) or f"; known are {', '.join(data_sets)}"
            endings = " or ".join(DATA_FILE_ENDINGS)
            yield place, f"unknown data set {use.name!r}{near}; a file ends in {endings}"
        if use.file is not None and not use.file.endswith(DATA_FILE_ENDINGS):
            yield place, f"{use.file} does not end in {' or '.join(DATA_FILE_ENDINGS)}"
        if use.samples is not None and use.weight != 1.0:
            yield place, "has both a weight and a number of samples; give one of them"


def _about_what_learns(section: str, stage: StageRecipe) -> Iterator[Problem]:
    if not stage.trains:
        yield (section, "trains"), "names no part, so nothing would learn"
    if section == "stage1" and "experts" in stage.trains:
        yield (section, "trains"), "stage 1 bypasses the experts (section D.1)"
    trained: set[Part] = set(stage.trains)
    for entry in dataclasses.fields(LearningRates):
        place: Key = (section, "learning_rates", entry.name)
        value = getattr(stage.learning_rates, entry.name)
        if value is None:
            continue
        if ("experts" if entry.name == "router" else entry.name) not in trained:
            yield place, f"this part does not learn: {section}.trains = {list(stage.trains)}"
    if stage.cache_vision_features and "vision_encoder" in trained:
        yield (section, "cache_vision_features"), "only a frozen vision encoder can be cached"
    if stage.lora is None:
        return
    place = (section, "lora")
    if not stage.lora.target_modules:
        yield (*place, "target_modules"), "names no layer"
    if "language_model" not in trained:
        yield place, f'adapts the language model, but "language_model" is not in {section}.trains'
    if stage.lora.quantisation != "none" and stage.zero == 3:
        yield (
            (*place, "quantisation"),
            f"ZeRO-3 cannot share out four-bit weights; set {section}.zero to 0 or 2",
        )


def _about_the_engine(section: str, stage: StageRecipe) -> Iterator[Problem]:
    if stage.offload != "none" and stage.zero == 0:
        yield (section, "offload"), f"needs {section}.zero = 2 or 3"
    if stage.offload == "optimizer_and_parameters" and stage.zero == 2:
        yield (
            (section, "offload"),
            f'only {section}.zero = 3 can offload parameters; ZeRO-2 offloads "optimizer"',
        )
    if stage.offload != "none" and stage.lora is not None and stage.lora.quantisation != "none":
        yield (section, "offload"), "four-bit weights stay on the GPU; leave offload at none"
