"""Charts of evaluations: bars per language with their intervals, and radars (Figure 7b)."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from parrot_cli.charts import COLOURS, DASHES, MARKERS, new_figure, save_figure
from parrot_core.benchmarks.export import describe

if TYPE_CHECKING:
    from parrot_core.benchmarks import Report


def draw_languages(report: "Report", path: Path) -> None:
    """Draws a bar per language, its 95 % interval as a whisker, its figure above."""
    figure = new_figure(max(4.0, 1.1 * len(report.languages) + 2), 4.2)
    axes = figure.add_subplot()
    entries = list(report.languages.values())
    values = [0.0 if math.isnan(entry.value) else 100 * entry.value for entry in entries]
    below = [max(0.0, v - 100 * entry.low) for v, entry in zip(values, entries, strict=True)]
    above = [max(0.0, 100 * entry.high - v) for v, entry in zip(values, entries, strict=True)]
    places = range(len(entries))
    axes.bar(places, values, 0.7, color=COLOURS[0])
    axes.errorbar(places, values, yerr=[below, above], fmt="none", ecolor="#333333", capsize=3)
    for place, (value, rise) in enumerate(zip(values, above, strict=True)):
        axes.annotate(
            f"{value:.1f}",
            (place, value + rise),
            textcoords="offset points",
            xytext=(0, 3),
            ha="center",
        )
    axes.set_xticks(places, [f"{code}\nn={e.n}" for code, e in report.languages.items()])
    axes.set_ylabel("% (whiskers: 95 % interval)")
    axes.set_ylim(0, max(100.0, *(v + rise + 8 for v, rise in zip(values, above, strict=True))))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{report.benchmark}: {report.model}", fontsize=11)
    figure.supxlabel(describe(report), fontsize=7)
    save_figure(figure, path)


def draw_radar(
    series: Mapping[str, Mapping[str, float]], path: Path, *, title: str, caption: str
) -> None:
    """Draws each series as a polygon over common axes, in percent; gaps are left open.

    Args:
        series: Shares in 0..1 by axis, by what the legend calls them.
        path: Picture to write; its ending says which kind.
        title: Above the picture.
        caption: Below it: how the figures came about.
    """
    names = list(dict.fromkeys(axis for values in series.values() for axis in values))
    angles = [2 * math.pi * place / len(names) for place in range(len(names))]
    figure = new_figure(6.0, 5.6)
    axes = figure.add_subplot(projection="polar")
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    for number, (label, values) in enumerate(series.items()):
        heights = [100 * values.get(name, math.nan) for name in names]
        axes.plot(
            [*angles, angles[0]],
            [*heights, heights[0]],
            color=COLOURS[number % len(COLOURS)],
            linestyle=DASHES[number % len(DASHES)],
            marker=MARKERS[number % len(MARKERS)],
            label=label,
        )
    axes.set_xticks(angles, names)
    axes.set_ylim(0, 100)
    axes.set_title(f"{title} (%)", fontsize=11)
    figure.legend(loc="outside upper right", frameon=False, fontsize=8)
    figure.supxlabel(caption, fontsize=7)
    save_figure(figure, path)
