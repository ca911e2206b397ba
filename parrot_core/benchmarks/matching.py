"""From a model's answer to the option or the Yes or No that it means.

Three scorers: `multilingual`, the default, reads answers in every language of the lexicon and
abstains rather than guesses; `vlmevalkit` and `vlmevalkit-2024-08` give that toolkit's answers of
August 2026 and of the copy that the paper's authors bundled, for comparing with published numbers.
No scorer draws at random.
"""

import difflib
from collections.abc import Mapping
from functools import lru_cache

from parrot_core.benchmarks import toolkit_rules
from parrot_core.benchmarks.multilingual import yes_no
from parrot_core.benchmarks.multilingual.letters import read_letter
from parrot_core.benchmarks.multilingual.option_texts import is_exactly, read_text
from parrot_core.benchmarks.multilingual.ordinals import read_ordinal
from parrot_core.benchmarks.multilingual.reading import Reading
from parrot_core.benchmarks.multilingual.unwrapping import as_text, unwrap
from parrot_core.errors import UsageError

SCORERS = ("multilingual", "vlmevalkit", "vlmevalkit-2024-08")
DEFAULT_SCORER = "multilingual"


def check_scorer(scorer: str) -> str:
    """Returns the name of a scorer.

    Raises:
        UsageError: if there is none of that name; the hint names the nearest.
    """
    if scorer in SCORERS:
        return scorer
    near = difflib.get_close_matches(scorer, SCORERS, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(f"unknown scorer {scorer!r}", hint=f"{hint}Scorers are: {', '.join(SCORERS)}.")


def infer_option(
    prediction: object, choices: Mapping[str, str], *, scorer: str = DEFAULT_SCORER
) -> str | None:
    """Returns the letter of the option that an answer means, or None where it cannot be read.

    Args:
        prediction: The model's answer; a number, as a spreadsheet gives it, is read as its text.
        choices: Option texts by letter, in order.
        scorer: One of `SCORERS`. The toolkit's scorers answer `Z` for what it takes as a refusal.

    Raises:
        UsageError: if there is no such scorer.
    """
    if check_scorer(scorer) != DEFAULT_SCORER:
        return toolkit_rules.infer_option(prediction, choices, of_2024=scorer.endswith("2024-08"))
    texts = {letter: as_text(text) for letter, text in choices.items()}
    return _read(as_text(prediction), tuple(texts.items()))


def infer_yes_no(prediction: object, *, scorer: str = DEFAULT_SCORER) -> str | None:
    """Returns `Yes`, `No`, or None where an answer says neither, both, or cannot be read.

    Args:
        prediction: The model's answer.
        scorer: One of `SCORERS`; both dates of the toolkit read alike.

    Raises:
        UsageError: if there is no such scorer.
    """
    if check_scorer(scorer) != DEFAULT_SCORER:
        return toolkit_rules.infer_yes_no(prediction)
    return yes_no.infer_yes_no(prediction)


@lru_cache(maxsize=16384)
def _read(prediction: str, items: tuple[tuple[str, str], ...]) -> str | None:
    """Reads an option as a careful person would: letter, then text, then position."""
    choices = dict(items)
    answer = unwrap(prediction)
    reading = Reading(answer)
    if not reading.spoken or prediction.startswith("Failed to obtain answer"):
        return None
    exactly = is_exactly(reading, choices)
    if exactly is not None:
        return exactly
    letters, mentions = read_letter(reading, choices)
    if letters is not None:
        return _settle(letters, reading, choices)
    sides = _sides(choices)
    if sides and len(choices) == len(sides):
        side = yes_no.infer_yes_no(prediction)
        if side or all(map(yes_no.side_of_option, choices.values())):
            return sides.get(side) if side else None
    texts = read_text(reading, choices)
    if texts is not None:
        if not texts and sides and (side := yes_no.infer_yes_no(prediction)):
            return sides.get(side)
        return next(iter(texts)) if len(texts) == 1 else None
    return None if mentions else read_ordinal(reading, choices)


def _settle(letters: frozenset[str], reading: Reading, choices: dict[str, str]) -> str | None:
    """Returns the letter; one that two alphabets read differently needs the option's text too."""
    if len(letters) <= 1:
        return next(iter(letters), None)
    texts = read_text(reading, choices)
    both = letters & (texts or frozenset())
    return next(iter(both)) if len(both) == 1 else None


def _sides(choices: dict[str, str]) -> dict[str, str] | None:
    """Returns the letters of the options that are Yes and No, if there is one of each."""
    sides: dict[str, str] = {}
    for letter, text in choices.items():
        side = yes_no.side_of_option(text)
        if side is None and len(choices) == 2:  # "Yes, it is" against "No, it is not"
            side = yes_no.infer_yes_no(text)
        if side in sides:
            return None
        if side is not None:
            sides[side] = letter
    return sides if len(sides) == 2 else None
