"""From TOML values to the schema's objects: every unknown, missing or ill-typed key is noted."""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from parrot_core.recipe.positions import Key
from parrot_core.recipe.schema import NAMED, DataUse, Recipe
from parrot_core.recipe.values import Check, did_you_mean

Problem = tuple[Key, str]
"""Where the mistake is, and what is wrong or would be right."""

DATA_FILE_ENDINGS = (".json", ".jsonl", ".parquet")

_NUMBER = re.compile(r"[-+]?[\d_]*\.?\d+(e[-+]?\d+)?", re.IGNORECASE)


def build(kind: type, table: Mapping[str, Any], path: Key, problems: list[Problem]) -> Any:  # noqa: ANN401 - any dataclass
    """Builds a dataclass from a table, noting every unknown, missing or ill-typed key.

    Args:
        kind: A frozen dataclass of the schema.
        table: What the file says.
        path: Where the table stands.
        problems: Takes what is wrong.

    Returns:
        The object, or None where there were problems.
    """
    before = len(problems)
    values = sound_fields(kind, table, path, problems)
    return kind(**values) if len(problems) == before else None


def sound_fields(
    kind: type, table: Mapping[str, Any], path: Key, problems: list[Problem]
) -> dict[str, Any]:
    """As `build`, but returns the fields that nothing is wrong with, those left out included."""
    hints = _hints(kind)
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for name, value in table.items():
        place = (*path, name)
        before = len(problems)
        if name not in fields:
            what = "section" if isinstance(value, Mapping) else "key"
            near = did_you_mean(name, fields) or _where_it_belongs(name)
            problems.append((place, f"unknown {what}{near}"))
            continue
        convert = _named if fields[name].metadata.get(NAMED) else _convert
        converted = convert(hints[name], value, place, problems)
        if len(problems) == before:
            values[name] = converted
    for name, entry in fields.items():
        if name in table:
            continue
        if entry.default is not dataclasses.MISSING:
            values[name] = entry.default
        elif entry.default_factory is not dataclasses.MISSING:
            values[name] = entry.default_factory()
        else:
            what = "section" if dataclasses.is_dataclass(hints[name]) else "key"
            problems.append(((*path, name), f"this {what} is missing"))
    return values


class UnsoundError(Exception):
    """A value was asked for that a recipe does not have, or has wrongly."""


class Partly:
    """A section as far as it is sound; to ask for anything else in it is an `UnsoundError`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a recipe's value
        """The sound value of this name."""
        try:
            return self._values[name]
        except KeyError:
            raise UnsoundError(name) from None


def as_far_as_sound(kind: type, table: Mapping[str, Any]) -> Partly:
    """As `build`, but leaves out what is wrong, in sections of sections, too, and notes nothing."""
    values = sound_fields(kind, table, (), [])
    for name, value in table.items():
        section, _ = _plain(_hints(kind).get(name))
        if name not in values and dataclasses.is_dataclass(section) and isinstance(value, Mapping):
            values[name] = as_far_as_sound(typing.cast(type, section), value)
    return Partly(values)


def _where_it_belongs(name: str) -> str:
    """Names the sections that do have such a key."""
    homes = [section for section, keys in _keys_by_section().items() if name in keys]
    return f"; it belongs into {' or '.join(homes)}" if homes else ""


@functools.cache
def _keys_by_section() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}

    def walk(kind: type, path: tuple[str, ...]) -> None:
        hints = _hints(kind)
        found[f"[{'.'.join(path)}]" if path else "the top of the file"] = frozenset(hints)
        for name, hint in hints.items():
            for part in (hint, *get_args(hint)):
                if isinstance(part, type) and dataclasses.is_dataclass(part):
                    walk(part, (*path, name))

    walk(Recipe, ())
    return found


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _named(hint: Any, value: Any, path: Key, problems: list[Problem]) -> Any:  # noqa: ANN401 - TOML values
    """A table of names to sections becomes a tuple of objects that know their names."""
    (kind, _) = get_args(hint)
    if not isinstance(value, Mapping):
        problems.append((path, f"expected sections [{path[-1]}.NAME], not {value!r}"))
        return ()
    found = []
    for name, section in value.items():
        if isinstance(section, Mapping):
            found.append(build(kind, {"name": name, **section}, (*path, name), problems))
        else:
            problems.append(((*path, name), f"expected a section, not {section!r}"))
    return tuple(found)


def _convert(hint: Any, value: Any, path: Key, problems: list[Problem]) -> Any:  # noqa: ANN401 - TOML values
    """Returns a TOML value as the type that a field declares, or notes why it is not one."""
    hint, checks = _plain(hint)
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if hint is DataUse and isinstance(value, str):
            value = {"file" if value.endswith(DATA_FILE_ENDINGS) else "name": value}
        if isinstance(value, Mapping):
            return build(typing.cast(type, hint), value, path, problems)
    elif origin is Literal:
        return _choose(get_args(hint), value, path, problems)
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(
                _convert(get_args(hint)[0], item, (*path, index), problems)
                for index, item in enumerate(value)
            )
    elif type(value) is hint or (hint is float and type(value) is int):
        faults = [fault for check in checks if (fault := check.problem(value))]
        problems.extend((path, fault) for fault in faults)
        return float(value) if hint is float else value
    remark = ""
    if hint in (int, float) and isinstance(value, str) and _NUMBER.fullmatch(value):
        remark = "; write the number without quotes"
    problems.append((path, f"expected {_type_name(hint)}, not {_shown(value)}{remark}"))
    return None


def _plain(hint: Any) -> tuple[Any, tuple[Check, ...]]:  # noqa: ANN401 - a type of any kind
    """The type itself, without `| None`, and what else its values must be."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    if get_origin(hint) is Annotated:
        plain, *checks = get_args(hint)
        return plain, tuple(checks)
    return hint, ()


def _choose(allowed: tuple[Any, ...], value: Any, path: Key, problems: list[Problem]) -> Any:  # noqa: ANN401 - TOML values
    for choice in allowed:
        if type(choice) is type(value) and choice == value:
            return choice
    names = ", ".join(map(repr, allowed))
    near = did_you_mean(str(value), allowed)
    problems.append((path, f"{_shown(value)} is none of {names}{near}"))
    return None


def _shown(value: Any) -> str:  # noqa: ANN401 - TOML values
    """A value as TOML writes it, as far as its reader cares."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _type_name(hint: Any) -> str:  # noqa: ANN401 - a type of any kind
    if hint is DataUse:
        return "the name of a data set, a file, or a table of either with a weight or samples"
    if dataclasses.is_dataclass(hint):
        return "a section"
    if get_origin(hint) is tuple:
        return "a list"
    return {int: "a whole number", float: "a number", str: "a text in quotes"}.get(
        hint, "true or false"
    )
