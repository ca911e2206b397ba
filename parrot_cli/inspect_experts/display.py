"""What `parrot inspect-experts` shows in the terminal."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parrot_cli.output import print_line, print_table
from parrot_core.languages import LANGUAGES

if TYPE_CHECKING:
    from parrot_core.inspection import (
        Ablation,
        Comparison,
        GuidingWord,
        Inspection,
        LoggedRouting,
        TokenClouds,
    )

_BAR_CELLS = 28
_WORDS_SHOWN = 6
# Ends of the scale of a heatmap, which every colour vision tells apart: orange above, violet below.
_BELOW, _ABOVE = (128, 115, 214), (230, 130, 0)
# Where scales end at least, so that trifles stay pale: parts of the fair share, nats, points.
LEAST_DIFFERENCE, LEAST_LOSS, LEAST_POINTS = 0.25, 0.05, 10.0
_SHADES = "·░▒▓█"


def name_of(code: str) -> str:
    """What a language is called in English; the code itself where no row of the table has it."""
    return LANGUAGES[code].name if code in LANGUAGES else code


def is_readable(word: str) -> bool:
    """Whether a word of a prompt has letters and is no special token."""
    return any(letter.isalnum() for letter in word) and not (
        word.startswith(("<", "[")) and word.endswith((">", "]"))
    )


def print_histogram(
    means: Mapping[str, Sequence[float]],
    deviations: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Draws one bar per language and expert, all to one scale, with the spread where given."""
    highest = max(weight for weights in means.values() for weight in weights)
    experts = len(next(iter(means.values())))
    rows: list[list[Any]] = []
    for language, weights in means.items():
        for expert, weight in enumerate(weights, start=1):
            bar = "█" * max(1, round(_BAR_CELLS * weight / highest))
            label = name_of(language) if expert == 1 else ""
            value = f"{weight:.3f}"
            if deviations is not None:
                value += f" ± {deviations[language][expert - 1]:.3f}"
            rows.append([label, f"expert {expert}", value, bar])
        if language != list(means)[-1]:
            rows.append([""] * 4)
    print_table(
        ["language", "expert", "weight", ""], rows, title=f"mean routing over {experts} experts"
    )


def print_inspection(found: "Inspection") -> None:
    """Shows the routing as bars and as a heatmap, and what it says."""
    experts = len(found.usage)
    print_histogram(found.means, {code: entry.deviation for code, entry in found.routing.items()})
    print_heatmap(
        {code: [weight - 1 / experts for weight in row] for code, row in found.means.items()},
        texts={code: [f"{weight:.3f}" for weight in row] for code, row in found.means.items()},
        columns=[f"expert {number + 1}" for number in range(experts)],
        title=f"above or below the fair share of {1 / experts:.3f}",
        at_least=LEAST_DIFFERENCE / experts,
    )
    most = math.log2(experts)
    print_table(
        ["language", "images", "entropy of the mean", "mean entropy of an image"],
        [
            [name_of(code), entry.count, found.entropy[code], found.image_entropy[code]]
            for code, entry in found.routing.items()
        ],
        title=f"entropy in bits: 0 is one expert alone, {most:.3f} all alike",
    )
    print_table(
        ["expert", "share of the weight", "largest in", "most in", "there"],
        [
            [
                str(number),
                f"{entry.share:.1%}",
                f"{entry.first:.0%} of images",
                name_of(entry.language),
                f"{entry.highest:.3f}",
            ]
            for number, entry in enumerate(found.usage, 1)
        ],
        title="use of the experts, every language counting the same",
    )
    if len(found.distances) > 1:
        print_table(
            ["", *found.distances],
            [
                [code, *("·" if code == other else f"{d:.4f}" for other, d in row.items())]
                for code, row in found.distances.items()
            ],
            title="Jensen-Shannon distance: 0 alike, 1 apart",
        )
    if found.language_told is not None:
        print_line(
            f"language told by routing alone (nearest centroid): {found.language_told:.0%}, "
            f"by chance {1 / len(found.routing):.0%}"
        )
    else:
        print_line("language told by routing alone: needs two languages with two images each")
    for warning in found.warnings:
        print_line(f"warning: {warning}")
    print_line("")


