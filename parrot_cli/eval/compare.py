"""`parrot eval compare` and `parrot eval radar`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parrot_core.errors import UsageError

if TYPE_CHECKING:
    from parrot_core.benchmarks.comparison import Comparison


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or their report.json.")],
    *,
    published: Annotated[
        bool, typer.Option(help="Show the paper's published figures beside.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the charts.", show_default="none are drawn")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Put runs beside each other and beside the paper's tables. Unlike runs are refused."""
    from dataclasses import asdict

    from parrot_cli.eval.display import show_comparison
    from parrot_cli.output import print_json
    from parrot_core.benchmarks.comparison import compare as compare_runs
    from parrot_core.benchmarks.published import published_rows

    found = compare_runs(runs)
    rows = published_rows(found.reports[0]["benchmark"]) if published else []
    if output is not None:
        _draw(found, output)
    if as_json:
        print_json(
            {
                "runs": {
                    name: {key: value for key, value in report.items() if key != "units"}
                    for name, report in zip(found.names, found.reports, strict=True)
                },
                "differences": [
                    {"first": first, "second": second, **asdict(difference)}
                    for (first, second), difference in found.differences.items()
                ],
                "published": [asdict(row) for row in rows],
            }
        )
    else:
        show_comparison(found, published=rows)


def radar(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs of several benchmarks.")],
    *,
    output: Annotated[Path, typer.Option(help="Picture to write: .png or .svg.")] = Path(
        "radar.png"
    ),
) -> None:
    """Draw models over several benchmarks as a radar (Figure 7b)."""
    from parrot_cli.eval.charts import draw_radar
    from parrot_cli.output import print_line
    from parrot_core.benchmarks.comparison import load_report, refuse_unlike

    by_benchmark: dict[str, dict[Path, dict[str, Any]]] = {}
    for path in runs:
        report = load_report(path)
        if report["overall"] is not None:
            by_benchmark.setdefault(report["benchmark"], {})[path] = report
    if len(by_benchmark) < 3:
        raise UsageError(
            f"a radar needs three benchmarks or more, these runs are of {len(by_benchmark)}",
            hint="Name runs of more benchmarks, or use `parrot eval compare`.",
        )
    series: dict[str, dict[str, float]] = {}
    for benchmark, reports in by_benchmark.items():
        refuse_unlike(list(reports), list(reports.values()))
        for report in reports.values():
            series.setdefault(report["model"], {})[benchmark] = report["overall"]
    title = f"benchmarks: {next(iter(series))}" if len(series) == 1 else "benchmarks"
    firsts = [next(iter(reports.values())) for reports in by_benchmark.values()]
    draw_radar(series, output, title=title, caption=_how_several_came_about(firsts))
    print_line(str(output))


def _how_several_came_about(reports: Sequence[Mapping[str, Any]]) -> str:
    counted = ", ".join(f"{one['benchmark']} ({one['form']}, n = {one['n']})" for one in reports)
    scorers = ", ".join(sorted({one["scorer"] for one in reports}))
    prompts = ", ".join(sorted({one["prompt"].get("language", "elsewhere") for one in reports}))
    return f"{counted}; scorer: {scorers}; prompts: {prompts}; measured here"


def _draw(comparison: "Comparison", folder: Path) -> None:
    from parrot_cli.eval.charts import Measured, draw_bars, draw_radar
    from parrot_core.benchmarks.export import describe_figures

    folder.mkdir(parents=True, exist_ok=True)
    first = comparison.reports[0]
    title, caption = str(first["benchmark"]), describe_figures(first)
    runs = {
        name: {code: Measured.of(entry) for code, entry in report["languages"].items()}
        for name, report in zip(comparison.names, comparison.reports, strict=True)
    }
    shares = {
        name: {code: entry.value / 100 for code, entry in entries.items()}
        for name, entries in runs.items()
    }
    for ending in ("png", "svg"):
        draw_bars(runs, folder / f"languages.{ending}", title=title, caption=caption)
        if len(first["languages"]) >= 3:
            draw_radar(shares, folder / f"radar.{ending}", title=title, caption=caption)
