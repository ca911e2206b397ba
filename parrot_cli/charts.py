"""What all charts share: colours for every colour vision, fonts for every script, files."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parrot_core.errors import UsageError

# Okabe and Ito's palette, made for colour-blind readers; the others tell apart without colour.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

# Kinds of picture, and what of their metadata would tell two runs apart.
_PICTURES = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}
_BASE_FONT = "DejaVu Sans"  # comes with matplotlib

Legible = Callable[[str], str]


def new_figure(width: float, height: float) -> Any:  # noqa: ANN401 - matplotlib is imported late
    """Makes a figure of a size in inches, which no window and no global state knows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def check_picture(path: Path) -> None:
    """Refuses a name that ends like no picture.

    Raises:
        UsageError: if it is neither PNG, SVG nor PDF.
    """
    if path.suffix.lower() not in _PICTURES:
        raise UsageError(f"{path} is no name of a picture", hint="End it in .png, .svg or .pdf.")


def save_figure(figure: Any, path: Path) -> None:  # noqa: ANN401 - as above
    """Saves a picture that is the same twice: no date is written into it."""
    check_picture(path)
    figure.savefig(path, dpi=150, metadata={_PICTURES[path.suffix.lower()]: None})


@contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[Legible]:
    """Sets the fonts that these texts need, of those that are installed.

    Yields:
        A function that returns a text as it is where there is a font with all its letters, and else
        in Latin letters, so that a picture never has empty boxes.
    """
    import matplotlib
    from anyascii import anyascii

    letters = {letter for text in texts for letter in text if not letter.isspace()}
    families, covered = [_BASE_FONT], letters & _letters_of(_font_file(_BASE_FONT))
    missing = letters - covered
    if missing:
        for family, file in _installed_fonts():
            found = missing & _letters_of(file)
            if found:
                families.append(family)
                covered |= found
                missing -= found
            if not missing:
                break

    def legible(text: str) -> str:
        return text if not missing & set(text) else anyascii(text)

    # Hashes of fixed salt name the parts of an SVG file: the same picture is the same file.
    with matplotlib.rc_context({"font.family": families, "svg.hashsalt": "parrot"}):
        yield legible


@functools.cache
def _letters_of(file: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(file).get_charmap()))


def _font_file(family: str) -> str:
    from matplotlib.font_manager import findfont

    return str(findfont(family))


@functools.cache
def _installed_fonts() -> list[tuple[str, str]]:
    """Upright fonts of ordinary weight with their files, one of each family, in a fixed order."""
    from matplotlib.font_manager import fontManager

    chosen: dict[str, str] = {}
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.name, entry.fname)):
        if entry.style == "normal" and entry.weight in (400, "normal", "regular", "book"):
            chosen.setdefault(entry.name, entry.fname)
    return [
        entry
        for entry in chosen.items()
        if entry[0] != _BASE_FONT and "Last Resort" not in entry[0]
    ]