def print_heatmap(
    values: Mapping[str, Sequence[float]],
    *,
    texts: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    title: str,
    at_least: float,
) -> None:
    """Draws a cell per value, coloured by how far it is from 0, or shaded where there is no colour.

    Args:
        values: By language.
        texts: What the cells say.
        columns: Their names.
        title: Above the table.
        at_least: Where the scale ends if no value goes beyond.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 240)
    coloured = console.color_system is not None and not console.no_color
    extent = max(at_least, *(abs(value) for row in values.values() for value in row))
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("language")
    for column in columns:
        table.add_column(column, justify="center")
    for code, row in values.items():
        cells = []
        for value, text in zip(row, texts[code], strict=True):
            style = _colour(value / extent) if coloured else ""
            mark = "" if coloured else f" {_shade(value / extent)}"
            cells.append(Text(f" {text}{mark} ", style=style))
        table.add_row(name_of(code), *cells)
    console.print(table)


def print_words(words: "Mapping[str, Sequence[GuidingWord]]") -> None:
    """Lists the words with the most attention, and the expert that each pulls to."""
    rows: list[list[Any]] = []
    for code, entries in words.items():
        readable = [word for word in entries if is_readable(word.word)]
        for place, word in enumerate(readable[:_WORDS_SHOWN]):
            rows.append(
                [
                    name_of(code) if place == 0 else "",
                    word.word,
                    f"{word.attention:.1%}",
                    f"{word.attention / word.fair:.2f} ×",
                    f"expert {word.favours + 1} ({max(word.pull):+.4f})",
                    word.images,
                ]
            )
        rest = sum(word.attention for word in entries if not is_readable(word.word))
        rows.append(["", "(signs, special tokens)", f"{rest:.1%}", "", "", ""])
    print_table(
        ["language", "word", "attention", "of its fair share", "pulls to (logit)", "images"],
        rows,
        title="which words pulled the router (attention of Eq. 2, mean over the images)",
    )


def print_ablation(ablation: "Mapping[str, Ablation]") -> None:
    """Shows what switching off each expert, and all, changes for each language."""
    experts = len(next(iter(ablation.values())).without)
    print_table(
        ["language", "answers", "in the wording", "loss", "right", "loss, none", "right, none"],
        [
            [
                name_of(code),
                entry.count,
                "of words" if entry.wording == 0 else "of letters or English",
                f"{entry.whole.loss:.3f}",
                f"{entry.whole.accuracy:.1%}",
                f"{entry.bare.loss:.3f}",
                f"{entry.bare.accuracy:.1%}",
            ]
            for code, entry in ablation.items()
        ],
        title="answers of the data, with all experts and with none",
    )
    columns = [f"without {number + 1}" for number in range(experts)] + ["without all"]
    changes: dict[str, dict[str, list[float]]] = {"loss": {}, "accuracy": {}}
    for code, entry in ablation.items():
        scores = [*entry.without, entry.bare]
        changes["loss"][code] = [score.loss - entry.whole.loss for score in scores]
        changes["accuracy"][code] = [
            100 * (score.accuracy - entry.whole.accuracy) for score in scores
        ]
    print_heatmap(
        changes["loss"],
        texts={code: [f"{v:+z.3f}" for v in row] for code, row in changes["loss"].items()},
        columns=columns,
        title="change of the loss in nats per answer token (above 0: the expert helped)",
        at_least=LEAST_LOSS,
    )
    print_heatmap(
        changes["accuracy"],
        texts={code: [f"{v:+z.1f}" for v in row] for code, row in changes["accuracy"].items()},
        columns=columns,
        title="change of the right answers in points (below 0: the expert helped)",
        at_least=LEAST_POINTS,
    )


def print_tokens(clouds: "Mapping[str, TokenClouds]") -> None:
    """Shows how near visual tokens are to the text before and after the experts."""
    rows = []
    for code, entry in clouds.items():
        before, after = entry.closeness_before, entry.closeness_after
        rows.append(
            [
                name_of(code),
                f"{before.centroid_cosine:+.3f} → {after.centroid_cosine:+.3f}",
                f"{before.centroid_distance:.2f} → {after.centroid_distance:.2f}",
                f"{before.nearest_cosine:+.3f} → {after.nearest_cosine:+.3f}",
            ]
        )
    print_table(
        ["language", "cosine of the centres", "distance of the centres", "cosine to nearest word"],
        rows,
        title="visual tokens and the text, before → after the experts",
    )


def print_over_training(log: "Sequence[LoggedRouting]") -> None:
    """Shows the first and the last routing of a run's log, and how far languages are apart."""
    from parrot_core.inspection import mean_distance

    rows = []
    for entry in (log[0], log[-1]) if len(log) > 1 else log[:1]:
        for code, weights in entry.routing.items():
            shown = "  ".join(f"{weight:.3f}" for weight in weights)
            rows.append([str(entry.step), name_of(code), shown])
    print_table(
        ["step", "language", "mean routing weights"], rows, title=f"{len(log)} steps logged"
    )
    print_line(
        "mean Jensen-Shannon distance between languages: "
        f"{mean_distance(log[0].routing):.4f} at step {log[0].step}, "
        f"{mean_distance(log[-1].routing):.4f} at step {log[-1].step}"
    )


def print_comparison(found: "Comparison", checkpoints: Sequence[Path]) -> None:
    """Shows what differs between the routing of two checkpoints."""
    print_line(f"first: {checkpoints[0]}")
    print_line(f"second: {checkpoints[1]}")
    print_table(
        ["language", "distance", "with experts paired", "entropy, first", "entropy, second"],
        [
            [
                name_of(code),
                f"{distance:.4f}",
                f"{found.distance_when_paired[code]:.4f}",
                f"{found.entropy[code][0]:.3f}",
                f"{found.entropy[code][1]:.3f}",
            ]
            for code, distance in found.distance.items()
        ],
        title="Jensen-Shannon distance of the mean routing, first against second",
    )
    pairs = ", ".join(
        f"{number}→{'–' if place is None else place + 1}"
        for number, place in enumerate(found.pairing, 1)
    )
    print_line(f"experts paired, first→second: {pairs}")
    print_line(f"most changed: {name_of(found.most_changed)}")
    print_line(
        "mean distance between languages: "
        f"{found.spread[0]:.4f} in the first, {found.spread[1]:.4f} in the second"
    )


def _colour(share: float) -> str:
    """Black on a background between white and an end of the scale; `share` in -1..1."""
    end = _ABOVE if share > 0 else _BELOW
    red, green, blue = (round(255 + (part - 255) * abs(share)) for part in end)
    return f"black on rgb({red},{green},{blue})"


def _shade(share: float) -> str:
    if not share:
        return "  "
    sign = "+" if share > 0 else "-"
    return f"{sign}{_SHADES[round(abs(share) * (len(_SHADES) - 1))]}"
