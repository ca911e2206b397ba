"""What no type can say: values that are each of the right kind and yet cannot be meant."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial

from parrot_core.recipe.batches import batch_problem
from parrot_core.recipe.parse import DATA_FILE_ENDINGS, Problem, UnsoundError
from parrot_core.recipe.positions import Key
from parrot_core.recipe.schema import LearningRates, Recipe, StageRecipe
from parrot_core.recipe.values import did_you_mean


def contradictions(recipe: Recipe, data_sets: Collection[str] | None) -> Iterator[Problem]:
    """Finds values that are each of the right kind and yet cannot be meant.

    Args:
        recipe: It, as far as it is sound: where a check asks for what is not, it is left out.
        data_sets: Names that its stages may use; None if they are not known.
    """
    checks: list[Callable[[], Iterator[Problem]]] = [
        partial(check, recipe) for check in (_languages, _scores, _active_experts, _heads)
    ]
    for section in ("stage1", "stage2"):
        checks.append(partial(_processes, section, recipe))
        checks.append(partial(_data_sets, section, recipe, data_sets))
        checks += [partial(check, section, recipe) for check in _OF_A_STAGE]
    for check in checks:
        try:
            yield from check()
        except UnsoundError:  # and told of as such
            continue


def _languages(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.languages:
        yield ("languages",), "names no language"
    for code, times in Counter(recipe.languages).items():
        if times > 1:
            yield ("languages",), f"{code!r} is named {times} times"


def _scores(recipe: Recipe) -> Iterator[Problem]:
    for index, scores in enumerate(recipe.about.scores):
        count = len(scores.languages or recipe.languages)
        if len(scores.values) != count:
            place: Key = ("about", "scores", index, "values")
            yield place, f"{len(scores.values)} values for {count} languages"


def _active_experts(recipe: Recipe) -> Iterator[Problem]:
    experts = recipe.model.experts
    if experts.active is not None and experts.active > experts.count:
        yield ("model", "experts", "active"), f"must lie between 1 and count = {experts.count}"


def _heads(recipe: Recipe) -> Iterator[Problem]:
    small = recipe.language_model
    if small is not None and small.hidden_size % small.heads:
        yield ("language_model", "heads"), f"does not divide hidden_size = {small.hidden_size}"


def _stage(section: str, recipe: Recipe) -> StageRecipe:
    return recipe.stage1 if section == "stage1" else recipe.stage2


def _processes(section: str, recipe: Recipe) -> Iterator[Problem]:
    if recipe.launch.processes is None:
        return
    together = recipe.launch.processes * recipe.launch.nodes
    problem = batch_problem(_stage(section, recipe).global_batch_size, together)
    if problem:
        yield (section, "global_batch_size"), problem


def _data_sets(
    section: str, recipe: Recipe, data_sets: Collection[str] | None
) -> Iterator[Problem]:
    data = _stage(section, recipe).data
    if not data:
        yield (section, "data"), "names no data set and no file of samples"
    before: set[str | None] = set()
    for index, use in enumerate(data):
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


def _parts(section: str, recipe: Recipe) -> Iterator[Problem]:
    trains = _stage(section, recipe).trains
    if not trains:
        yield (section, "trains"), "names no part, so nothing would learn"
    if section == "stage1" and "experts" in trains:
        yield (section, "trains"), "stage 1 bypasses the experts (section D.1)"


def _learning_rates(section: str, recipe: Recipe) -> Iterator[Problem]:
    stage = _stage(section, recipe)
    for entry in dataclasses.fields(LearningRates):
        part = "experts" if entry.name == "router" else entry.name
        if getattr(stage.learning_rates, entry.name) is not None and part not in stage.trains:
            place: Key = (section, "learning_rates", entry.name)
            yield place, f"this part does not learn: {section}.trains = {list(stage.trains)}"


def _cached_features(section: str, recipe: Recipe) -> Iterator[Problem]:
    stage = _stage(section, recipe)
    if stage.cache_vision_features and "vision_encoder" in stage.trains:
        yield (section, "cache_vision_features"), "only a frozen vision encoder can be cached"


def _adapters(section: str, recipe: Recipe) -> Iterator[Problem]:
    stage = _stage(section, recipe)
    if stage.lora is None:
        return
    place = (section, "lora")
    if not stage.lora.target_modules:
        yield (*place, "target_modules"), "names no layer"
    if "language_model" not in stage.trains:
        yield place, f'adapts the language model, but "language_model" is not in {section}.trains'


def _four_bits(section: str, recipe: Recipe) -> Iterator[Problem]:
    stage = _stage(section, recipe)
    if stage.lora is None or stage.lora.quantisation == "none":
        return
    if stage.zero == 3:
        yield (
            (section, "lora", "quantisation"),
            f"ZeRO-3 cannot share out four-bit weights; set {section}.zero to 0 or 2",
        )
    if stage.offload != "none":
        yield (section, "offload"), "four-bit weights stay on the GPU; leave offload at none"


def _offload(section: str, recipe: Recipe) -> Iterator[Problem]:
    stage = _stage(section, recipe)
    if stage.offload != "none" and stage.zero == 0:
        yield (section, "offload"), f"needs {section}.zero = 2 or 3"
    if stage.offload == "optimizer_and_parameters" and stage.zero == 2:
        yield (
            (section, "offload"),
            f'only {section}.zero = 3 can offload parameters; ZeRO-2 offloads "optimizer"',
        )


_OF_A_STAGE = (_parts, _learning_rates, _cached_features, _adapters, _four_bits, _offload)
