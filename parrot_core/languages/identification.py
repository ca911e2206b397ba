"""How a text's language is found: by its script, its letters, then how often letters meet."""

import functools
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from parrot_core.languages.table import LANGUAGES

_SURE = 0.99
"""Share of the best language below which a text is left open."""
_UNSEEN = 1e-5
"""Frequency given to a group of letters that a language's profile does not have."""
_STRANGE = 5.0
"""What a letter that a language does not have counts against it, as a logarithm."""


def script_of(text: str) -> str | None:
    """Returns the script of most letters of a text (`LATIN`, `CJK`, …), or None without letters."""
    counts: Counter[str] = Counter()
    for letter, times in Counter(text).items():  # a text has few different letters
        if letter.isalpha():
            counts[_script_of_letter(letter)] += times
    return counts.most_common(1)[0][0] if counts else None


@functools.cache  # there are only so many letters
def _script_of_letter(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split(" ")[0].split("-")[0]


def identify(text: str, candidates: Sequence[str]) -> str | None:
    """Says in which of the candidate languages a text is written, or None where it cannot tell.

    The script decides where only one candidate is written in it, else frequencies of letter groups
    (langdetect's profiles, restricted to the candidates) and letters that a language does not have.
    Nothing is drawn: the same text has always the same answer. Among languages of which one has no
    profile, letters alone decide, or nothing does.

    Args:
        text: Any text; markup and digits do not count.
        candidates: Codes to choose from.
    """
    script = script_of(text)
    if script is None:
        return None
    possible = [code for code in candidates if script in LANGUAGES[code].scripts]
    if len(possible) <= 1:
        return possible[0] if possible else None
    if script == "CJK" and not any(
        unicodedata.name(sign, "").startswith(("HIRAGANA", "KATAKANA")) for sign in text
    ):
        # Japanese of any length has kana; Chinese has none.
        possible = [code for code in possible if "HIRAGANA" not in LANGUAGES[code].scripts]
    if len(possible) <= 1:
        return possible[0] if possible else None
    if any(_profile_of(code) not in _profiles()[1] for code in possible):
        counts = _strange_letters(text, possible)
        without = [code for code, count in zip(possible, counts, strict=True) if not count]
        return without[0] if len(without) == 1 else None
    shares = _shares(text, possible)
    best = max(possible, key=lambda code: shares[code])
    return best if shares[best] >= _SURE else None


def _shares(text: str, possible: Sequence[str]) -> dict[str, float]:
    """Returns how likely a text is in each language, if it is in one of them (sums to 1).

    The constants, and that single letters do not count, were chosen on names in languages other
    than the paper's, which `tests/benchmarks/languages.py` measures too.
    """
    languages = tuple(possible)
    logarithms = [_logarithms(group, languages) for group in _letter_groups(text)]
    # Summed in the order of the text: another order could round differently.
    sums = [sum(column) for column in zip(*filter(None, logarithms), strict=True)]
    sums = sums or [0.0] * len(languages)
    strange = _strange_letters(text, languages)
    sums = [value - _STRANGE * count for value, count in zip(sums, strange, strict=True)]
    highest = max(sums)
    weights = [math.exp(value - highest) for value in sums]
    whole = sum(weights)
    return {code: weight / whole for code, weight in zip(possible, weights, strict=True)}


def _strange_letters(text: str, languages: Sequence[str]) -> list[int]:
    """Counts the letters of a text that each language has in foreign words alone, or not at all."""
    letters = Counter(unicodedata.normalize("NFC", text).lower())
    counts = []
    for code in languages:
        own, foreign = LANGUAGES[code].letters, LANGUAGES[code].foreign_letters
        character_set = LANGUAGES[code].character_set
        counts.append(
            sum(
                times
                for letter, times in letters.items()
                if letter.isalpha()
                and (
                    letter in foreign
                    or (own is not None and not letter.isascii() and letter not in own)
                    or (character_set is not None and not _is_in(character_set, letter))
                )
            )
        )
    return counts


@functools.cache  # there are only so many letters
def _is_in(character_set: str, letter: str) -> bool:
    try:
        letter.encode(character_set)
    except UnicodeEncodeError:
        return False
    return True


def _letter_groups(text: str) -> Iterator[str]:
    """Yields groups of two and three letters as langdetect's profiles count them.

    A group does not reach over the end of a word, and none ends within letters that are all
    capitals (abbreviations).
    """
    for word in "".join(map(_profile_letter, text)).split(" "):
        if not word:
            continue
        padded = f" {word} "
        for end in range(2, len(padded) + 1):
            letter = padded[end - 1]
            if letter.isupper() and padded[end - 2].isupper():
                continue
            yield padded[end - 2 : end]
            if end > 2:
                yield padded[end - 3 : end]


@functools.cache  # there are only so many letters
def _profile_letter(letter: str) -> str:
    from langdetect.utils.ngram import NGram

    normalized: str = NGram.normalize(letter)
    return normalized


@functools.lru_cache(maxsize=20_000)
def _logarithms(group: str, languages: tuple[str, ...]) -> tuple[float, ...] | None:
    """Returns the logarithms of a group's frequencies, or None if no profile has it."""
    profiles, rows = _profiles()
    frequencies = profiles.get(group)
    if not frequencies:
        return None
    return tuple(math.log(frequencies[rows[_profile_of(code)]] + _UNSEEN) for code in languages)


def _profile_of(code: str) -> str:
    """The name of a language's letter frequencies, whether or not there are any."""
    return LANGUAGES[code].profile or code


@functools.lru_cache(maxsize=1)
def _profiles() -> tuple[dict[str, list[float]], dict[str, int]]:
    """Loads langdetect's frequencies of letter groups, and which column is which language's.

    File by file, because langdetect's own loop takes Ctrl-C for a broken file.
    """
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
    from langdetect.utils.lang_profile import LangProfile

    files = [Path(PROFILES_DIRECTORY, _profile_of(code)) for code in LANGUAGES]
    files = [file for file in files if file.is_file()]
    factory = DetectorFactory()
    for row, file in enumerate(files):
        profile = LangProfile(**json.loads(file.read_text(encoding="utf-8")))
        factory.add_profile(profile, row, len(files))
    return factory.word_lang_prob_map, {file.name: row for row, file in enumerate(files)}
