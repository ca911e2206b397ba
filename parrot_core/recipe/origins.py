"""A resolved recipe, key by key, with where each value came from."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parrot_core.recipe.load import LoadedRecipe
from parrot_core.recipe.positions import Key, key_as_text
from parrot_core.recipe.schema import NAMED, DataUse


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One value of a recipe.

    Attributes:
        key: Names of its section and its own.
        value: As it is used; None where it is left out and nothing stands in for it.
        origin: `file`, `default` or `--set`.
        line: In the file.
    """

    key: Key
    value: Any
    origin: str
    line: int | None = None

    @property
    def name(self) -> str:
        """As `--set` takes it."""
        return key_as_text(self.key)


def settings(loaded: LoadedRecipe) -> list[Setting]:
    """Returns every value of a recipe in the order of the schema."""
    return list(_settings(loaded, loaded.recipe, ()))


def as_toml(loaded: LoadedRecipe) -> str:
    """Writes a resolved recipe as TOML, the origin of every value behind it.

    It is itself a recipe: the same run without defaults that a later version may change.
    """
    lines: list[tuple[str, str]] = []
    section: Key = ()
    for setting in settings(loaded):
        if setting.key[:-1] != section:
            section = setting.key[:-1]
            lines += [("", ""), (f"[{'.'.join(map(_bare, section))}]", "")]
        remark = {"file": f"line {setting.line}"}.get(setting.origin, setting.origin)
        name = _bare(setting.key[-1])
        if setting.value is None:
            lines.append((f"# {name} =", "left out"))
        else:
            lines.append((f"{name} = {toml_value(setting.value)}", remark))
    width = min(60, max(len(text) for text, remark in lines if remark))
    return "\n".join(f"{text:<{width}} # {remark}" if remark else text for text, remark in lines)


def toml_value(value: Any) -> str:  # noqa: ANN401 - any value of a recipe
    """Writes a value as a recipe would."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, DataUse) and value.samples is None and value.weight == 1.0:
        return toml_value(value.name or value.file)
    if dataclasses.is_dataclass(value):
        held = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
        if isinstance(value, DataUse) and value.samples is not None:
            del held["weight"]
        pairs = (f"{name} = {toml_value(item)}" for name, item in held.items() if item is not None)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml_value, value))}]"
    return repr(value)


def _settings(loaded: LoadedRecipe, section: Any, path: Key) -> Iterator[Setting]:  # noqa: ANN401 - a dataclass
    nested = []
    for entry in dataclasses.fields(section):
        value, key = getattr(section, entry.name), (*path, entry.name)
        if entry.metadata.get(NAMED):
            nested += [(named, (*key, named.name)) for named in value]
        elif dataclasses.is_dataclass(value):
            nested.append((value, key))
        elif not (path[:1] == ("datasets",) and entry.name == "name"):
            yield _setting(loaded, key, value)
    for inner, key in nested:  # sections follow the keys, as TOML wants it
        yield from _settings(loaded, inner, key)


def _setting(loaded: LoadedRecipe, key: Key, value: Any) -> Setting:  # noqa: ANN401 - a recipe's value
    if any(key[: len(said)] == said for said in loaded.overrides):
        return Setting(key=key, value=value, origin="--set")
    table: Any = loaded.document.table
    for part in key:
        if not isinstance(table, Mapping) or part not in table:
            return Setting(key=key, value=value, origin="default")
        table = table[part]
    return Setting(key=key, value=value, origin="file", line=loaded.document.lines.get(key))


def _bare(name: str | int) -> str:
    text = str(name)
    return text if text.replace("-", "").replace("_", "").isalnum() else json.dumps(text)
