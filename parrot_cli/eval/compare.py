"""`parrot eval compare` and `parrot eval radar`."""

from pathlib import Path
from typing import Annotated

import typer

from parrot_core.errors import UsageError


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or their report.json.")],
    *,
    published: Annotated[
        bool, typer.Option(help="Show the paper's published figures beside.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the charts. [default: none are drawn]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Put runs beside each other and beside the paper's tables; unlike runs are refused."""
    from dataclasses import asdict

    from parrot_cli.eval.display import show_comparison
    from parrot_cli.output import print_json
    from parrot_core.benchmarks.comparison import compare as compare_runs
    from parrot_core.benchmarks.published import published_rows

    found = compare_runs(runs)
    rows = published_rows(found.reports[0]["benchmark"]) if published else []
    if output is not None:
        _draw(
            {
                name: {code: entry["value"] for code, entry in report["languages"].items()}
                for name, report in zip(found.names, found.reports, strict=True)
            },
            output,
            title=str(found.reports[0]["benchmark"]),
            caption="form: {form}; scorer: {scorer}; n = {n}; measured here".format(
                **found.reports[0]
            ),
        )
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
    from parrot_core.benchmarks.comparison import load_report

    series: dict[str, dict[str, float]] = {}
    for path in runs:
        report = load_report(path)
        if report["overall"] is not None:
            series.setdefault(report["model"], {})[report["benchmark"]] = report["overall"]
    axes = {axis for values in series.values() for axis in values}
    if len(axes) < 3:
        raise UsageError(
            f"a radar needs three benchmarks or more, these runs are of {len(axes)}",
            hint="Name runs of more benchmarks, or use `parrot eval compare`.",
        )
    scorers = ", ".join(sorted({load_report(path)["scorer"] for path in runs}))
    draw_radar(series, output, title="benchmarks", caption=f"scorer: {scorers}; measured here")
    print_line(str(output))


def _draw(series: dict[str, dict[str, float]], folder: Path, *, title: str, caption: str) -> None:
    from parrot_cli.eval.charts import draw_radar

    folder.mkdir(parents=True, exist_ok=True)
    if len(next(iter(series.values()))) >= 3:
        for ending in ("png", "svg"):
            draw_radar(series, folder / f"radar.{ending}", title=title, caption=caption)
