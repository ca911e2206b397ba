"""Reports and comparisons as tables in the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from parrot_cli.output import note, print_line, print_table
from parrot_core.benchmarks.export import describe, describe_figures, percent

if TYPE_CHECKING:
    from parrot_core.benchmarks import Report
    from parrot_core.benchmarks.comparison import Comparison
    from parrot_core.benchmarks.published import PublishedRow

_MISSING = float("nan")


def show_report(report: "Report", *, published: "list[PublishedRow]", folder: Path | None) -> None:
    """Prints figures by language with their intervals, then by category."""
    print_table(
        ("language", "%", "95 % interval", "n", "unreadable %", "fidelity %", *_extra(report)),
        [
            (
                code,
                percent(entry.value),
                f"{percent(entry.low)}–{percent(entry.high)}",
                entry.n,
                percent(entry.unreadable.value),
                percent(entry.fidelity.value),
                *(percent(found.value) for found in entry.scores.extra.values()),
            )
            for code, entry in report.languages.items()
        ],
        title=f"{report.benchmark}: {report.model} (measured)",
    )
    _show_categories(report)
    if report.pooled.points:
        print_table(
            ("figure", "points"),
            [(name, round(value, 2)) for name, value in report.pooled.points.items()],
        )
    if published:
        codes = list(report.languages)
        print_table(
            ("published, not measured here", *codes),
            [
                (row.label, *(percent(row.values.get(code, _MISSING)) for code in codes))
                for row in published
            ],
        )
    print_line(describe(report))
    for line in report.notes:
        note(f"note: {line}")
    if folder is not None:
        note(f"answers, tables and charts are in {folder}")


def _extra(report: "Report") -> list[str]:
    return [f"{name} %" for name in report.pooled.extra]


def _show_categories(report: "Report") -> None:
    rows = [
        (split, name, *(percent(_value(report, code, split, name)) for code in report.languages))
        for split, columns in report.pooled.splits.items()
        for name in columns
        if name != "Overall" or len(report.pooled.splits) > 1
    ]
    if rows:
        print_table(("split", "category", *(f"{code} %" for code in report.languages)), rows)


def _value(report: "Report", code: str, split: str, name: str) -> float:
    found = report.languages[code].scores.splits.get(split, {}).get(name)
    return _MISSING if found is None else found.value


def show_comparison(comparison: "Comparison", *, published: "list[PublishedRow]") -> None:
    """Prints runs beside each other, and how they differ question by question."""
    codes = list(comparison.reports[0]["languages"])
    rows = [
        (name, "measured", *(_cell(report["languages"][code]) for code in codes))
        for name, report in zip(comparison.names, comparison.reports, strict=True)
    ]
    rows += [
        (
            f"{row.method} {f'({row.detail})' if row.detail else ''}".strip(),
            f"published, {row.source}",
            *(percent(row.values.get(code, _MISSING)) for code in codes),
        )
        for row in published
    ]
    first = comparison.reports[0]
    print_table(
        ("run", "origin", *(f"{code} %" for code in codes)),
        rows,
        title=str(first["benchmark"]),
    )
    print_line(describe_figures(first))
    if not comparison.differences:
        return
    print_table(
        ("runs", "difference", "95 % interval", "p (McNemar)", "only first", "only second", "n"),
        [
            (
                f"{second} − {one}",  # noqa: RUF001 - a minus sign
                f"{100 * found.difference:+.1f}",
                f"{100 * found.low:+.1f} to {100 * found.high:+.1f}",
                f"{found.p_value:.3g}",
                found.only_first,
                found.only_second,
                found.n,
            )
            for (one, second), found in comparison.differences.items()
        ],
    )


def _cell(entry: dict[str, float | None]) -> str:
    value = entry["value"]
    return percent(_MISSING if value is None else value)
