"""Charts as picture files, legible without colour and for every colour vision."""

from pathlib import Path
from typing import TYPE_CHECKING

from parrot_core.languages import LANGUAGES

if TYPE_CHECKING:
    from parrot_core.inspection import LanguageRouting

# Okabe and Ito's palette, made for colour-blind readers.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
_HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")


def draw_routing(summary: "dict[str, LanguageRouting]", path: Path) -> None:
    """Draws the mean routing weights, a group of bars per language, spread as whiskers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    experts = len(next(iter(summary.values())).mean)
    width = 0.84 / experts
    for expert in range(experts):
        places = [group + (expert - (experts - 1) / 2) * width for group in range(len(summary))]
        axes.bar(
            places,
            [entry.mean[expert] for entry in summary.values()],
            width,
            yerr=[entry.deviation[expert] for entry in summary.values()],
            error_kw={"linewidth": 0.8, "ecolor": "#444444"},
            color=_COLOURS[expert % len(_COLOURS)],
            hatch=_HATCHES[expert % len(_HATCHES)],
            edgecolor="white",
            label=f"expert {expert + 1}",
        )
    axes.axhline(1 / experts, color="#444444", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(summary)), [LANGUAGES[code].name for code in summary])
    axes.set_ylabel("mean routing weight (bars: ± 1 standard deviation)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=min(experts, 6), frameon=False)
    figure.savefig(path, dpi=150)
