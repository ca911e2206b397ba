"""Languages as data: a table of what Parrot must know of each, and how a text's is found.

A language is added by a row. Nothing else in Parrot asks which language it deals with.
"""

import difflib
import functools
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from parrot_core.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """What Parrot must know of a language.

    Attributes:
        code: ISO 639-1 code, the paper's spelling (`zh`, not `cn`).
        name: English name.
        native_name: What its speakers call it.
        scripts: Names of its letters' Unicode blocks as `unicodedata.name` begins them.
        yes: The word that affirms, as a sentence would begin with it.
        no: The word that denies.
        answer_request: The request to answer in it, in its own words.
        right_to_left: Whether it is written from right to left.
    """

    code: str
    name: str
    native_name: str
    scripts: tuple[str, ...] = ("LATIN",)
    yes: str
    no: str
    answer_request: str
    right_to_left: bool = False


_ROWS = (
    Language(
        code="en",
        name="English",
        native_name="English",
        yes="Yes",
        no="No",
        answer_request="Answer in English.",
    ),
    Language(
        code="zh",
        name="Chinese",
        native_name="中文",
        scripts=("CJK",),
        yes="是",
        no="否",
        answer_request="请用中文回答。",
    ),
    Language(
        code="pt",
        name="Portuguese",
        native_name="português",
        yes="Sim",
        no="Não",
        answer_request="Responda em português.",
    ),
    Language(
        code="ar",
        name="Arabic",
        native_name="العربية",
        scripts=("ARABIC",),
        yes="نعم",
        no="لا",
        answer_request="أجب بالعربية.",
        right_to_left=True,
    ),
    Language(
        code="tr",
        name="Turkish",
        native_name="Türkçe",
        yes="Evet",
        no="Hayır",
        answer_request="Türkçe yanıtla.",
    ),
    Language(
        code="ru",
        name="Russian",
        native_name="русский",
        scripts=("CYRILLIC",),
        yes="Да",
        no="Нет",
        answer_request="Ответь по-русски.",
    ),
    Language(
        code="de",
        name="German",
        native_name="Deutsch",
        yes="Ja",
        no="Nein",
        answer_request="Antworte auf Deutsch.",
    ),
    Language(
        code="es",
        name="Spanish",
        native_name="español",
        yes="Sí",
        no="No",
        answer_request="Responde en español.",
    ),
    Language(
        code="fr",
        name="French",
        native_name="français",
        yes="Oui",
        no="Non",
        answer_request="Réponds en français.",
    ),
    Language(
        code="id",
        name="Indonesian",
        native_name="Bahasa Indonesia",
        yes="Ya",
        no="Tidak",
        answer_request="Jawab dalam bahasa Indonesia.",
    ),
    Language(
        code="it",
        name="Italian",
        native_name="italiano",
        yes="Sì",
        no="No",
        answer_request="Rispondi in italiano.",
    ),
    Language(
        code="ja",
        name="Japanese",
        native_name="日本語",
        scripts=("HIRAGANA", "KATAKANA", "CJK"),
        yes="はい",
        no="いいえ",
        answer_request="日本語で答えてください。",
    ),
    Language(
        code="ko",
        name="Korean",
        native_name="한국어",
        scripts=("HANGUL",),
        yes="예",
        no="아니요",
        answer_request="한국어로 대답해 주세요.",
    ),
    Language(
        code="hi",
        name="Hindi",
        native_name="हिन्दी",
        scripts=("DEVANAGARI",),
        yes="हाँ",
        no="नहीं",
        answer_request="हिन्दी में उत्तर दें।",
    ),
    Language(
        code="vi",
        name="Vietnamese",
        native_name="Tiếng Việt",
        yes="Có",
        no="Không",
        answer_request="Trả lời bằng tiếng Việt.",
    ),
)
LANGUAGES: dict[str, Language] = {row.code: row for row in _ROWS}
"""Every language that Parrot knows, by code."""

PAPER_LANGUAGES: tuple[str, ...] = ("en", "zh", "pt", "ar", "tr", "ru")
"""The six languages of the paper (section 2.3), in the order of its tables."""

_ALIASES = {"cn": "zh", "zh-cn": "zh", "zh_cn": "zh", "pt-br": "pt", "pt_br": "pt"}


