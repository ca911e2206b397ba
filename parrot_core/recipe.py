"""Recipes: one TOML file that pins a training run, parsed once into typed, frozen, strict objects.

Every mistake in a file is reported at once, with its line, its key and what would be right. The
paper's values (Table 13, section 4.1) are the defaults; the language model, the vision encoder and
the data have none.
"""

import dataclasses
import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import LANGUAGES, PAPER_LANGUAGES

StageName = Literal["language-model", "1", "2"]
Part = Literal["projector", "experts", "language_model", "vision_encoder"]


@dataclass(frozen=True, kw_only=True)
class ExpertsRecipe:
    """The mixture of experts of Equations 2 to 5."""

    enabled: bool = True
    """False trains the same model without router and experts: the LLaVA baseline."""
    count: int = 6
    """E: one expert per language of the paper (section 4.1)."""
    active: int | None = None
    """k of Equation 4: experts used per image; left out, all of them."""
    kind: Literal["two_layer", "gated"] = "two_layer"
    """`two_layer` with SiLU (the paper) or `gated` (the authors' released checkpoints)."""
    hidden_size: int | None = None
    """Width inside an expert; left out, the language model's hidden size."""
    alpha: float = 1.0
    """α of Equation 5; the paper gives no value."""
    text_guidance: bool = True
    """False lets the router read the [CLS] token itself instead of Equation 2's attention."""


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """The parts that are joined before stage 1."""

    language_model: str
    """A hub name or folder, for instance what stage `language-model` wrote; `./` begins a path that
    is relative to the recipe."""
    vision_encoder: str
    """A hub name, a folder, or `efficientnet-lite0` (from the Python package of that name)."""
    vision_feature_layer: int = -2
    """Which hidden state of a transformer encoder is Z_v of Equation 1."""
    image_size: int | None = None
    """Side of the square that images are resized to; left out, the encoder's own."""
    experts: ExpertsRecipe = field(default_factory=ExpertsRecipe)


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Where a run's files lie."""

    folder: str
    """Image root: paths in samples, and the files named by the stages, are relative to it."""


@dataclass(frozen=True, kw_only=True)
class LanguageModelRecipe:
    """A small language model trained here on text alone: what stands in for a pretrained one."""

    data: tuple[str, ...]
    """Files of samples without images, relative to `data.folder`."""
    words: str | None = None
    """File of a dictionary, relative to `data.folder`: samples that state their `language` and
    `concept`. Words of a concept begin near each other; left out, they begin anywhere."""
    vocabulary_size: int = 4096
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 3
    heads: int = 4
    learning_rate: float = 2e-3
    global_batch_size: int = 64
    steps: int = 1000
    warmup_steps: int = 100
    adam_beta2: float = 0.98
    """Decay of AdamW's second moments; small models in few steps want it lower than usual."""
    max_grad_norm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class StageRecipe:
    """One of the two stages of section 3.4 (Algorithm 1)."""

    data: tuple[str, ...]
    """Files of samples, relative to `data.folder`."""
    trains: tuple[Part, ...]
    """The parts that learn; all others are frozen."""
    learning_rate: float
    router_learning_rate: float | None = None
    """Of the router alone; left out, the stage's."""
    global_batch_size: int
    epochs: float = 1.0
    steps: int | None = None
    """Optimiser steps; where given, it counts instead of `epochs`."""
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_length: int = 2048
    """Longest sample in tokens, image tokens included; a longer one is an error."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    cache_vision_features: bool = False
    """Encode each image once: exact, since the vision encoder is frozen."""
    vision_feature_dropout: float = 0.0
    """Share of the vision features' channels that are zeroed while training; for few pictures."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a training run is made of."""

    name: str
    seed: int = 0
    languages: tuple[str, ...] = PAPER_LANGUAGES
    model: ModelRecipe
    data: DataRecipe
    language_model: LanguageModelRecipe | None = None
    """The stage before stage 1, for recipes that train their own language model."""
    stage1: StageRecipe
    stage2: StageRecipe


