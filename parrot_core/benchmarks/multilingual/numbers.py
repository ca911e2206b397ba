"""Numbers in answers: in digits of any script, in words, and as parts of other numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from parrot_core.benchmarks.multilingual.folding import Token
from parrot_core.benchmarks.multilingual.lexicon import LEXICON
from parrot_core.benchmarks.multilingual.reading import Reading

Find = tuple[int, int, frozenset[str]]
"""First and last spoken token of a find, and the letters of the options that it may mean."""

_NUMBER = re.compile(r"[-−]?\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_ENDINGS = frozenset(("s", "st", "nd", "rd", "th"))  # 1990s, 2nd
_LONGEST_NUMBER_WORD = 2


def value_of(parts: tuple[str, ...]) -> float | None:
    """Returns the number that a text is, if it is one in digits or in a word."""
    named = LEXICON.value_of(parts)
    if named is not None:
        return float(named)
    return _value_of_digits(parts[0]) if len(parts) == 1 else None


@lru_cache(maxsize=4096)
def _value_of_digits(word: str) -> float | None:
    """Returns the value of digits, of any script, with thousands set off by commas."""
    if not _NUMBER.fullmatch(word):
        return None
    word = word.replace("−", "-")
    try:
        return float(word.replace(",", "" if _THOUSANDS.fullmatch(word) else "."))
    except ValueError:  # 1.2.3, a version or a date
        return None


def find_digits(spoken: Sequence[Token], values: Mapping[str, float]) -> Iterator[Find]:
    """Finds the values of options in digits; `values` are by letter."""
    for index, token in enumerate(spoken):
        if token.text[-1].isdigit():
            said = _value_of_digits(token.folded)
            for letter, value in values.items():
                if said == value:
                    yield index, index, frozenset((letter,))


def find_number_words(reading: Reading, values: Mapping[str, float]) -> Iterator[Find]:
    """Finds the values of options in words; `values` are by letter."""
    letters = {value: letter for letter, value in values.items()}
    if not letters:
        return
    said = [reading.tokens[index].folded for index in reading.spoken]
    for first in range(len(said)):
        for length in range(_LONGEST_NUMBER_WORD, 0, -1):
            phrase = tuple(said[first : first + length])
            value = LEXICON.value_of(phrase) if len(phrase) == length else None
            if value is None or _has_unit_beside(said, first, length):
                continue
            if phrase in LEXICON.article_numbers and not _counts(reading, first, length):
                continue
            if value in letters:
                yield first, first + length - 1, frozenset((letters[value],))
            break


def _counts(reading: Reading, first: int, length: int) -> bool:
    """Whether a number word that is also an article counts: "one", "only one cat", 一个."""
    start, end = reading.spoken[first], reading.spoken[first + length - 1] + 1
    before = reading.kinds(start - 1)
    if len(reading.spoken) == length or "only" in before:
        return True
    if "counters" in reading.kinds_beginning(end):
        return reading.ends_clause(end + 1)
    return "exists" in before and reading.ends_clause(end)


def is_pronoun(reading: Reading, first: int, last: int) -> bool:
    """Whether a number word stands for something named before: "this one", "the second one"."""
    said = tuple(reading.tokens[index].folded for index in reading.spoken[first : last + 1])
    before = reading.spoken[first] - 1
    if said not in LEXICON.article_numbers or before < 0:
        return False
    word = reading.parts[before]
    return (
        "pointing" in reading.kinds(before)
        or word in LEXICON.determiners
        or (word,) in LEXICON.ordinals
    )


def _has_unit_beside(said: Sequence[str], first: int, length: int) -> bool:
    """Whether another number makes twenty-three of a round number such as twenty."""
    if tuple(said[first : first + length]) not in LEXICON.round_numbers:
        return False
    beside = (*said[max(0, first - 1) : first], *said[first + length : first + length + 1])
    return any((word,) in LEXICON.numbers for word in beside)


def is_in_number(spoken: Sequence[Token], first: int, last: int) -> bool:
    """Whether a number is part of another, or of a word: `1990s`, twenty-two, vinte e três."""
    after = spoken[last + 1] if last + 1 < len(spoken) else None
    if spoken[last].text[-1].isdigit():
        glued = after is not None and after.start == spoken[last].end
        return after is not None and glued and after.folded in _ENDINGS
    if LEXICON.value_of(tuple(token.folded for token in spoken[first : last + 1])) is None:
        return False
    before = [token.folded for token in spoken[max(0, first - 2) : first]]
    if len(before) == 2 and LEXICON.joins(before[1]):
        before.pop()
    beside = {*before[-1:], *([after.folded] if after is not None else [])}
    return not beside.isdisjoint(LEXICON.tens)
