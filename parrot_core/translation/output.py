"""What a translation job leaves: one file of samples per language, and a summary."""

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from parrot_core.data.records import keep_sources
from parrot_core.data.samples import IMAGE_PLACEHOLDER, read_records
from parrot_core.errors import UsageError
from parrot_core.translation.journal import Journal
from parrot_core.translation.pipeline import Pipeline
from parrot_core.translation.segments import Source, read_sources, segment_of, translated_record
from parrot_core.translation.settings import Settings


@dataclass(slots=True)
class LanguageSummary:
    """What became of the samples in one language.

    Attributes:
        samples: Samples written.
        segments: Segments in them, those that needed no translation aside.
        flagged: Samples that carry flags, written or not.
        dropped: Samples left out because of their flags; those that lost or won an image
            placeholder always are, since nothing could read them.
        waiting: Samples that wait for people.
        missing: Samples left out because a segment of theirs has no translation.
        flags: Segments by kind of flag.
    """

    samples: int = 0
    segments: int = 0
    flagged: int = 0
    dropped: int = 0
    waiting: int = 0
    missing: int = 0
    flags: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary as JSON holds it."""
        return {
            "samples": self.samples,
            "segments": self.segments,
            "flagged": self.flagged,
            "dropped": self.dropped,
            "waiting": self.waiting,
            "missing": self.missing,
            "flags": dict(sorted(self.flags.items())),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """A sample in one language: its texts, or why there are none."""

    texts: list[str | None]
    segments: list[dict[str, Any]]
    flagged: bool
    broken: bool
    waiting: bool
    missing: bool
    keys: list[str]


def check_replaceable(source: Path, folder: Path, languages: Sequence[str]) -> None:
    """Refuses to write over the samples that are translated, or over anything but translations.

    Args:
        source: The file that is to be translated.
        folder: Where the results are to be written.
        languages: Codes of the languages.

    Raises:
        UsageError: if a file of that name is there and was not made by a translation.
    """
    outputs = [path for language in languages for path in _files_of(language, folder)]
    keep_sources([source], outputs)
    for path in outputs:
        if path.exists() and not _is_translated(path):
            raise UsageError(
                f"{path} exists and is no result of a translation", hint="Choose another --out."
            )


def _files_of(language: str, folder: Path) -> tuple[Path, Path]:
    """Returns where the samples of a language are written: all of them, or some only."""
    return folder / f"{language}.json", folder / f"{language}.partial.json"


def _is_translated(path: Path) -> bool:
    try:
        _, first = next(read_records(path), ("", {"translation": None}))
    except UsageError:
        return False
    return isinstance(first, dict) and "translation" in first


def write_output(
    source: Path,
    folder: Path,
    *,
    languages: Sequence[str],
    pipeline: Pipeline,
    settings: Settings,
    journal: Journal,
    image_root: Path | None = None,
    waiting: Collection[str] = (),
) -> dict[str, LanguageSummary]:
    """Puts the samples together from the journal, one at a time.

    A language of which samples are missing or waiting is written to `LANGUAGE.partial.json`, so
    that nobody trains on it by accident; one that is complete to `LANGUAGE.json`. Nothing in the
    files depends on when, how often or in which order calls were made.

    Args:
        source: JSON or JSONL file of LLaVA samples.
        folder: Where the files are written.
        languages: Codes of the languages.
        pipeline: Tells the keys of segments.
        settings: Steps, and what happens to samples with flags.
        journal: Where the results are.
        image_root: Image root, if the model saw pictures.
        waiting: Keys of segments without a result that wait for people.

    Returns:
        What became of the samples, by language.
    """
    summaries = {language: LanguageSummary() for language in languages}
    unfinished = {language: folder / f".{language}.json.writing" for language in languages}
    steps = {
        step: {"by": settings.model_of(step)}
        | ({} if step in settings.human else {"prompt": settings.prompts[step].identity})
        for step in settings.steps
    }
    with ExitStack() as stack:
        files = {
            language: stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
            for language, path in unfinished.items()
        }
        # On disk, not in memory: there can be a million keys. SQLite removes it by itself.
        used = sqlite3.connect("")
        stack.callback(used.close)
        used.execute("CREATE TABLE used (key TEXT PRIMARY KEY) WITHOUT ROWID")
        flagged = stack.enter_context(
            (folder / ".flagged.jsonl.writing").open("w", encoding="utf-8", newline="\n")
        )
        for entry in read_sources(source):
            for language in languages:
                part = _part(
                    entry,
                    language,
                    pipeline=pipeline,
                    journal=journal,
                    image_root=image_root,
                    awaited=waiting,
                )
                used.executemany("INSERT OR IGNORE INTO used VALUES (?)", [(k,) for k in part.keys])
                provenance = {
                    "source_language": settings.source_language,
                    "backend": pipeline.backend,
                    "steps": steps,
                    "segments": part.segments,
                }
                if _account(part, summaries[language], on_flag=settings.on_flag):
                    record = translated_record(
                        entry, part.texts, language=language, provenance=provenance
                    )
                    _write(files[language], record, first=summaries[language].samples == 1)
                if part.flagged:
                    _note_flags(flagged, entry, part, language=language)
        for language, file in files.items():
            file.write("\n]\n" if summaries[language].samples else "[]\n")
        spent = _spent(used, journal)
    for language, path in unfinished.items():
        whole, partial = _files_of(language, folder)
        if summaries[language].missing or summaries[language].waiting:
            _replace(path, partial)
            whole.unlink(missing_ok=True)
        else:
            _replace(path, whole)
            partial.unlink(missing_ok=True)
    _replace(folder / ".flagged.jsonl.writing", folder / "flagged.jsonl")
    _write_summary(folder, summaries, settings=settings, steps=steps, spent=spent)
    return summaries


def _part(
    entry: Source,
    language: str,
    *,
    pipeline: Pipeline,
    journal: Journal,
    image_root: Path | None,
    awaited: Collection[str],
) -> _Part:
    texts: list[str | None] = []
    segments: list[dict[str, Any]] = []
    keys: list[str] = []
    flagged = broken = waiting = missing = False
    for turn in range(len(entry.sample.turns)):
        segment = segment_of(entry.sample, turn, language, image_root=image_root)
        if segment is None:
            texts.append(None)
            continue
        key = pipeline.key(segment)
        result = journal.result(key)
        if result is None:
            waiting, missing = waiting or key in awaited, missing or key not in awaited
            texts.append(None)
            continue
        keys.append(key)
        text, detail = result
        texts.append(text)
        broken |= text.count(IMAGE_PLACEHOLDER) != segment.text.count(IMAGE_PLACEHOLDER)
        about = {"turn": turn, **detail}
        about.pop("spent")
        waiting = waiting or bool(about.pop("waits", False))
        flagged = flagged or bool(about["flags"])
        segments.append(about)
    return _Part(
        texts=texts,
        segments=segments,
        flagged=flagged,
        broken=broken,
        waiting=waiting,
        missing=missing,
        keys=keys,
    )


def _account(part: _Part, summary: LanguageSummary, *, on_flag: str) -> bool:
    """Counts a sample and says whether it is written."""
    for segment in part.segments:
        summary.flags.update({flag["kind"] for flag in segment["flags"]})
    summary.flagged += part.flagged
    if part.missing:
        summary.missing += 1
    elif part.waiting:
        summary.waiting += 1
    elif part.broken or (part.flagged and on_flag == "drop"):
        summary.dropped += 1
    else:
        summary.samples += 1
        summary.segments += len(part.segments)
        return True
    return False


def _write(file: IO[str], record: Mapping[str, Any], *, first: bool) -> None:
    file.write("[\n" if first else ",\n")
    file.write(json.dumps(record, ensure_ascii=False))


def _note_flags(file: IO[str], entry: Source, part: _Part, *, language: str) -> None:
    for segment in part.segments:
        if segment["flags"]:
            line = {
                "language": language,
                "id": entry.sample.id,
                "turn": segment["turn"],
                "flags": segment["flags"],
                "source": entry.sample.turns[segment["turn"]].text,
                "translation": part.texts[segment["turn"]],
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _spent(used: sqlite3.Connection, journal: Journal) -> dict[str, int]:
    """Sums what the answers took that made the written segments, each segment once."""
    total: Counter[str] = Counter(requests=0, prompt_tokens=0, completion_tokens=0, cost=0)
    for (key,) in used.execute("SELECT key FROM used ORDER BY key"):
        result = journal.result(key)
        if result is not None:
            total.update(result[1]["spent"])
    return dict(total)


def _write_summary(
    folder: Path,
    summaries: Mapping[str, LanguageSummary],
    *,
    settings: Settings,
    steps: Mapping[str, Any],
    spent: Mapping[str, int],
) -> None:
    summary = {
        "source_language": settings.source_language,
        "steps": steps,
        "candidates": settings.candidates if "refine" in settings.steps else 0,
        "voters": settings.voters if "vote" in settings.steps else 0,
        "languages": {language: summary.as_dict() for language, summary in summaries.items()},
        "answers_used": {
            "requests": spent["requests"],
            "prompt_tokens": spent["prompt_tokens"],
            "completion_tokens": spent["completion_tokens"],
            "dollars": spent["cost"] / 1e9,
        },
    }
    path = folder / ".summary.json.writing"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        json.dump(summary, file, ensure_ascii=False, indent=2)
        file.write("\n")
    _replace(path, folder / "summary.json")


def _replace(path: Path, target: Path) -> None:
    """Puts a whole file in place at once, after it has reached the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.replace(target)
