"""Assembles the picture-text set in a folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from parrot_core.data.emoji.artwork import png_bytes, render
from parrot_core.data.emoji.concepts import Concept, concept_table, select_concepts
from parrot_core.data.emoji.materials import Materials, load_materials
from parrot_core.data.emoji.settings import DemoSettings

Progress = Callable[[int, int], None]
"""Told how many pictures are drawn, and of how many."""


def build_demo(
    output: Path, *, cache: Path, settings: DemoSettings, progress: Progress | None = None
) -> list[Concept]:
    """Fetches what is needed and writes the set."""
    materials = load_materials(cache, languages=settings.languages)
    return build(materials, output, settings=settings, progress=progress)


def build(
    materials: Materials, output: Path, *, settings: DemoSettings, progress: Progress | None = None
) -> list[Concept]:
    """Writes the set from materials at hand."""
    concepts = select_concepts(concept_table(materials), **asdict(settings.concepts))
    output.mkdir(parents=True, exist_ok=True)
    write_pictures(concepts, materials, output, styles=settings.styles, progress=progress)
    table = {"concepts": [asdict(concept) for concept in concepts]}
    (output / "concepts.json").write_text(
        json.dumps(table, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    return concepts


def write_pictures(
    concepts: Sequence[Concept],
    materials: Materials,
    output: Path,
    *,
    styles: Sequence[str],
    progress: Progress | None = None,
) -> None:
    """Draws every concept in every style under `images/<style>/<codepoints>.png`."""
    total, done = len(styles) * len(concepts), 0
    for style in styles:
        folder = output / "images" / style
        folder.mkdir(parents=True, exist_ok=True)
        for concept in concepts:
            picture = render(materials.artwork[style][concept.codepoints])
            (folder / f"{concept.codepoints}.png").write_bytes(png_bytes(picture))
            done += 1
            if progress is not None:
                progress(done, total)
