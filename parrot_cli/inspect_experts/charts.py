"""Pictures of a checkpoint's routing, legible without colour and in every script."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parrot_cli.charts import COLOURS, DASHES, HATCHES, MARKERS, fonts_for, new_figure, save_figure
from parrot_cli.inspect_experts.display import (
    LEAST_DIFFERENCE,
    LEAST_LOSS,
    LEAST_POINTS,
    is_readable,
    name_of,
)

if TYPE_CHECKING:
    from parrot_core.inspection import (
        Ablation,
        Comparison,
        GuidingWord,
        Inspection,
        LanguageRouting,
        LoggedRouting,
        TokenMap,
    )

FORMATS = ("png", "svg")
_WORDS_DRAWN = 10
_LEAST_DISTANCE = 0.1
_GREY = "#444444"
# Scales that every colour vision reads: above 0 is orange and below it purple, 0 is white.
_DIVERGING, _SEQUENTIAL = "PuOr_r", "Oranges"


def draw_routing(summary: "Mapping[str, LanguageRouting]", path: Path) -> list[Path]:
    """Draws the mean routing weights, a group of bars per language, spread as whiskers."""
    experts = len(next(iter(summary.values())).mean)
    figure = new_figure(min(max(6.0, 1.5 * len(summary)), 16.0), 4.2)
    axes = figure.add_subplot()
    width = 0.84 / experts
    for expert in range(experts):
        places = [group + (expert - (experts - 1) / 2) * width for group in range(len(summary))]
        axes.bar(
            places,
            [entry.mean[expert] for entry in summary.values()],
            width,
            yerr=[entry.deviation[expert] for entry in summary.values()],
            error_kw={"linewidth": 0.8, "ecolor": _GREY},
            label=f"expert {expert + 1}",
            **_look(expert),
        )
    axes.axhline(1 / experts, color=_GREY, linewidth=0.8, linestyle="--", label="fair share")
    axes.set_xticks(range(len(summary)), [name_of(code) for code in summary])
    axes.set_ylabel("mean routing weight\n(whiskers: ± 1 standard deviation)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=min(experts + 1, 7), frameon=False)
    return _save(figure, path)


def draw_heatmaps(found: "Inspection", path: Path) -> list[Path]:
    """Draws the weights as differences from the fair share, and the languages' distances."""
    languages = [name_of(code) for code in found.routing]
    experts = len(found.usage)
    width = max(9.0, 3.2 + 0.75 * (experts + len(languages)))
    figure = new_figure(width, 1.8 + 0.45 * len(languages))
    # Few cells are drawn wide enough for what stands below them.
    ratios = [max(5, experts + 1), max(5, len(languages) + 1)]
    left, right = figure.subplots(1, 2, width_ratios=ratios)
    _heatmap(
        left,
        [[weight - 1 / experts for weight in row] for row in found.means.values()],
        texts=[[f"{weight:.3f}" for weight in row] for row in found.means.values()],
        rows=languages,
        columns=[str(number + 1) for number in range(experts)],
        at_least=LEAST_DIFFERENCE / experts,
    )
    left.set_title("mean routing weight", fontsize=11)
    left.set_xlabel(f"expert (colour: above or below {1 / experts:.3f})")
    distances = [list(row.values()) for row in found.distances.values()]
    _heatmap(
        right,
        distances,
        texts=[
            ["" if i == j else _short(value) for j, value in enumerate(row)]
            for i, row in enumerate(distances)
        ],
        rows=[],
        columns=list(found.distances),
        at_least=_LEAST_DISTANCE,
        diverging=False,
    )
    right.set_title("distance between languages", fontsize=11)
    right.set_xlabel("Jensen-Shannon distance (0 alike, 1 disjoint)")
    return _save(figure, path)


def draw_words(words: "Mapping[str, Sequence[GuidingWord]]", path: Path) -> list[Path]:
    """Draws, for each language, the words with the most attention, each in its expert's colour."""
    shown = {
        code: [word for word in entries if is_readable(word.word)][:_WORDS_DRAWN]
        for code, entries in words.items()
    }
    with fonts_for(word.word for entries in shown.values() for word in entries) as legible:
        figure, panels = _grid(len(shown), width=3.6, height=2.9)
        favoured = set()
        for axes, (code, entries) in zip(panels, shown.items(), strict=False):
            for place, word in enumerate(entries):
                axes.barh(place, word.attention, 0.8, **_look(word.favours))
                favoured.add(word.favours)
            axes.set_yticks(range(len(entries)), [legible(word.word) for word in entries])
            axes.set_ylim(max(5, len(entries)) - 0.5, -0.5)  # the first above, few not too fat
            axes.set_title(name_of(code), fontsize=11)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(axis="x", labelsize=8)
        _patches(figure, sorted(favoured), prefix="pulls to expert ")
        figure.supxlabel(
            "share of the attention of Eq. 2 (signs and special tokens not drawn)", fontsize=9
        )
        return _save(figure, path)


