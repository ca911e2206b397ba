"""Data sets by name: the recipe's own, a registry file's, and those of Table 3."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from parrot_core.errors import MissingError, UsageError
from parrot_core.recipe.parse import Problem, build
from parrot_core.recipe.positions import key_as_text
from parrot_core.recipe.schema import DataSet, DataUse, Recipe

_TABLE_3 = Path(__file__).with_name("datasets.toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenData:
    """One data set of a stage, with its paths.

    Attributes:
        name: Its name, or the file as the recipe writes it.
        file: Where its samples lie.
        images: Folder that its samples' image paths are relative to.
        language: Of its samples that state none; None where nobody said.
        weight: How often each sample is seen in an epoch; None where `samples` counts.
        samples: How many samples are drawn from it; None where `weight` counts.
        published_samples: How many it has, as published; None where nobody said.
        text_tokens: Of a sample, on average, images aside; None where nobody said.
        source: Where it is to be had; empty where nobody said.
    """

    name: str
    file: Path
    images: Path
    weight: float | None
    samples: int | None
    language: str | None = None
    published_samples: int | None = None
    text_tokens: int | None = None
    source: str = ""


def chosen_data(recipe: Recipe, stage: int) -> tuple[ChosenData, ...]:
    """Returns the data sets of stage 1 or 2, names looked up and paths made.

    Nothing is opened: whether the files are there is the reader's concern.

    Raises:
        MissingError: if the recipe names a registry file that is not there.
        UsageError: if the registry file is wrong, or a name is nowhere.
    """
    registry = known_data_sets(recipe.data.registry, recipe.datasets)
    folder = Path(recipe.data.folder)
    uses = (recipe.stage1 if stage == 1 else recipe.stage2).data
    return tuple(_choose(use, registry, folder) for use in uses)


def require_data_files(data: tuple[ChosenData, ...]) -> None:
    """Sees that every data set's file is there, before any work is done.

    Raises:
        MissingError: naming all that are not, and where each is to be had.
    """
    missing = [entry for entry in data if not entry.file.is_file()]
    if not missing:
        return
    lines = []
    for entry in missing:
        source = f"; where from: {entry.source}" if entry.source else ""
        lines.append(f"no data set {entry.name}: {entry.file} is not there{source}")
    raise MissingError(
        "\n".join(lines),
        hint="Put them there, or set data.folder; `parrot data demo` makes those of tiny.",
    )


def known_data_sets(registry: str | None, own: Iterable[DataSet]) -> dict[str, DataSet]:
    """Returns every data set that a recipe may name.

    Args:
        registry: A file of data sets; they go before Table 3's of the same name.
        own: The recipe's `[datasets]`, which go before all others.

    Raises:
        MissingError: if the registry file is not there.
        UsageError: if something is wrong in it.
    """
    sets = dict(table_3())
    if registry is not None:
        sets.update(_read_registry(Path(registry)))
    sets.update((entry.name, entry) for entry in own)
    return sets


@cache
def table_3() -> Mapping[str, DataSet]:
    """Returns the data sets of Table 3, by name, in the paper's order."""
    return _read_registry(_TABLE_3)


def _read_registry(path: Path) -> dict[str, DataSet]:
    if not path.is_file():
        raise MissingError(f"no such registry of data sets: {path}", hint="Set data.registry.")
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}", hint="Mend the line it names.") from error
    problems: list[Problem] = []
    sets = {}
    for name, table in tables.items():
        if isinstance(table, Mapping):
            sets[name] = build(DataSet, {"name": name, **table}, (name,), problems)
        else:
            problems.append(((name,), f"expected a section, not {table!r}"))
    if problems:
        raise UsageError(
            "\n".join(f"{path}: {key_as_text(key)}: {problem}" for key, problem in problems),
            hint='Each data set is a section: [NAME] with file = "…" and images = "…".',
        )
    return sets


def _choose(use: DataUse, registry: Mapping[str, DataSet], folder: Path) -> ChosenData:
    weight = use.weight if use.samples is None else None
    if use.file is not None:
        return ChosenData(
            name=use.file,
            file=folder / use.file,
            images=folder,
            weight=weight,
            samples=use.samples,
        )
    found = registry.get(use.name or "")
    if found is None:
        raise UsageError(
            f"unknown data set {use.name!r}", hint=f"Known are {', '.join(sorted(registry))}."
        )
    return ChosenData(
        name=found.name,
        file=folder / found.file,
        images=folder / found.images,
        weight=weight,
        samples=use.samples,
        language=found.language,
        published_samples=found.samples,
        text_tokens=found.text_tokens,
        source=" ".join(found.source.split()),
    )
