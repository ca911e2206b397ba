"""Finding the text of an option in an answer, from the exact wording down to looser kinds of it."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from parrot_core.benchmarks.multilingual.compounds import is_in_compound, stands_alone
from parrot_core.benchmarks.multilingual.folding import Token, clean, tokenize, without_accents
from parrot_core.benchmarks.multilingual.inflection import is_form_of
from parrot_core.benchmarks.multilingual.lexicon import LEXICON
from parrot_core.benchmarks.multilingual.numbers import (
    Find,
    find_digits,
    find_number_words,
    is_in_number,
    is_pronoun,
    value_of,
)
from parrot_core.benchmarks.multilingual.reading import Mention, Reading, pick

_IDEOGRAPH = re.compile(r"[\u3400-\u9fff]")
_ONLY_TURKISH = frozenset("ğışĞİŞ")
_LEAST_COVERAGE = 0.5
_LONGEST_COLLECTIVE = max(map(len, LEXICON.collective))

Words = tuple[str, ...]
Same = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class OptionText:
    """An option's text, prepared once.

    Attributes:
        words: Its folded words.
        core: The same without articles at its beginning and particles at its end.
        run_on: It without white space and articles.
        value: The number that it is, if it is one in digits or in a word.
    """

    words: Words
    core: Words
    run_on: str
    value: float | None


@lru_cache(maxsize=65536)
def prepare(text: str) -> OptionText:
    """Prepares an option's text for being looked for."""
    parts = tuple(token.folded for token in tokenize(clean(text)) if token.is_word)
    start, end = 0, len(parts)
    while start < end - 1 and parts[start] in LEXICON.determiners:
        start += 1
    particles = LEXICON.determiners if _IDEOGRAPH.match(parts[-1] if parts else "") else ()
    while end - 1 > start and parts[end - 1] in particles:
        end -= 1
    return OptionText(parts, parts[start:end], _run_on(parts), value_of(parts))


def read_text(reading: Reading, choices: dict[str, str]) -> frozenset[str] | None:
    """Reads the option whose text an answer contains.

    Wordings are tried from the strictest to the loosest, and the first that finds anything decides:
    the text as it stands, without its articles, or inflected; as a number's word; without accents;
    and last, an answer that is itself a part of one option only.

    Returns:
        What `pick` returns.
    """
    options = {letter: prepare(text) for letter, text in choices.items()}
    spoken = [reading.tokens[index] for index in reading.spoken]
    texts = [token.text for token in spoken]
    turkish = any(not _ONLY_TURKISH.isdisjoint(text) for text in (*texts, *choices.values()))
    same = partial(is_form_of, turkish=turkish)
    for tier in _TIERS:
        found = [
            (first, last, letters)
            for first, last, letters in _longest(list(tier(reading, spoken, options, same)))
            if not is_in_compound(reading, spoken, first, last)
            and not is_in_number(spoken, first, last)
            and not is_pronoun(reading, first, last)
        ]
        if not found:
            continue
        mentions = [
            Mention(reading.spoken[first], reading.spoken[last] + 1, letters)
            for first, last, letters in found
        ]
        merged = _merged_prepositions(options)
        affirmed = [
            mention
            for mention in mentions
            if not reading.is_negated(mention, prepositions=merged)
            and not reading.is_doubted(mention)
        ]
        chosen = pick(reading, reading.standing(affirmed)) or frozenset()
        rivals = _perhaps_named(spoken, options, {first for first, _, _ in found}) - chosen
        return frozenset() if rivals else chosen
    return _as_part(reading, spoken, options, same)


def is_exactly(reading: Reading, choices: dict[str, str]) -> str | None:
    """Returns the option whose whole text the answer is, if it is one only.

    White space does not count ("livingroom"), nor how the rest of the options is summed up ("none
    of these" is "None of the above").
    """
    said = tuple(reading.tokens[index].folded for index in reading.spoken)
    if len(said) == 1 and len(said[0]) == 1 and said[0].isascii() and said[0].isalpha():
        return None
    options = {letter: prepare(text) for letter, text in choices.items()}
    run_on, collective = _run_on(said), LEXICON.collective.get(said)
    return (
        _only(letter for letter, option in options.items() if option.words == said)
        or _only(letter for letter, option in options.items() if run_on and option.run_on == run_on)
        or _only(
            letter
            for letter, option in options.items()
            if collective and _collective_at_start(option.words) == collective
        )
    )


def _run_on(text: Words) -> str:
    """Returns a text without white space and articles."""
    return "".join(part for part in text if part not in LEXICON.determiners)


def _only(letters: Iterator[str]) -> str | None:
    found = list(letters)
    return found[0] if len(found) == 1 else None


def _collective_at_start(text: Words) -> str | None:
    """Returns the kind of the longest phrase such as "both" or "none of the above" at its start."""
    lengths = range(_LONGEST_COLLECTIVE, 0, -1)
    return next(
        (
            LEXICON.collective[text[:length]]
            for length in lengths
            if text[:length] in LEXICON.collective
        ),
        None,
    )


def _perhaps_named(
    spoken: Sequence[Token], options: dict[str, OptionText], known: set[int]
) -> frozenset[str]:
    """Options of one ideograph that is there where it may be a word or a part of one."""
    return frozenset(
        letter
        for letter, option in options.items()
        if len(option.words) == 1 and _IDEOGRAPH.fullmatch(option.words[0])
        for place, token in enumerate(spoken)
        if place not in known and token.folded == option.words[0]
    )