def draw_ablation(ablation: "Mapping[str, Ablation]", path: Path) -> list[Path]:
    """Draws what switching experts off does to loss and accuracy, by language."""
    languages = [name_of(code) for code in ablation]
    experts = len(next(iter(ablation.values())).without)
    columns = [*(str(number + 1) for number in range(experts)), "all"]
    figure = new_figure(max(9.0, 3.4 + 1.5 * len(columns)), 1.9 + 0.45 * len(languages))
    losses, accuracies = [], []
    for entry in ablation.values():
        scores = [*entry.without, entry.bare]
        losses.append([score.loss - entry.whole.loss for score in scores])
        accuracies.append([100 * (score.accuracy - entry.whole.accuracy) for score in scores])
    left, right = figure.subplots(1, 2)
    texts = [[f"{value:+z.3f}" for value in row] for row in losses]
    _heatmap(left, losses, texts=texts, rows=languages, columns=columns, at_least=LEAST_LOSS)
    left.set_title("change of the loss (nats per answer token)", fontsize=11)
    texts = [[f"{value:+z.1f}" for value in row] for row in accuracies]
    _heatmap(right, accuracies, texts=texts, rows=[], columns=columns, at_least=LEAST_POINTS)
    right.set_title("change of the accuracy (points)", fontsize=11)
    for axes in (left, right):
        axes.set_xlabel(f"expert switched off ({_counts(ablation)} answers a language)")
    return _save(figure, path)


def draw_tokens(maps: "Mapping[str, TokenMap]", path: Path) -> list[Path]:
    """Draws the t-SNE of visual tokens before and after the experts and the text (Figure 6)."""
    figure, panels = _grid(len(maps), width=3.4, height=3.2, share=True)
    everything = [
        place for entry in maps.values() for place in (*entry.before, *entry.after, *entry.text)
    ]
    looks: dict[str, dict[str, Any]] = {  # open marks show what lies upon them
        "before": {
            "label": "visual, before the experts",
            "marker": "^",
            "s": 32,
            "facecolors": "none",
            "edgecolors": COLOURS[5],
        },
        "after": {"label": "visual, after the experts", "s": 8, "color": COLOURS[0]},
        "text": {"label": "text tokens that guide", "marker": "+", "s": 18, "color": COLOURS[6]},
    }
    handles: list[Any] = []
    for axes, (code, entry) in zip(panels, maps.items(), strict=False):
        axes.scatter(*zip(*everything, strict=True), s=3, color="#DDDDDD", linewidths=0)
        handles = [
            axes.scatter(*zip(*getattr(entry, name), strict=True), linewidths=0.7, **look)
            for name, look in looks.items()
        ]
        axes.set_title(name_of(code), fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    figure.supxlabel("t-SNE by angle, one plane for all languages; grey: the others", fontsize=9)
    return _save(figure, path)


def draw_over_training(log: "Sequence[LoggedRouting]", path: Path) -> list[Path]:
    """Draws the mean routing weights against the optimiser steps, a panel per language."""
    from parrot_core.inspection import in_table_order, mean_distance

    codes = in_table_order(code for entry in log for code in entry.routing)
    figure, panels = _grid(len(codes) + 1, width=3.4, height=2.6)
    steps = [entry.step for entry in log]
    handles: list[Any] = []
    for axes, code in zip(panels, codes, strict=False):
        lines = [(entry.step, entry.routing[code]) for entry in log if code in entry.routing]
        drawn = []
        for expert in range(len(lines[0][1])):
            drawn += axes.plot(
                [step for step, _ in lines],
                [weights[expert] for _, weights in lines],
                label=f"expert {expert + 1}",
                **_line(expert, len(lines)),
            )
        handles = max(handles, drawn, key=len)
        axes.axhline(1 / len(lines[0][1]), color=_GREY, linewidth=0.6, linestyle=":")
        axes.set_title(name_of(code), fontsize=11)
    rows = [row for entry in log for row in entry.routing.values()]
    fair = 1 / len(rows[0])
    farthest = max(abs(weight - fair) for row in rows for weight in row)
    reach = 1.08 * max(farthest, LEAST_DIFFERENCE * fair)  # so that trifles stay small
    for axes in panels[: len(codes)]:
        axes.set_ylim(max(0.0, fair - reach), fair + reach)
    last = panels[len(codes)]
    last.plot(steps, [mean_distance(entry.routing) for entry in log], color="black")
    last.set_title("between languages", fontsize=11)
    last.set_ylabel("mean J-S distance", fontsize=8)
    last.set_ylim(bottom=0)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 8), frameon=False
    )
    figure.supxlabel("optimiser step", fontsize=10)
    figure.supylabel("mean routing weight", fontsize=10)
    return _save(figure, path)