def load_recipe(path: Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe and applies `key.path=value` overrides, whose values are TOML.

    Raises:
        MissingError: if there is no such file.
        UsageError: naming every mistake in the file and the overrides, one per line.
    """
    if not path.is_file():
        raise MissingError(f"no such recipe: {path}", hint="Recipes lie in recipes/*.toml.")
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not TOML: not UTF-8", hint="Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}", hint="Mend the line it names.") from error
    for override in overrides:
        _apply_override(table, override)
    problems: list[Problem] = []
    recipe = _build(Recipe, table, (), problems)
    if not problems:
        recipe = _resolve(recipe, path.parent)
        problems.extend(_contradictions(recipe))
    if problems:
        lines = [f"{_place(path, text, overrides, key)}: {problem}" for key, problem in problems]
        raise UsageError(
            "\n".join(lines), hint="`recipes/tiny.toml` and parrot_core/recipe.py list every key."
        )
    return typing.cast(Recipe, recipe)


def recipe_as_json(recipe: Recipe) -> str:
    """Returns the resolved recipe, every default filled in, as it is saved with a run."""
    return json.dumps(dataclasses.asdict(recipe), indent=2, ensure_ascii=False)


_NUMBER = re.compile(r"[-+]?[\d_]*\.?\d+(e[-+]?\d+)?", re.IGNORECASE)

Key = tuple[str, ...]
Problem = tuple[Key, str]


def _apply_override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {override!r} is not key=value", hint="Example: --set seed=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string, as every shell user expects
    *parents, last = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise UsageError(f"--set {override!r}: {parent} is not a section", hint=None)
    table[last] = value


def _build(kind: type, table: Mapping[str, Any], path: Key, problems: list[Problem]) -> Any:  # noqa: ANN401 - any dataclass
    """Builds a dataclass from a table, noting every unknown, missing or ill-typed key."""
    hints = typing.get_type_hints(kind)
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in fields:
            problems.append(((*path, name), f"unknown key{_did_you_mean(name, fields)}"))
            continue
        values[name] = _convert(hints[name], value, (*path, name), problems)
    for name, entry in fields.items():
        required = (
            entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        )
        if required and name not in table:
            what = "section" if dataclasses.is_dataclass(hints[name]) else "key"
            problems.append(((*path, name), f"this {what} is missing"))
    return kind(**values) if not problems else None


def _convert(hint: Any, value: Any, path: Key, problems: list[Problem]) -> Any:  # noqa: ANN401 - TOML values
    """Returns a TOML value as the type that a field declares, or notes why it is not one."""
    origin = get_origin(hint)
    if origin is types.UnionType:
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
        origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return _build(typing.cast(type, hint), value, path, problems)
    elif origin is Literal:
        if value in get_args(hint):
            return value
        allowed = ", ".join(map(repr, get_args(hint)))
        near = _did_you_mean(str(value), get_args(hint))
        problems.append((path, f"{value!r} is none of {allowed}{near}"))
        return None
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(_convert(get_args(hint)[0], item, path, problems) for item in value)
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is hint:
        return value
    remark = ""
    if hint in (int, float) and isinstance(value, str) and _NUMBER.fullmatch(value):
        remark = "; write the number without quotes"
    problems.append((path, f"expected {_type_name(hint)}, not {value!r}{remark}"))
    return None


def _type_name(hint: Any) -> str:  # noqa: ANN401 - a type of any kind
    if dataclasses.is_dataclass(hint):
        return "a section"
    if get_origin(hint) is tuple:
        return "a list"
    return {int: "a whole number", float: "a number", str: "a text in quotes"}.get(
        hint, "true or false"
    )


def _did_you_mean(name: str, known: Any) -> str:  # noqa: ANN401 - any iterable of names
    near = difflib.get_close_matches(name, [str(entry) for entry in known], n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _place(path: Path, text: str, overrides: Sequence[str], key: Key) -> str:
    """Says where a key stands: the file and line, or the override that set it."""
    dotted = ".".join(key)
    if any(override.partition("=")[0].strip() == dotted for override in overrides):
        return f"--set {dotted}"
    section: Key = ()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line.startswith("["):
            section = tuple(line[1:].partition("]")[0].split("."))
            if section == key:
                return f"{path}:{number}: [{dotted}]"
        elif line.partition("=")[0].strip() == key[-1] and section == key[:-1]:
            return f"{path}:{number}: {dotted}"
    return f"{path}: {dotted}"


def _resolve(recipe: Recipe, folder: Path) -> Recipe:
    """Makes the recipe's own relative paths the program's."""
    source = recipe.model.language_model
    if not source.startswith("./"):
        return recipe
    model = dataclasses.replace(recipe.model, language_model=(folder / source).as_posix())
    return dataclasses.replace(recipe, model=model)


def _contradictions(recipe: Recipe) -> list[Problem]:
    """Finds values that are each of the right type and yet cannot be meant."""
    problems: list[Problem] = []
    for code in recipe.languages:
        if code not in LANGUAGES:
            problems.append((("languages",), f"unknown language {code!r}"))
    experts = recipe.model.experts
    if experts.count < 1:
        problems.append((("model", "experts", "count"), "there must be at least one expert"))
    if experts.active is not None and not 1 <= experts.active <= experts.count:
        problems.append(
            (("model", "experts", "active"), f"must lie between 1 and count = {experts.count}")
        )
    stages = {"stage1": recipe.stage1, "stage2": recipe.stage2}
    if recipe.language_model is not None:
        small = recipe.language_model
        for name in ("steps", "global_batch_size", "learning_rate", "layers", "heads"):
            if not getattr(small, name) > 0:  # also if it is no number
                problems.append((("language_model", name), "must be above 0"))
        if small.heads > 0 and small.hidden_size % small.heads:
            problems.append(
                (("language_model", "heads"), f"does not divide hidden_size = {small.hidden_size}")
            )
    for section, stage in stages.items():
        if not stage.data:
            problems.append(((section, "data"), "names no file of samples"))
        for name in ("learning_rate", "global_batch_size", "epochs", "max_length"):
            if not getattr(stage, name) > 0:  # also if it is no number
                problems.append(((section, name), "must be above 0"))
        if stage.steps is not None and stage.steps <= 0:
            problems.append(((section, "steps"), "must be above 0"))
        if not 0 <= stage.vision_feature_dropout < 1:
            problems.append(((section, "vision_feature_dropout"), "must lie in [0, 1)"))
        if stage.cache_vision_features and "vision_encoder" in stage.trains:
            problems.append(
                ((section, "cache_vision_features"), "only a frozen vision encoder can be cached")
            )
    return problems
