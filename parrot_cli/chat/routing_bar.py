"""The routing of an answer as one bar, legible without colour too."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

# Okabe and Ito's palette, made for colour-blind readers, without its black.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_WIDEST = 72


def routing_bar(weights: Sequence[float], names: Sequence[str | None], *, width: int) -> "Text":
    """Draws routing weights as a bar that is as long as they sum to, with a legend below.

    Args:
        weights: P of equation 3, float[E].
        names: What each expert is called; None where nothing is known of it.
        width: Of the terminal, in cells.

    Returns:
        One line for the bar, in which each expert's part begins with its number, and lines that
        give each expert's number, name (`shared` without one) and share.
    """
    from rich.text import Text

    cells = _share_out(weights, min(width - 1, _WIDEST))
    drawn = Text(no_wrap=False)
    for number, count in enumerate(cells):
        label = str(number + 1)[:count]
        drawn.append(label + "█" * (count - len(label)), style=_COLOURS[number % len(_COLOURS)])
    drawn.append("\n")
    column = 0
    for number, weight in enumerate(weights):
        name = names[number] if number < len(names) else None
        entry = f"{number + 1} {name or 'shared'} {weight:.1%}"
        if column and column + len(entry) >= width:
            drawn.append("\n")
            column = 0
        elif column:
            drawn.append("   ")
        drawn.append(entry, style=_COLOURS[number % len(_COLOURS)])
        column += len(entry) + 3
    return drawn


def _share_out(weights: Sequence[float], cells: int) -> list[int]:
    """Whole cells in proportion to the weights, that sum to `cells` (largest remainders)."""
    exact = [weight / sum(weights) * cells for weight in weights]
    whole = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda i: exact[i] - whole[i], reverse=True)
    for i in order[: cells - sum(whole)]:
        whole[i] += 1
    return whole