def draw_comparison(
    sides: "Sequence[Mapping[str, LanguageRouting]]", found: "Comparison", path: Path
) -> list[Path]:
    """Draws the weights of two checkpoints and what changed, the second's experts paired."""
    codes = list(sides[0])
    first, second = ([list(side[code].mean) for code in codes] for side in sides)
    paired = [[0.0 if place is None else row[place] for place in found.pairing] for row in second]
    change = [
        [b - a for a, b in zip(x, y, strict=True)] for x, y in zip(first, paired, strict=True)
    ]
    experts = len(found.pairing)
    figure = new_figure(max(8.0, 3.0 + 2.1 * experts), 1.9 + 0.45 * len(codes))
    panels = figure.subplots(1, 3)
    columns = [str(number + 1) for number in range(experts)]
    # One scale for both checkpoints, so that the same colour is the same weight.
    farthest = max(abs(weight - 1 / experts) for row in (*first, *paired) for weight in row)
    least = max(farthest, LEAST_DIFFERENCE / experts)
    theirs = ["–" if place is None else str(place + 1) for place in found.pairing]
    for axes, rows, names, title in zip(
        panels,
        (first, paired, change),
        (columns, theirs, columns),
        ("first", "second, experts paired", "second minus first"),
        strict=True,
    ):
        is_change = rows is change
        values = rows if is_change else [[w - 1 / experts for w in row] for row in rows]
        form = "{:+z.3f}" if is_change else "{:.3f}"
        texts = [[form.format(weight) for weight in row] for row in rows]
        labels = [name_of(code) for code in codes] if axes is panels[0] else []
        _heatmap(axes, values, texts=texts, rows=labels, columns=names, at_least=least)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("expert")
    return _save(figure, path)


def _heatmap(
    axes: Any,  # noqa: ANN401 - matplotlib is imported late
    values: Sequence[Sequence[float]],
    *,
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    at_least: float,
    diverging: bool = True,
) -> None:
    """Draws coloured cells with their figures in black or white, whichever can be read.

    The scale reaches to the largest value, or to `at_least`, so that trifles stay pale.
    """
    extent = max(at_least, *(abs(value) for row in values for value in row))
    image = axes.imshow(
        values,
        cmap=_DIVERGING if diverging else _SEQUENTIAL,
        vmin=-extent if diverging else 0.0,
        vmax=extent,
        aspect="auto",
    )
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            red, green, blue, _ = image.cmap(image.norm(value))
            light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            colour = "black" if light else "white"
            axes.text(x, y, texts[y][x], ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _grid(
    panels: int, *, width: float, height: float, share: bool = False
) -> tuple[Any, list[Any]]:
    """A figure of so many panels in rows of three or four; the places left over stay empty."""
    columns = 4 if panels in (7, 8) or panels > 9 else min(3, panels)
    rows = -(-panels // columns)
    figure = new_figure(max(5.6, width * columns), height * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share).flatten()
    for empty in axes[panels:]:
        empty.set_visible(False)
    return figure, list(axes[:panels])


def _look(expert: int) -> dict[str, Any]:
    """How an expert's bars look: told apart by colour, and by hatching."""
    return {
        "facecolor": COLOURS[expert % len(COLOURS)],
        "hatch": HATCHES[(expert + expert // len(COLOURS)) % len(HATCHES)],
        "edgecolor": "white",
    }


def _line(expert: int, points: int) -> dict[str, Any]:
    turn = expert // len(COLOURS)  # colours that come again have other dashes and marks
    return {
        "color": COLOURS[expert % len(COLOURS)],
        "linestyle": DASHES[(expert + turn) % len(DASHES)],
        "marker": MARKERS[(expert + turn) % len(MARKERS)],
        "markevery": max(1, points // 6),
        "markersize": 4,
        "linewidth": 1.2,
    }


def _patches(figure: Any, experts: Sequence[int], *, prefix: str) -> None:  # noqa: ANN401 - as above
    from matplotlib.patches import Patch

    handles = [Patch(label=f"{prefix}{expert + 1}", **_look(expert)) for expert in experts]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(4, len(handles)), frameon=False
    )


def _counts(ablation: "Mapping[str, Ablation]") -> str:
    counts = sorted({entry.count for entry in ablation.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _short(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _save(figure: Any, path: Path) -> list[Path]:  # noqa: ANN401 - as above
    """Saves a picture in every format; `path` has no ending."""
    written = []
    for ending in FORMATS:
        written.append(path.with_suffix(f".{ending}"))
        save_figure(figure, written[-1])
    return written
