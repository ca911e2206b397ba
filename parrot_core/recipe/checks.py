"""What no type can say: values that are each of the right kind and yet cannot be meant."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator

from parrot_core.languages import LANGUAGES
from parrot_core.recipe.batches import batch_problem
from parrot_core.recipe.hardware import GPUS
from parrot_core.recipe.parse import DATA_FILE_ENDINGS, Problem, did_you_mean
from parrot_core.recipe.positions import Key
from parrot_core.recipe.schema import (
    LanguageModelRecipe,
    LearningRates,
    Part,
    Recipe,
    StageRecipe,
)


def contradictions(recipe: Recipe, data_sets: Collection[str]) -> list[Problem]:
    """Finds values that are each of the right type and yet cannot be meant.

    Args:
        recipe: What was written.
        data_sets: Names that its stages may use.
    """
    found = list(_about_the_whole(recipe))
    if recipe.language_model is not None:
        found.extend(_about_the_language_model(recipe.language_model))
    found.extend(_about_a_stage("stage1", recipe.stage1, recipe, data_sets))
    found.extend(_about_a_stage("stage2", recipe.stage2, recipe, data_sets))
    if "experts" in recipe.stage1.trains:
        found.append((("stage1", "trains"), "stage 1 bypasses the experts (section D.1)"))
    return found


def _about_the_whole(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.languages:
        yield ("languages",), "names no language"
    for index, code in enumerate(recipe.languages):
        if code not in LANGUAGES:
            yield (
                ("languages", index),
                f"unknown language {code!r}{_language_meant(code)}",
            )
    for code, times in Counter(recipe.languages).items():
        if times > 1:
            yield ("languages",), f"{code!r} is named {times} times"
    for index, scores in enumerate(recipe.about.scores):
        if len(scores.values) != len(recipe.languages):
            yield (
                ("about", "scores", index, "values"),
                f"{len(scores.values)} values for {len(recipe.languages)} languages",
            )
    experts = recipe.model.experts
    if experts.count < 1:
        yield ("model", "experts", "count"), "there must be at least one expert"
    elif experts.active is not None and not 1 <= experts.active <= experts.count:
        yield ("model", "experts", "active"), f"must lie between 1 and count = {experts.count}"
    yield from _above_zero(experts, ("model", "experts"), ("hidden_size",))
    yield from _above_zero(recipe.model, ("model",), ("image_size", "projector_layers"))
    launch = recipe.launch
    yield from _above_zero(launch, ("launch",), ("processes", "nodes", "timeout_minutes"))
    if launch.loader_workers < 0:
        yield ("launch", "loader_workers"), "must not be below 0"
    if launch.gpu is not None and launch.gpu not in GPUS:
        yield (
            ("launch", "gpu"),
            f"unknown GPU {launch.gpu!r}{did_you_mean(launch.gpu, GPUS)}; "
            f"known are {', '.join(GPUS)}",
        )
    yield from _above_zero(recipe.logging, ("logging",), ("every",))


def _language_meant(code: str) -> str:
    """`cn` is a country and `Turkish` a name: what they stand for is a code of the table."""
    for language in LANGUAGES.values():
        if code.lower() in (language.name.lower(), language.native_name.lower()):
            return f"; did you mean {language.code}?"
    return did_you_mean(code, LANGUAGES) or f"; known are {', '.join(LANGUAGES)}"


def _about_the_language_model(small: LanguageModelRecipe) -> Iterator[Problem]:
    yield from _above_zero(
        small,
        ("language_model",),
        ("steps", "global_batch_size", "learning_rate", "layers", "heads", "hidden_size"),
    )
    if small.heads > 0 and small.hidden_size % small.heads:
        yield ("language_model", "heads"), f"does not divide hidden_size = {small.hidden_size}"


def _about_a_stage(
    section: str, stage: StageRecipe, recipe: Recipe, data_sets: Collection[str]
) -> Iterator[Problem]:
    yield from _above_zero(
        stage,
        (section,),
        (
            "learning_rate",
            "global_batch_size",
            "device_batch_size",
            "epochs",
            "steps",
            "max_grad_norm",
            "max_length",
            "save_every",
            "keep",
        ),
    )
    for name in ("weight_decay", "max_bad_samples"):
        if not getattr(stage, name) >= 0:
            yield (section, name), "must not be below 0"
    for name in ("warmup_ratio", "vision_feature_dropout"):
        if not 0 <= getattr(stage, name) < 1:
            yield (section, name), "must lie in [0, 1)"
    yield from _about_data(section, stage, data_sets)
    yield from _about_what_learns(section, stage)
    yield from _about_the_engine(section, stage)
    launch = recipe.launch
    if launch.processes is not None and launch.processes > 0 and launch.nodes > 0:
        problem = batch_problem(stage.global_batch_size, launch.processes * launch.nodes)
        if problem and stage.global_batch_size > 0:
            yield (section, "global_batch_size"), problem


def _about_data(section: str, stage: StageRecipe, data_sets: Collection[str]) -> Iterator[Problem]:
    if not stage.data:
        yield (section, "data"), "names no data set and no file of samples"
    names = Counter(use.name or use.file for use in stage.data)
    for index, use in enumerate(stage.data):
        place: Key = (section, "data", index)
        if (use.name is None) == (use.file is None):
            yield place, "needs either a name or a file"
            continue
        if names[use.name or use.file] > 1:
            yield place, f"{use.name or use.file} is named more than once; give it a weight"
        if use.name is not None and use.name not in data_sets:
            near = did_you_mean(use.name, data_sets) or f"; known are {', '.join(data_sets)}"
            endings = " or ".join(DATA_FILE_ENDINGS)
            yield place, f"unknown data set {use.name!r}{near}; a file ends in {endings}"
        if use.file is not None and not use.file.endswith(DATA_FILE_ENDINGS):
            yield place, f"{use.file} does not end in {' or '.join(DATA_FILE_ENDINGS)}"
        if use.samples is not None and use.weight != 1.0:
            yield place, "has both a weight and a number of samples; give one of them"
        yield from _above_zero(use, place, ("weight", "samples"))


def _about_what_learns(section: str, stage: StageRecipe) -> Iterator[Problem]:
    if not stage.trains:
        yield (section, "trains"), "names no part, so nothing would learn"
    trained: set[Part] = set(stage.trains)
    for entry in dataclasses.fields(LearningRates):
        place: Key = (section, "learning_rates", entry.name)
        value = getattr(stage.learning_rates, entry.name)
        if value is None:
            continue
        if not value > 0:
            yield place, "must be above 0"
        if ("experts" if entry.name == "router" else entry.name) not in trained:
            yield place, f"this part does not learn: {section}.trains = {list(stage.trains)}"
    if stage.cache_vision_features and "vision_encoder" in trained:
        yield (section, "cache_vision_features"), "only a frozen vision encoder can be cached"
    if stage.lora is None:
        return
    place = (section, "lora")
    yield from _above_zero(stage.lora, place, ("rank", "alpha"))
    if not 0 <= stage.lora.dropout < 1:
        yield (*place, "dropout"), "must lie in [0, 1)"
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


def _above_zero(section: object, path: Key, names: tuple[str, ...]) -> Iterator[Problem]:
    for name in names:
        value = getattr(section, name)
        if value is not None and not value > 0:  # also if it is no number
            yield (*path, name), f"must be above 0, not {value}"
