"""Charts of evaluations: bars per language with their intervals, and radars (Figure 7b)."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from parrot_cli.charts import COLOURS, DASHES, HATCHES, MARKERS, fonts_for, new_figure, save_figure

_LETTERS_PER_INCH = {"title": 11, "caption": 16}
_ROOM_FOR_A_FIGURE = 12.0  # percent: a bar that is as high has its figure inside


class Measured(NamedTuple):
    """A share in percent with its 95 % interval, and how many it counts.

    Attributes:
        value: Not a number where nothing was counted.
        low: Lower end of the interval.
        high: Upper end.
        n: Questions, groups or pairs.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> "Measured":
        """Takes the figures of a report: shares in 0..1, None where nothing was counted."""
        value, low, high = (
            math.nan if figures[name] is None else 100 * figures[name]
            for name in ("value", "low", "high")
        )
        return cls(value, low, high, figures["n"])


def draw_bars(
    runs: Mapping[str, Mapping[str, Measured]], path: Path, *, title: str, caption: str
) -> None:
    """Draws a bar per language for each run, its 95 % interval as a whisker.

    Args:
        runs: Figures by language, by what the legend calls the run; all of the same languages.
        path: Picture to write; its ending says which kind.
        title: Above the picture.
        caption: Below it: how the figures came about.
    """
    languages = list(next(iter(runs.values())))
    width = 0.8 / len(runs)
    inches = max(4.5, (0.5 + 0.4 * len(runs)) * len(languages) + 1)
    with fonts_for([title, caption, *runs]) as legible:
        figure = new_figure(inches, 4.4)
        axes = figure.add_subplot()
        for number, (label, entries) in enumerate(runs.items()):
            offset = (number - (len(runs) - 1) / 2) * width
            places = [place + offset for place in range(len(languages))]
            _draw_run(axes, places, list(entries.values()), 0.9 * width, number, legible(label))
        counts = [entry.n for entry in next(iter(runs.values())).values()]
        names = [f"{code}\nn = {n}" for code, n in zip(languages, counts, strict=True)]
        axes.set_xticks(range(len(languages)), names)
        axes.set_ylabel("% (whiskers: 95 % interval)")
        axes.set_ylim(0, 100)
        axes.spines[["top", "right"]].set_visible(False)
        _label(figure, axes, legible(title), legible(caption), inches, several=len(runs) > 1)
        save_figure(figure, path)


def _draw_run(
    axes: Any,  # noqa: ANN401 - matplotlib is imported late
    places: list[float],
    entries: list[Measured],
    width: float,
    number: int,
    label: str,
) -> None:
    heights = [0.0 if math.isnan(entry.value) else entry.value for entry in entries]
    below = [max(0.0, height - entry.low) for height, entry in zip(heights, entries, strict=True)]
    above = [max(0.0, entry.high - height) for height, entry in zip(heights, entries, strict=True)]
    axes.bar(
        places,
        heights,
        width,
        color=COLOURS[number % len(COLOURS)],
        hatch=HATCHES[number % len(HATCHES)],
        edgecolor="white",
        label=label,
    )
    axes.errorbar(places, heights, yerr=[below, above], fmt="none", ecolor="#333333", capsize=3)
    for place, height, entry in zip(places, heights, entries, strict=True):
        inside = height >= _ROOM_FOR_A_FIGURE
        axes.annotate(
            "–" if math.isnan(entry.value) else f"{height:.1f}",
            (place, 0 if inside else max(height, 0.0 if math.isnan(entry.high) else entry.high)),
            textcoords="offset points",
            xytext=(0, 4),
            ha="center",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"},
        )


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
    inches = 6.0
    with fonts_for([title, caption, *series, *names]) as legible:
        figure = new_figure(inches, 6.2)
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
                label=legible(label),
            )
        axes.set_xticks(angles, [legible(name) for name in names])
        for angle, label in zip(angles, axes.get_xticklabels(), strict=True):
            label.set_horizontalalignment(_side(angle))
        axes.set_ylim(0, 100)
        # Between the first two axes, where no name of an axis is.
        axes.set_rlabel_position(math.degrees(math.pi / len(names)))
        axes.tick_params(axis="y", labelsize=8, labelcolor="#555555")
        several = len(series) > 1
        _label(figure, axes, legible(f"{title} (%)"), legible(caption), inches, several=several)
        save_figure(figure, path)


def _side(angle: float) -> str:
    """Returns which end of an axis's name touches the circle, so that it lies outside."""
    sideways = math.sin(angle)
    if abs(sideways) < 0.1:
        return "center"
    return "left" if sideways > 0 else "right"


def _label(
    figure: Any,  # noqa: ANN401 - matplotlib is imported late
    axes: Any,  # noqa: ANN401 - as above
    title: str,
    caption: str,
    inches: float,
    *,
    several: bool,
) -> None:
    """Puts the words around a picture, in as many lines as they need; a legend if wanted."""
    wrapped = {
        kind: textwrap.fill(text, int(inches * _LETTERS_PER_INCH[kind]))
        for kind, text in (("title", title), ("caption", caption))
    }
    axes.set_title(wrapped["title"], fontsize=11, pad=14)
    if several:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    axes.set_xlabel(wrapped["caption"], fontsize=7, labelpad=10)
