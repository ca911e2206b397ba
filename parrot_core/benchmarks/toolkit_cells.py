"""How the toolkit's reader sees a table's cells: words for missing values, columns of numbers.

It reads with pandas' defaults: an option called `None` is gone, an answer `NA` becomes the text
`nan`, and a column of numbers loses its spelling.
"""

import re
from collections.abc import Mapping, Sequence

MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
     "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
)  # fmt: skip
_TRUTHS = frozenset(("True", "TRUE", "true", "False", "FALSE", "false"))
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def toolkit_columns(
    choices: Sequence[Mapping[str, str]], predictions: Sequence[object]
) -> tuple[list[dict[str, str]], list[object]]:
    """Returns the options and answers of a table as the toolkit's reader hands them on.

    Args:
        choices: Options by letter, for each row.
        predictions: Answers; those that are no texts, as a spreadsheet holds them, stay.
    """
    letters = sorted({letter for options in choices for letter in options})
    columns = {
        letter: _column([options.get(letter, "") for options in choices]) for letter in letters
    }
    seen = [
        {letter: text for letter in letters if (text := columns[letter][row]) is not None}
        for row in range(len(choices))
    ]
    if not all(isinstance(prediction, str) for prediction in predictions):
        return seen, list(predictions)
    said = _column([str(prediction) for prediction in predictions])
    return seen, ["nan" if text is None else text for text in said]


def _column(cells: Sequence[str]) -> list[str | None]:
    """Reads one column: integers, or numbers with a point, or true and false, or else texts."""
    present = [cell for cell in cells if cell not in MISSING]
    stripped = [cell.strip() for cell in present]
    if present and all(_NUMBER.fullmatch(cell) for cell in stripped):
        whole = all(_INTEGER.fullmatch(cell) for cell in stripped)
        convert = int if whole and len(present) == len(cells) else float
        return [None if cell in MISSING else str(convert(cell)) for cell in cells]
    if present and _TRUTHS.issuperset(present):
        return [None if cell in MISSING else cell.capitalize() for cell in cells]
    return [None if cell in MISSING else cell for cell in cells]