def _merged_prepositions(options: dict[str, OptionText]) -> frozenset[str]:
    """Prepositions that look like negations, if the options are in the language that has them."""
    first_words = {option.words[0] for option in options.values() if option.words}
    letters = {letter for option in options.values() for word in option.words for letter in word}
    return frozenset(
        merged
        for merged, article in LEXICON.merged_articles.items()
        if article in first_words or letters & LEXICON.own_letters
    )


def _longest(found: list[Find]) -> list[Find]:
    """Drops what lies inside a longer find: `red` in `dark red`."""
    spans: dict[tuple[int, int], frozenset[str]] = {}
    for first, last, letters in found:
        spans[first, last] = spans.get((first, last), frozenset()) | letters
    kept, furthest = [], -1
    for (first, last), letters in sorted(spans.items(), key=lambda span: (span[0][0], -span[0][1])):
        if last > furthest and len(letters) == 1:
            kept.append((first, last, letters))
        furthest = max(furthest, last)
    return kept


def _occurrences(spoken: Sequence[Token], wanted: Words, same: Same) -> Iterator[tuple[int, int]]:
    length = len(wanted)
    for first in range(len(spoken) - length + 1):
        if all(same(spoken[first + offset].folded, wanted[offset]) for offset in range(length)):
            last = first + length - 1
            if length > 1 or stands_alone(spoken, first):
                yield first, last


_ARABIC_PREFIXES = ("وال", "فال", "بال", "كال", "ال", "لل", "و", "ف", "ب", "ل", "ك")


def _same_word(said: str, wanted: str) -> bool:
    """Whether two words are one, apart from what Arabic writes together with a word."""
    if said == wanted:
        return True
    if len(wanted) < 3 or not said.endswith(wanted) or not "\u0600" < said[0] < "\u06ff":
        return False
    return said[: -len(wanted)] in _ARABIC_PREFIXES


def _texts(
    _: Reading, spoken: Sequence[Token], options: dict[str, OptionText], same: Same
) -> Iterator[Find]:
    """Finds options as they stand, and elsewhere without their articles or inflected."""
    exact = list(_as_written(spoken, options))
    yield from exact
    taken = {place for first, last, _ in exact for place in range(first, last + 1)}
    for first, last, letters in _inflected(spoken, options, same):
        if taken.isdisjoint(range(first, last + 1)):
            yield first, last, letters


def _as_written(spoken: Sequence[Token], options: dict[str, OptionText]) -> Iterator[Find]:
    for letter, option in options.items():
        if option.words:
            for first, last in _occurrences(spoken, option.words, _same_word):
                yield first, last, frozenset((letter,))
    yield from find_digits(spoken, _values(options))


def _inflected(
    spoken: Sequence[Token], options: dict[str, OptionText], same: Same
) -> Iterator[Find]:
    for letter, option in options.items():
        if option.core:
            for first, last in _occurrences(spoken, option.core, same):
                yield first, last, frozenset((letter,))


def _number_words(
    reading: Reading, _: Sequence[Token], options: dict[str, OptionText], __: Same
) -> Iterator[Find]:
    yield from find_number_words(reading, _values(options))


def _values(options: dict[str, OptionText]) -> dict[str, float]:
    return {letter: option.value for letter, option in options.items() if option.value is not None}


def _without_accents(
    _: Reading, spoken: Sequence[Token], options: dict[str, OptionText], same: Same
) -> Iterator[Find]:
    def plainly_same(said: str, wanted: str) -> bool:
        return same(without_accents(said), without_accents(wanted))

    yield from _inflected(spoken, options, plainly_same)


_TIERS = (_texts, _number_words, _without_accents)


def _as_part(
    reading: Reading, spoken: Sequence[Token], options: dict[str, OptionText], same: Same
) -> frozenset[str] | None:
    """Reads an answer all of whose words are in one option only.

    They must be at least half of it, or half of what sets it apart from the others.
    """
    if reading.doubts:
        return None
    said = _content(tuple(token.folded for token in spoken))
    if not said:
        return None
    containing = [
        letter
        for letter, option in options.items()
        if all(any(same(part, word) for word in option.words) for part in said)
    ]
    as_letters = [  # `room` is in `bedroom` too
        letter
        for letter, option in options.items()
        if all(any(part in word for word in option.words) for part in said)
    ]
    if len(containing) != 1 or len(as_letters) > 1:
        return None
    whole = options[containing[0]].words
    others = {word for option in options.values() if option.words != whole for word in option.words}
    telling = _content(whole) - others
    told = {word for word in telling if any(same(part, word) for part in said)}
    covered = max(len(told) / max(1, len(telling)), len(said) / max(1, len(_content(whole))))
    in_order = _in_order([token.folded for token in spoken], whole, same)
    return frozenset(containing) if covered >= _LEAST_COVERAGE and in_order else None


def _content(parts: Words) -> set[str]:
    return {part for part in parts if part not in LEXICON.determiners}


def _in_order(said: Sequence[str], whole: Words, same: Same) -> bool:
    """Whether the words come in the order in which the option has them."""
    rest = iter(whole)
    content = [part for part in said if part not in LEXICON.determiners]
    return all(any(same(part, word) for word in rest) for part in content)
