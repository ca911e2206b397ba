"""Text in terminals that draw every letter where it comes: right-to-left scripts put in order.

Some terminals arrange Arabic and Hebrew themselves; most draw the letters from left to right and
unjoined. For those the letters are joined and each row is arranged here, and redrawn as it grows.
"""

import os
import unicodedata
from collections.abc import Callable, Mapping
from typing import TextIO

from parrot_cli.output import printable

MODES = ("auto", "terminal", "arrange")
"""Who arranges right-to-left text: found out, the terminal, or this program."""

_ERASE_ROW = "\r\x1b[2K"
_FIRST_VTE = 5800  # the version of GNOME's terminal widget that first did


def terminal_arranges(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal is one that is known to arrange right-to-left text itself."""
    vte = environment.get("VTE_VERSION", "")
    return (
        (vte.isdigit() and int(vte) >= _FIRST_VTE)
        or "KONSOLE_VERSION" in environment
        or environment.get("TERM_PROGRAM") == "Apple_Terminal"
        or environment.get("TERM", "").startswith("mlterm")
    )


def has_right_to_left(text: str) -> bool:
    """Whether a text has letters that are written from right to left."""
    return any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)


def begins_from_right(text: str) -> bool:
    """Whether a paragraph runs from right to left: its first letter that has a direction says."""
    first = next((c for c in text if unicodedata.bidirectional(c) in ("L", "R", "AL")), "")
    return has_right_to_left(first)


def arrange(row: str, *, from_right: bool, width: int) -> str:
    """Returns one row as it is drawn: joined letters, in visual order.

    Args:
        row: Of a paragraph.
        from_right: Whether the paragraph runs from right to left; its rows are set to the right.
        width: Of the terminal, in cells.
    """
    from arabic_reshaper import reshape
    from bidi import get_display
    from rich.cells import cell_len

    drawn = str(get_display(reshape(row), base_dir="R" if from_right else "L"))
    return " " * max(0, width - cell_len(drawn)) + drawn if from_right else drawn


def arrange_lines(text: str) -> str:
    """Returns lines as they are drawn, those from right to left not set to the right."""
    return "\n".join(
        arrange(line, from_right=begins_from_right(line), width=0)
        if has_right_to_left(line)
        else line
        for line in text.split("\n")
    )


class AnswerWriter:
    """Writes an answer as it comes, piece by piece.

    Args:
        out: Where to; a terminal gets control characters as pictures of them.
        arranges: Whether rows with right-to-left letters are arranged here.
        width: Returns the terminal's width in cells, asked anew for each piece: it may be resized.
    """

    def __init__(self, out: TextIO, *, arranges: bool, width: Callable[[], int]) -> None:
        self._out = out
        self._arranges = arranges
        self._width = width
        self._row = ""
        self._from_right: bool | None = None  # of the paragraph; None until a letter tells

    def write(self, piece: str) -> None:
        """Writes the next piece."""
        if self._out.isatty():
            piece = printable(piece)
        if not self._arranges:
            self._out.write(piece)
        else:
            for number, part in enumerate(piece.split("\n")):
                if number:
                    self._out.write("\n")
                    self._row, self._from_right = "", None
                self._extend(part)
        self._out.flush()

    def end(self) -> None:
        """Ends the answer's last row."""
        self._out.write("\n")
        self._out.flush()
        self._row, self._from_right = "", None

    def _extend(self, part: str) -> None:
        width = self._width() - 1  # the last column may wrap by itself
        whole = self._row + part
        if self._from_right is None and any(letter.isalpha() for letter in whole):
            self._from_right = begins_from_right(whole)
        if not self._from_right and not has_right_to_left(whole):
            self._out.write(part)
            self._row = _last_row(whole, width)
            return
        rows = _fold(whole, width)
        drawn = [arrange(row, from_right=bool(self._from_right), width=width) for row in rows]
        self._out.write(_ERASE_ROW + "\n".join(drawn))
        self._row = rows[-1]


def _last_row(text: str, width: int) -> str:
    """What stands on the last row after the terminal has wrapped a text by itself."""
    from rich.cells import cell_len

    if cell_len(text) <= width + 1:
        return text
    row = ""
    for letter in text:
        row = letter if cell_len(row + letter) > width + 1 else row + letter
    return row


def _fold(text: str, width: int) -> list[str]:
    """Breaks a text between words into rows that fit."""
    from rich.cells import cell_len, chop_cells

    rows = [""]
    for word in text.split(" "):
        longer = f"{rows[-1]} {word}" if rows[-1] else word
        if cell_len(longer) <= width:
            rows[-1] = longer
        elif cell_len(word) <= width:
            rows.append(word)
        else:
            rows += chop_cells(word, width)
    return rows if rows[0] or len(rows) == 1 else rows[1:]
