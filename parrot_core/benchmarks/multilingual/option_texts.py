"""Finding the text of an option in an answer, from the exact wording down to looser kinds of it."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from parrot_core.benchmarks.multilingual.folding import Token, clean, tokenize, without_accents
from parrot_core.benchmarks.multilingual.inflection import is_form_of
from parrot_core.benchmarks.multilingual.lexicon import LEXICON
from parrot_core.benchmarks.multilingual.reading import Mention, Reading, pick

_IDEOGRAPH = re.compile(r"[\u3400-\u9fff]")
_NUMBER = re.compile(r"[-−]?\d+(?:[.,]\d+)*")
# A one-character option such as 猫 is a word of its own only beside these: classifiers, colours,
# particles and the commonest verbs; beside others it may be part of another word (熊猫, 牛奶).
_BEFORE_ONE_IDEOGRAPH = frozenset(
    "只隻头頭条條匹个個名位群些种種幅张張朵棵把辆座件是的小大有为為和或与與及这這那叫到见見看像"
    "黑白黄黃灰红紅棕花老两二三四五六七八九十几一了中里裡上选為乃者找即着著养喂非"
)
_AFTER_ONE_IDEOGRAPH = frozenset(
    "在和或与與及的正坐站躺趴咪儿兒们們吗嗎吧啊呢了都是有跟看走跑吃喝睡飞飛图圖色与还還而不"
)
_LEAST_COVERAGE = 0.5

Words = tuple[str, ...]
Same = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class OptionText:
    """An option's text, prepared once.

    Attributes:
        words: Its folded words.
        core: The same without articles at its beginning and particles at its end.
        value: The number that it is, if it is one in digits or in a word.
    """

    words: Words
    core: Words
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
    return OptionText(parts, parts[start:end], _value(parts))


def _value(parts: Words) -> float | None:
    if parts in LEXICON.numbers:
        return float(LEXICON.numbers[parts])
    return _digits(parts[0]) if len(parts) == 1 else None


@lru_cache(maxsize=4096)
def _digits(word: str) -> float | None:
    """Returns the value of digits, of any script, with thousands set off by commas."""
    if not _NUMBER.fullmatch(word):
        return None
    word = word.replace("−", "-")
    thousands = re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", word)
    try:
        return float(word.replace(",", "" if thousands else "."))
    except ValueError:  # 1.2.3, a version or a date
        return None


def read_text(reading: Reading, choices: dict[str, str]) -> frozenset[str] | None:
    """Reads the option whose text an answer contains.

    Wordings are tried from the strictest to the loosest, and the first that finds anything decides:
    the text as it stands; without its articles, inflected, or as a number's word; without accents;
    and last, an answer that is itself a part of one option only.

    Returns:
        What `pick` returns.
    """
    options = {letter: prepare(text) for letter, text in choices.items()}
    spoken = [reading.tokens[index] for index in reading.spoken]
    for tier in _TIERS:
        found = _longest(list(tier(spoken, options)))
        if not found:
            continue
        mentions = [
            Mention(reading.spoken[first], reading.spoken[last] + 1, letters)
            for first, last, letters in found
        ]
        affirmed = [
            mention
            for mention in mentions
            if not reading.is_negated(mention) and not reading.is_doubted(mention)
        ]
        chosen = pick(reading, affirmed) or frozenset()
        rivals = _perhaps_named(spoken, options, {first for first, _, _ in found}) - chosen
        return frozenset() if rivals else chosen
    return _as_part(reading, spoken, options)


def is_exactly(reading: Reading, choices: dict[str, str]) -> str | None:
    """Returns the option whose whole text the answer is, if it is one only."""
    said = tuple(reading.tokens[index].folded for index in reading.spoken)
    found = [letter for letter, text in choices.items() if prepare(text).words == said]
    one_letter = len(said) == 1 and len(said[0]) == 1 and said[0].isascii() and said[0].isalpha()
    return found[0] if len(found) == 1 and not one_letter else None


_Found = tuple[int, int, frozenset[str]]


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


def _longest(found: list[_Found]) -> list[_Found]:
    """Drops what lies inside a longer find: `red` in `dark red`."""
    spans: dict[tuple[int, int], frozenset[str]] = {}
    for first, last, letters in found:
        spans[first, last] = spans.get((first, last), frozenset()) | letters
    kept = [
        (first, last, letters)
        for (first, last), letters in spans.items()
        if len(letters) == 1
        and not any(a <= first and last <= b and (a, b) != (first, last) for a, b in spans)
    ]
    return sorted(kept, key=lambda find: find[:2])


def _occurrences(spoken: Sequence[Token], wanted: Words, same: Same) -> Iterator[tuple[int, int]]:
    length = len(wanted)
    for first in range(len(spoken) - length + 1):
        if all(same(spoken[first + offset].folded, wanted[offset]) for offset in range(length)):
            last = first + length - 1
            if length > 1 or _stands_alone(spoken, first):
                yield first, last


def _stands_alone(spoken: Sequence[Token], index: int) -> bool:
    """Whether one ideograph is a word of its own, judged by its neighbours."""
    token = spoken[index]
    if len(token.text) != 1 or not _IDEOGRAPH.match(token.text):
        return True
    beside = (
        (index - 1, _BEFORE_ONE_IDEOGRAPH),
        (index + 1, _AFTER_ONE_IDEOGRAPH),
    )
    for place, harmless in beside:
        if not 0 <= place < len(spoken) or not _IDEOGRAPH.match(spoken[place].text):
            continue
        neighbour = spoken[place]
        touches = neighbour.end == token.start or token.end == neighbour.start
        said_twice = neighbour.text == token.text  # 狗狗 is a dog
        if touches and not said_twice and neighbour.text not in harmless:
            return False
    return True


_ARABIC_PREFIXES = ("وال", "فال", "بال", "كال", "ال", "لل", "و", "ف", "ب", "ل", "ك")


def _same_word(said: str, wanted: str) -> bool:
    """Whether two words are one, apart from what Arabic writes together with a word."""
    if said == wanted:
        return True
    if len(wanted) < 3 or not said.endswith(wanted) or not "\u0600" < said[0] < "\u06ff":
        return False
    return said[: -len(wanted)] in _ARABIC_PREFIXES


def _as_written(spoken: Sequence[Token], options: dict[str, OptionText]) -> Iterator[_Found]:
    for letter, option in options.items():
        if option.words:
            for first, last in _occurrences(spoken, option.words, _same_word):
                yield first, last, frozenset((letter,))
    yield from _digit_values(spoken, options)


def _digit_values(spoken: Sequence[Token], options: dict[str, OptionText]) -> Iterator[_Found]:
    for letter, option in options.items():
        if option.value is not None:
            for index, token in enumerate(spoken):
                if token.text[-1].isdigit() and _digits(token.folded) == option.value:
                    yield index, index, frozenset((letter,))


def _loosely(spoken: Sequence[Token], options: dict[str, OptionText]) -> Iterator[_Found]:
    for letter, option in options.items():
        if option.core:
            for first, last in _occurrences(spoken, option.core, is_form_of):
                yield first, last, frozenset((letter,))
    yield from _number_words(spoken, options)


def _number_words(spoken: Sequence[Token], options: dict[str, OptionText]) -> Iterator[_Found]:
    values = {
        option.value: letter for letter, option in options.items() if option.value is not None
    }
    if not values:
        return
    said = [token.folded for token in spoken]
    for first in range(len(said)):
        for length in (2, 1):
            phrase = tuple(said[first : first + length])
            value = LEXICON.numbers.get(phrase) if len(phrase) == length else None
            beside = {*said[max(0, first - 1) : first], *said[first + length : first + length + 1]}
            if value is None or (phrase in LEXICON.article_numbers and len(said) > length):
                continue
            if beside & LEXICON.tens:  # twenty-two, 二十
                continue
            if float(value) in values:
                yield first, first + length - 1, frozenset((values[float(value)],))
            break


def _without_accents(spoken: Sequence[Token], options: dict[str, OptionText]) -> Iterator[_Found]:
    def same(said: str, wanted: str) -> bool:
        return is_form_of(without_accents(said), without_accents(wanted))

    for letter, option in options.items():
        if option.core:
            for first, last in _occurrences(spoken, option.core, same):
                yield first, last, frozenset((letter,))


_TIERS = (_as_written, _loosely, _without_accents)


def _as_part(
    reading: Reading, spoken: Sequence[Token], options: dict[str, OptionText]
) -> frozenset[str] | None:
    """Reads an answer all of whose words are in one option only, and are at least half of it."""
    if reading.doubts:
        return None
    said = _content(tuple(token.folded for token in spoken))
    if not said:
        return None
    containing = [letter for letter, option in options.items() if said <= set(option.words)]
    if len(containing) != 1:
        return None
    whole = _content(options[containing[0]].words)
    order_kept = _in_order([token.folded for token in spoken], options[containing[0]].words)
    covered = len(said & whole) / max(1, len(whole))
    return frozenset(containing) if covered >= _LEAST_COVERAGE and order_kept else None


def _content(parts: Words) -> set[str]:
    return {part for part in parts if part not in LEXICON.determiners}


def _in_order(said: Sequence[str], whole: Words) -> bool:
    """Whether the words come in the order in which the option has them."""
    rest = iter(whole)
    content = [part for part in said if part not in LEXICON.determiners]
    return all(any(part == word for word in rest) for part in content)