def get_language(code: str) -> Language:
    """Returns the language of a code, a spelling that the field uses for it, or its English name.

    Raises:
        UsageError: if no language goes by that name; the hint names the nearest.
    """
    key = code.strip().lower()
    key = _ALIASES.get(key, key)
    by_name = {language.name.lower(): language for language in LANGUAGES.values()}
    found = LANGUAGES.get(key) or by_name.get(key)
    if found is not None:
        return found
    near = difflib.get_close_matches(key, [*LANGUAGES, *by_name], n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"unknown language {code!r}", hint=f"{hint}Parrot knows: {', '.join(LANGUAGES)}."
    )


def parse_languages(text: str) -> list[str]:
    """Reads `tr,ar` or `all` (the paper's six) into codes, in the order given, without repeats."""
    if text.strip().lower() == "all":
        return list(PAPER_LANGUAGES)
    codes = [get_language(part).code for part in text.split(",") if part.strip()]
    if not codes:
        raise UsageError(f"no language in {text!r}", hint="Give codes such as tr,ar, or all.")
    return list(dict.fromkeys(codes))


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

    The script decides where only one candidate is written in it, then letters that a language does
    not have, then frequencies of letter groups (langdetect's profiles, restricted to the
    candidates). Nothing is drawn: the same text has always the same answer.

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
    possible = _by_letters(text, possible)
    if len(possible) <= 1:
        return possible[0] if possible else None
    shares = _shares(text, possible)
    best = max(possible, key=lambda code: shares[code])
    return best if shares[best] >= _SURE else None


_SURE = 0.97  # share of the best language; measured on names of one or two words

# Letters beyond a to z, and letters of a to z that only foreign words have.
_LETTERS = {
    "en": ("", ""),
    "pt": ("áâãàçéêíóôõú", "kwy"),
    "tr": ("âçğıîöşûü", "qwx"),
    "de": ("äöüß", ""),
    "es": ("áéíñóúü", "kw"),
    "fr": ("àâæçéèêëîïôœùûüÿ", ""),
    "id": ("", ""),
    "it": ("àèéìîòóùú", "jkwxy"),
}
_FOREIGN_SHARE = 0.02  # of a text's letters: long texts have names and loans


def _by_letters(text: str, possible: Sequence[str]) -> list[str]:
    """Leaves out languages that do not have the text's letters, unless that leaves none."""
    counts = Counter(unicodedata.normalize("NFC", text).lower())
    letters = {letter: times for letter, times in counts.items() if letter.isalpha()}
    most = _FOREIGN_SHARE * sum(letters.values())
    remaining = []
    for code in possible:
        own, foreign = _LETTERS.get(code, (None, ""))
        strange = sum(
            times
            for letter, times in letters.items()
            if letter in foreign or (own is not None and not letter.isascii() and letter not in own)
        )
        if strange <= most:
            remaining.append(code)
    return remaining or list(possible)


def _shares(text: str, possible: Sequence[str]) -> dict[str, float]:
    """Returns how likely a text is in each language, if it is in one of them (sums to 1)."""
    languages = tuple(possible)
    logarithms = [_logarithms(group, languages) for group in _letter_groups(text)]
    # Summed in the order of the text: another order could round differently.
    sums = [sum(column) for column in zip(*filter(None, logarithms), strict=True)]
    sums = sums or [0.0] * len(languages)
    highest = max(sums)
    weights = [math.exp(value - highest) for value in sums]
    whole = sum(weights)
    return {code: weight / whole for code, weight in zip(possible, weights, strict=True)}


def _letter_groups(text: str) -> Iterator[str]:
    """Yields groups of one to three letters as langdetect's profiles count them.

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
            if letter != " ":
                yield letter
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
    return tuple(
        math.log(frequencies[rows[_PROFILE_NAMES.get(code, code)]] + _UNSEEN) for code in languages
    )


_PROFILE_NAMES = {"zh": "zh-cn"}
_UNSEEN = 5e-5  # frequency given to a group of letters that a profile does not have


@functools.lru_cache(maxsize=1)
def _profiles() -> tuple[dict[str, list[float]], dict[str, int]]:
    """Loads langdetect's frequencies of letter groups, and which column is which language's.

    File by file, because langdetect's own loop takes Ctrl-C for a broken file.
    """
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
    from langdetect.utils.lang_profile import LangProfile

    factory = DetectorFactory()
    names = [_PROFILE_NAMES.get(code, code) for code in LANGUAGES]
    for row, name in enumerate(names):
        file = Path(PROFILES_DIRECTORY, name)
        profile = LangProfile(**json.loads(file.read_text(encoding="utf-8")))
        factory.add_profile(profile, row, len(names))
    return factory.word_lang_prob_map, {name: row for row, name in enumerate(names)}
