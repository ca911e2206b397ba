"""Reading a recipe: one TOML file and `--set` values, every mistake told at once with its line."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrot_core.errors import MissingError, ParrotError, UsageError
from parrot_core.recipe.checks import contradictions
from parrot_core.recipe.datasets import known_data_sets
from parrot_core.recipe.document import Document, read_document
from parrot_core.recipe.parse import Problem, as_far_as_sound, sound_fields
from parrot_core.recipe.positions import Key, key_as_text
from parrot_core.recipe.schema import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRecipe:
    """A recipe, and what its file and the command line said themselves.

    Attributes:
        recipe: Every default filled in.
        path: The file.
        document: What the file says, with its lines.
        overrides: Keys and values of the command line.
    """

    recipe: Recipe
    path: Path
    document: Document
    overrides: Mapping[Key, Any]


def load_recipe(path: Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe and applies `key.path=value` overrides, whose values are TOML.

    Raises:
        MissingError: if there is no such file.
        UsageError: naming every mistake in the file and the overrides, one per line.
    """
    return read_recipe(path, overrides=overrides).recipe


def read_recipe(path: Path, *, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """As `load_recipe`, and keeps where each value came from.

    Raises:
        MissingError: if there is no such file.
        UsageError: naming every mistake in the file and the overrides, one per line.
    """
    if not path.is_file():
        raise MissingError(
            f"no such recipe: {path}", hint="`parrot recipe list` shows those that are there."
        )
    try:
        document = read_document(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not TOML: not UTF-8", hint="Save it as UTF-8.") from error
    faults = [f"{path}:{line}: {fault}" for line, fault in document.faults]
    table, said, unclear = _apply_overrides(document.table, overrides)
    if ("languages",) in said:
        _keep_languages_of_scores(table, document.table)
    faults += unclear
    problems: list[Problem] = []
    parts: dict[str, Any] = {}
    if document.complete:
        parts = _resolve(sound_fields(Recipe, table, (), problems), path.parent)
        problems = [problem for problem in problems if not document.lost(*problem)]
        data_sets = None
        try:
            if "datasets" in parts and "data" in parts:
                data_sets = known_data_sets(parts["data"].registry, parts["datasets"])
        except ParrotError as error:
            problems.append((("data", "registry"), error.problem))
        sound: Any = as_far_as_sound(Recipe, table)
        problems.extend(contradictions(sound, data_sets))
    faults += [f"{_place(path, document, said, key)}: {problem}" for key, problem in problems]
    if faults:
        raise UsageError(
            "\n".join(faults),
            hint="`parrot recipe show recipes/tiny.toml` lists every key there is.",
        )
    return LoadedRecipe(recipe=Recipe(**parts), path=path, document=document, overrides=said)


def recipe_as_json(recipe: Recipe) -> str:
    """Returns the resolved recipe, every default filled in, as it is saved with a run."""
    return json.dumps(dataclasses.asdict(recipe), indent=2, ensure_ascii=False)


def _apply_overrides(
    table: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], dict[Key, Any], list[str]]:
    """Returns the table as overridden, what was set by key, and what could not be understood."""
    changed: dict[str, Any] = json.loads(json.dumps(table, default=str))
    said: dict[Key, Any] = {}
    faults = []
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name.strip():
            faults.append(f"--set {override!r} is not key=value, for instance seed=1")
            continue
        key = tuple(name.strip().split("."))
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()  # a bare word is a string, as every shell user expects
        section: Any = changed
        for parent in key[:-1]:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                faults.append(f"--set {override!r}: {parent} is not a section")
                break
        else:
            section[key[-1]] = value
            said[key] = value
    return changed, said, faults


def _keep_languages_of_scores(table: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    """Lets expected scores stay those of the languages that the file was written for."""
    about = table.get("about")
    scores = about.get("scores") if isinstance(about, dict) else None
    for entry in scores if isinstance(scores, list) else ():
        if isinstance(entry, dict) and "languages" in written:
            entry.setdefault("languages", written["languages"])


def _place(path: Path, document: Document, overrides: Mapping[Key, Any], key: Key) -> str:
    """Says where a key stands: the override that set it, or the file and the nearest line."""
    dotted = key_as_text(key)
    for length in range(len(key), 0, -1):
        if key[:length] in overrides:
            return f"--set {dotted}"
        if key[:length] in document.lines:
            return f"{path}:{document.lines[key[:length]]}: {dotted}"
    for said in overrides:
        if said[: len(key)] == key:  # a section that only the command line speaks of
            return f"--set {dotted}"
    return f"{path}: {dotted}"


def _resolve(parts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Makes the recipe's own relative paths the program's."""
    model, data = parts.get("model"), parts.get("data")
    if model is not None and model.language_model.startswith("./"):
        source = (folder / model.language_model).as_posix()
        parts["model"] = dataclasses.replace(model, language_model=source)
    if data is not None and (data.registry or "").startswith("./"):
        parts["data"] = dataclasses.replace(data, registry=(folder / data.registry).as_posix())
    return parts
