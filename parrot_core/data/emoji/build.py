"""Assembles the picture-text set in a folder: pictures, samples, benchmarks, licences, manifest."""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parrot_core.data.emoji.artwork import png_bytes, render
from parrot_core.data.emoji.benchmark import (
    NAMING_COLUMNS,
    YES_NO_COLUMNS,
    draw_naming,
    draw_yes_no,
    naming_rows,
    write_tsv,
    yes_no_rows,
)
from parrot_core.data.emoji.concepts import Concept, concept_table, select_concepts
from parrot_core.data.emoji.licences import licences_markdown
from parrot_core.data.emoji.materials import STYLES, Materials, load_materials
from parrot_core.data.emoji.questions import ConceptPool
from parrot_core.data.emoji.settings import DemoSettings
from parrot_core.data.emoji.training import (
    Record,
    picture_path,
    picture_samples,
    text_samples,
    word_samples,
)
from parrot_core.data.emoji.wording import Wording, load_wording
from parrot_core.errors import MissingError, UsageError

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FORMAT = "parrot-picture-text-set/1"
"""Written in the manifest; a folder is replaced only if it bears it."""

Progress = Callable[[int, int], None]
"""Told how many pictures are drawn, and of how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSet:
    """A set that was written.

    Attributes:
        folder: Where it lies.
        concepts: Those that it is about, in Unicode's order.
        manifest: What `manifest.json` says.
    """

    folder: Path
    concepts: list[Concept]
    manifest: dict[str, Any]


def build_demo(
    output: Path, *, cache: Path, settings: DemoSettings, progress: Progress | None = None
) -> DemoSet:
    """Fetches what is needed and writes the set.

    Args:
        output: Folder of the set; a set that is already there is replaced.
        cache: Folder of the fetched archives, created if need be.
        settings: What the set is to be.
        progress: Called after every picture.

    Raises:
        MissingError: if a package is absent, not to be fetched or not as pinned, or if a folder
            cannot be written.
        UsageError: if the settings ask for what there is not, or the output holds something else.
    """
    _check_replaceable(output.resolve())
    materials = load_materials(cache, languages=settings.languages)
    return build(materials, output, settings=settings, progress=progress)


def build(
    materials: Materials, output: Path, *, settings: DemoSettings, progress: Progress | None = None
) -> DemoSet:
    """Writes the set from materials at hand, as `build_demo` does.

    The same materials and settings give the same bytes. The folder appears when all is done: an
    interrupted run leaves what was there before.
    """
    output = output.resolve()
    _check_replaceable(output)
    concepts = select_concepts(concept_table(materials), **asdict(settings.concepts))
    pool = ConceptPool(concepts)
    wording = load_wording(settings.languages)
    logger.info("%d concepts in %d styles", len(concepts), len(settings.styles))
    with _replacing(output) as folder:
        _write_pictures(concepts, materials, folder, styles=settings.styles, progress=progress)
        _write_json(folder / "concepts.json", [asdict(concept) for concept in concepts])
        counts = {
            "concepts": len(concepts),
            "pictures": len(concepts) * len(settings.styles),
            "samples": _write_samples(pool, wording, folder, settings=settings),
            "questions": _write_benchmarks(pool, wording, folder, settings=settings),
        }
        notice = licences_markdown(materials, settings=settings)
        (folder / "LICENSES.md").write_text(notice, encoding="utf-8")
        manifest = _manifest(materials, folder, settings=settings, counts=counts)
        _write_json(folder / MANIFEST, manifest)
    return DemoSet(folder=output, concepts=concepts, manifest=manifest)


def _write_pictures(
    concepts: Sequence[Concept],
    materials: Materials,
    folder: Path,
    *,
    styles: Sequence[str],
    progress: Progress | None,
) -> None:
    total, done = len(styles) * len(concepts), 0
    for style in styles:
        (folder / "images" / style).mkdir(parents=True)
        for concept in concepts:
            picture = render(materials.artwork[style][concept.codepoints])
            (folder / picture_path(style, concept.codepoints)).write_bytes(png_bytes(picture))
            done += 1
            if progress is not None:
                progress(done, total)


def _write_samples(
    pool: ConceptPool, wording: dict[str, Wording], folder: Path, *, settings: DemoSettings
) -> dict[str, Any]:
    """Writes the training files and returns how many samples they hold."""
    stages = folder / "pictures-text"
    stages.mkdir()
    counts = {}
    for stage, samples, shares in (
        ("stage1", settings.stage1_samples, settings.stage1_languages),
        ("stage2", settings.stage2_samples, settings.stage2_languages),
    ):
        records = picture_samples(
            pool,
            wording,
            purpose=stage,
            styles=settings.training_styles,
            samples=samples,
            shares=shares,
            seed=settings.seed,
        )
        _write_json(stages / f"{stage}.json", records)
        counts[stage] = _count(records)
    records = text_samples(
        pool,
        wording,
        samples=settings.text_samples,
        context_size=settings.context_size,
        other_concepts=settings.other_concepts,
        seed=settings.seed,
    )
    _write_jsonl(folder / "text.jsonl", records)
    _write_jsonl(folder / "words.jsonl", word_samples(pool, wording))
    counts["text"] = _count(records)
    return counts


def _write_benchmarks(
    pool: ConceptPool, wording: dict[str, Wording], folder: Path, *, settings: DemoSettings
) -> dict[str, Any]:
    """Writes the test files and, in a folder of their own, the validation files."""
    roles = [("test", settings.test_style, folder / "benchmarks")]
    if settings.validation_style is not None:
        place = folder / "benchmarks" / "validation"
        roles.append(("validation", settings.validation_style, place))
    counts = {}
    for split, style, place in roles:
        place.mkdir()
        naming = draw_naming(
            pool, count=settings.naming_questions, purpose=split, seed=settings.seed
        )
        pairs = draw_yes_no(pool, count=settings.yes_no_pairs, purpose=split, seed=settings.seed)
        for code, words in wording.items():
            rows = naming_rows(naming, words, language=code, style=style, split=split, root=folder)
            write_tsv(place / f"emoji_naming_{code}.tsv", rows, columns=NAMING_COLUMNS)
            rows = yes_no_rows(pairs, words, language=code, style=style, split=split, root=folder)
            write_tsv(place / f"emoji_yesno_{code}.tsv", rows, columns=YES_NO_COLUMNS)
        counts[split] = {"naming": len(naming), "yes_no_pairs": len(pairs)}
    return counts


def _manifest(
    materials: Materials, folder: Path, *, settings: DemoSettings, counts: dict[str, Any]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "seed": settings.seed,
        "languages": list(settings.languages),
        "styles": {
            "training": list(settings.training_styles),
            "validation": settings.validation_style,
            "test": settings.test_style,
        },
        "counts": counts,
        "settings": asdict(settings),
        "sources": [
            {
                "package": source.package,
                "version": source.version,
                "provides": source.provides,
                "styles": [style for style, origin in STYLES.items() if origin == source],
                "licence": source.licence,
                "licence_url": source.licence_url,
                "attribution": source.attribution,
                "digest": source.digest,
            }
            for source in materials.sources
        ],
        "renderer": {"package": "resvg-py", "version": importlib.metadata.version("resvg-py")},
        "files": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in _files_below(folder)
        },
    }


def _count(records: Sequence[Record]) -> dict[str, Any]:
    return {
        "total": len(records),
        "by_language": dict(Counter(record["language"] for record in records)),
        "by_kind": dict(Counter(record["kind"] for record in records)),
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _write_jsonl(path: Path, records: Sequence[Record]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _files_below(folder: Path) -> list[str]:
    found: Iterable[Path] = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _check_replaceable(output: Path) -> None:
    """Refuses to replace anything but a set, and a set with files that are not of it.

    Raises:
        MissingError: if the folder cannot be read.
        UsageError: naming what is in the way.
    """
    elsewhere = "Give another folder, or move it away."
    with _naming_the_disk(output):
        if not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return
        known = _read_manifest(output)
        if known is None:
            raise UsageError(f"{output} exists and is no picture-text set", hint=elsewhere)
        strange = sorted({*_files_below(output)} - {*known["files"], MANIFEST})
    if strange:
        raise UsageError(
            f"{output / strange[0]} is not of the picture-text set that is there", hint=elsewhere
        )


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """Returns a set's manifest, or None where there is none of this format."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    is_ours = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    return manifest if is_ours and "files" in manifest else None


@contextlib.contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Yields a folder beside `output` that takes its place if all goes well, and is removed if not.

    Raises:
        MissingError: if the disk does not take it.
    """
    with _naming_the_disk(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as work:
            new, old = Path(work, "new"), Path(work, "old")
            new.mkdir()
            yield new
            if output.exists():
                output.rename(old)
            try:
                new.rename(output)
            except OSError:
                if old.exists():
                    old.rename(output)
                raise


@contextlib.contextmanager
def _naming_the_disk(output: Path) -> Iterator[None]:
    """Turns what the file system refuses into an error that says what and where."""
    try:
        yield
    except OSError as error:
        raise MissingError(
            f"cannot write {error.filename or output}: {error.strerror or error}",
            hint="Give another folder with --output, or make room.",
        ) from error
