"""A report as files: JSON, CSV and Markdown, each saying how its figures came about."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parrot_core.benchmarks.comparison import REPORT
from parrot_core.benchmarks.published import PublishedRow
from parrot_core.benchmarks.report import Report
from parrot_core.benchmarks.statistics import Share
from parrot_core.errors import UsageError

COLUMNS = (
    "benchmark", "model", "origin", "form", "scorer", "prompt_style", "prompt_language",
    "answer_by", "language", "split", "category", "value", "low", "high", "n", "unreadable",
    "fidelity",
)  # fmt: skip


def write_report(report: Report, folder: Path, *, published: list[PublishedRow]) -> list[Path]:
    """Writes `report.json`, `report.csv` and `report.md`, whole or not at all.

    Raises:
        UsageError: if the folder cannot be written to.
    """
    texts = {
        REPORT: json.dumps(report.as_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n",
        "report.csv": as_csv(report),
        "report.md": as_markdown(report, published=published),
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / name
            # Its own: of processes that share a run, two may finish at the same time.
            temporary = path.with_name(f".{name}.{os.getpid()}.part")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
            written.append(path)
    except OSError as error:
        raise UsageError(
            f"cannot write the report to {folder}: {error.strerror or error}",
            hint="Choose another --output, or free some space.",
        ) from error
    return written


def as_csv(report: Report) -> str:
    """Returns one row per language, split and category."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    said = (
        report.benchmark,
        report.model,
        "measured",
        report.form,
        report.scorer,
        report.prompt.get("style", ""),
        report.prompt.get("language", ""),
        report.prompt.get("answer_by", ""),
    )
    for code, entry in report.languages.items():
        shares = (_value(entry.unreadable), _value(entry.fidelity))
        main = entry.scores.main
        writer.writerow((*said, code, "", "", *_figures(main.as_dict()), *shares))
        for split, columns in entry.scores.splits.items():
            for name, found in columns.items():
                writer.writerow((*said, code, split, name, *_figures(found.as_dict()), "", ""))
        for name, value in entry.scores.points.items():
            writer.writerow((*said, code, "points", name, value, "", "", "", "", ""))
    return buffer.getvalue()


def _value(found: Share) -> float | str:
    return "" if found.n == 0 else found.value


def _figures(figures: dict[str, Any]) -> list[Any]:
    return ["" if figures[key] is None else figures[key] for key in ("value", "low", "high", "n")]


def as_markdown(report: Report, *, published: list[PublishedRow]) -> str:
    """Returns a table by language, the published rows below the measured one and marked so."""
    codes = list(report.languages)
    lines = [f"# {report.benchmark}: {report.model}", "", describe(report), ""]
    lines += _header("%", codes)
    cells = [percent(entry.value) for entry in report.languages.values()]
    lines.append(f"| {report.model} (measured) | " + " | ".join(cells) + " |")
    ends = [f"{percent(entry.low)}–{percent(entry.high)}" for entry in report.languages.values()]
    lines.append("| 95 % interval | " + " | ".join(ends) + " |")
    lines.append("| n | " + " | ".join(str(e.n) for e in report.languages.values()) + " |")
    unread = [percent(entry.unreadable.value) for entry in report.languages.values()]
    lines.append("| unreadable answers | " + " | ".join(unread) + " |")
    if any(entry.fidelity.n for entry in report.languages.values()):
        kept = [percent(entry.fidelity.value) for entry in report.languages.values()]
        lines.append("| answers in the language asked in | " + " | ".join(kept) + " |")
    for row in published:
        cells = [percent(row.values.get(code, math.nan)) for code in codes]
        lines.append(f"| {row.label} | " + " | ".join(cells) + " |")
    lines += ["", *_categories(report)]
    lines += [f"- {note}" for note in report.notes]
    return "\n".join(lines).rstrip() + "\n"


def _header(name: str, codes: Sequence[str]) -> list[str]:
    return [f"| {name} | " + " | ".join(codes) + " |", "|---|" + "---:|" * len(codes)]


def _categories(report: Report) -> list[str]:
    """Returns a table of every split's categories by language, if there are any."""
    lines = []
    for split, columns in report.pooled.splits.items():
        for name in columns:
            if name != "Overall" or len(report.pooled.splits) > 1:
                found = [
                    entry.scores.splits.get(split, {}).get(name)
                    for entry in report.languages.values()
                ]
                cells = [percent(math.nan if one is None else one.value) for one in found]
                lines.append(f"| {split} / {name} | " + " | ".join(cells) + " |")
    return [*_header("split / category, %", list(report.languages)), *lines, ""] if lines else []


def describe(report: Report) -> str:
    """Says in a line how the figures of a report came about."""
    return describe_figures(report.as_dict())


def describe_figures(report: Mapping[str, Any]) -> str:
    """Says the same of a report that was read from a file."""
    prompt = report["prompt"]
    asked = (
        f"prompt {prompt['style']} ({prompt['language']}), answers by {prompt['answer_by']}"
        if prompt
        else "answers collected elsewhere"
    )
    form, scorer, count = report["form"], report["scorer"], report["n"]
    return f"form: {form}; scorer: {scorer}; {asked}; n = {count}; measured here"


def percent(value: float) -> str:
    """Returns a share in percent with one decimal; a dash where there is none."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"
