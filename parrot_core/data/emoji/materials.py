"""What the packages hold, read into one form: a catalogue of emoji, names, drawings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrot_core.data.emoji.sources import (
    CLDR,
    EMOJIBASE,
    FLUENT,
    NOTO,
    OPENMOJI,
    SOURCES,
    TWEMOJI,
    Source,
    read_archive,
    read_installed,
)

STYLES: dict[str, Source] = {
    "openmoji": OPENMOJI,
    "twemoji": TWEMOJI,
    "noto": NOTO,
    "fluent": FLUENT,
}
"""The art styles, each the independent work of other designers, and where they come from."""

_VARIATION_SELECTORS = ("fe0e", "fe0f")  # text or picture: the same emoji


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueEntry:
    """An emoji and its place in Unicode's order.

    Attributes:
        codepoints: As `normal_codepoints` writes them.
        group: Unicode's group, such as `animals-nature`.
        subgroup: Unicode's subgroup, such as `animal-mammal`.
    """

    codepoints: str
    group: str
    subgroup: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """What the CLDR calls an emoji in one language: its short name and its keywords."""

    name: str
    keywords: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """All that the set is made of.

    Attributes:
        catalogue: The base emoji in Unicode's order, without skin tones.
        annotations: By language code, then by codepoints.
        artwork: SVG text by style, then by codepoints.
        sources: The packages it was read from.
        notices: By package, the licence text that must accompany copies.
    """

    catalogue: Sequence[CatalogueEntry]
    annotations: Mapping[str, Mapping[str, Annotation]]
    artwork: Mapping[str, Mapping[str, str]]
    sources: Sequence[Source]
    notices: Mapping[str, str]


def normal_codepoints(codepoints: str) -> str:
    """Writes hexadecimal code points in one way; each package has its own.

    Lower case, no leading zeros, no variation selectors: `002A-FE0F-20E3` becomes `2a-20e3`.
    """
    parts = (part.lstrip("0") for part in codepoints.lower().split("-"))
    return "-".join(part for part in parts if part not in _VARIATION_SELECTORS)


def load_materials(cache: Path, *, languages: Sequence[str]) -> Materials:
    """Reads the pinned packages, fetching into the cache what is not there.

    Args:
        cache: Folder of the archives.
        languages: Codes, as the CLDR names its folders.

    Raises:
        MissingError: if a package is absent, not to be fetched or not as pinned, or if the cache
            cannot be written.
    """
    names = {code: f"package/annotations/{code}/annotations.json" for code in languages}
    groups, emoji = "package/meta/groups.json", "package/en/data.json"
    cldr = read_archive(CLDR, members=[*names.values(), "package/LICENSE"], cache=cache)
    base = read_archive(EMOJIBASE, members=[groups, emoji, "package/LICENSE"], cache=cache)
    return Materials(
        catalogue=parse_catalogue(json.loads(base[emoji]), json.loads(base[groups])),
        annotations={code: parse_annotations(json.loads(cldr[names[code]])) for code in languages},
        artwork={
            "openmoji": _installed_artwork(OPENMOJI),
            "twemoji": _installed_artwork(TWEMOJI),
            "noto": _icon_artwork(NOTO, cache=cache),
            "fluent": _icon_artwork(FLUENT, cache=cache),
        },
        sources=SOURCES,
        notices={
            CLDR.package: cldr["package/LICENSE"].decode(),
            EMOJIBASE.package: base["package/LICENSE"].decode(),
        },
    )


def parse_catalogue(emoji: Sequence[Any], names: Mapping[str, Any]) -> list[CatalogueEntry]:
    """Reads emojibase's emoji and its names of groups; what has no group is no emoji alone."""
    grouped = sorted((row for row in emoji if "group" in row), key=lambda row: int(row["order"]))
    return [
        CatalogueEntry(
            codepoints=normal_codepoints(row["hexcode"]),
            group=names["groups"][str(row["group"])],
            subgroup=names["subgroups"][str(row["subgroup"])],
        )
        for row in grouped
    ]


def parse_annotations(document: Mapping[str, Any]) -> dict[str, Annotation]:
    """Reads one language of the CLDR's annotations, whose keys are the emoji themselves."""
    rows = document["annotations"]["annotations"]
    return {
        normal_codepoints("-".join(f"{ord(character):x}" for character in characters)): Annotation(
            name=row["tts"][0], keywords=tuple(row.get("default", ()))
        )
        for characters, row in rows.items()
        if "tts" in row
    }


def parse_icons(icons: Mapping[str, Any], characters: Mapping[str, str]) -> dict[str, str]:
    """Reads an icon set in Iconify's form into SVG text by codepoints.

    Args:
        icons: `icons.json`: bodies by name, with the set's default width and height.
        characters: `chars.json`: names by codepoints.
    """
    drawings = {}
    for codepoints, name in characters.items():
        icon = icons["icons"][name]
        width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
        drawings[normal_codepoints(codepoints)] = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        )
    return drawings


def _installed_artwork(source: Source) -> dict[str, str]:
    files = read_installed(source, suffix=".svg")
    return {normal_codepoints(Path(name).stem): data.decode() for name, data in files.items()}


def _icon_artwork(source: Source, *, cache: Path) -> dict[str, str]:
    icons, characters = "package/icons.json", "package/chars.json"
    files = read_archive(source, members=[icons, characters], cache=cache)
    return parse_icons(json.loads(files[icons]), json.loads(files[characters]))
