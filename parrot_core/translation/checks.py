"""Checks of a translation against its source: what is unusable, and what is suspicious."""

import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from parrot_core.languages import LANGUAGES, identify, script_of
from parrot_core.translation.glossary import missing_terms
from parrot_core.translation.protection import lost_parts, plain_words

CHECKS_VERSION = "3"
"""Part of every result's key: a result is judged anew when the checks change."""

FLAGS = {
    "protected": "a placeholder, markup, code, link, formula, number or option letter is lost",
    "script": "most letters are not of the target language's script",
    "language": "the text is in another language than asked for",
    "untranslated": "the source came back as it went",
    "length": "the translation is much longer or shorter than its source",
    "glossary": "a term of the glossary is missing",
    "comment": "the model spoke about the translation",
    "recheck-failed": "no usable answer to the re-check; the draft stands",
    "refine-failed": "no usable answer to a refinement; the text before it stands",
    "vote-failed": "no usable vote; the first version with fewest faults stands",
}
"""Flags that a segment can carry, in words."""

# How many letters of an alphabet say as much as one sign of the script.
_SIGN_WEIGHT = {"CJK": 3.0, "HIRAGANA": 2.0, "KATAKANA": 2.0, "HANGUL": 2.2}
_RATIO = (0.35, 2.8)
_RATIO_FROM = 24  # weighted letters: shorter texts count as many, since they vary too much
_COPY_WORDS = 4
_LANGUAGE_WORDS = 8

# What models that were trained in English say, whatever language they are to write.
_REFUSALS = re.compile(
    r"^\W*(?:"
    r"(?:i['’]?m|i am) (?:very |really )?(?:sorry|unable|not able)|sorry, (?:but )?i|"  # noqa: RUF001
    r"i (?:can['’]?t|cannot|can not|won['’]?t) (?:help|assist|translate|provide|fulfil|comply|do)|"  # noqa: RUF001
    r"as an ai|i apologi[sz]e|unfortunately,? i (?:can|am)"
    r")",
    re.IGNORECASE,
)
# Those of them that are no translation into English either.
_CERTAIN_REFUSALS = re.compile(
    r"^\W*(?:(?:i['’]?m|i am) (?:very |really )?sorry,? (?:but )?|sorry,? (?:but )?)?i "  # noqa: RUF001
    r"(?:can['’]?t|cannot|can not|won['’]?t|am unable to|am not able to) "  # noqa: RUF001
    r"(?:assist with|help with (?:that|this)|translate|fulfil|comply)|^\W*as an ai",
    re.IGNORECASE,
)
_COMMENTS = re.compile(
    r"^\W*(?:here(?:['’]?s| is| are)|sure[,!]|certainly[,!]|of course[,!]|(?:the )?(?:corrected |"  # noqa: RUF001
    r"refined |final )?translation\b[^\n]{0,40}:)|"
    r"^\W*(?:###|\*\*)?\s*(?:source|draft|translation) \([A-Z][a-z]+\)",
    re.IGNORECASE,
)
_NO_WORD = re.compile(r"^\W+")
_THINKING = re.compile(r"^\s*<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)
_QUOTES = {'"': '"', "“": "”", "«": "»", "「": "」", "'": "'", "„": "“", "`": "`"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A suspicion about a translation: a key of `FLAGS`, and what was seen."""

    kind: str
    detail: str


def clean(output: str, source: str) -> str:
    """Removes what models put around an answer: thoughts, and quotation marks the source lacks."""
    text = _THINKING.sub("", output).strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and source[:1] not in _QUOTES:
        inner = text[1:-1].strip()
        if inner and text[0] not in inner and text[-1] not in inner:
            return inner
    return text


def refusal(output: str, source: str, *, source_language: str, language: str) -> bool:
    """Says whether a model declined instead of translating, unless the source itself apologises."""
    if any(word in source.casefold() for word in LANGUAGES[source_language].apologies):
        return False
    if language == "en":
        return bool(_CERTAIN_REFUSALS.match(output))
    begins = _NO_WORD.sub("", output).casefold()
    return bool(_REFUSALS.match(output)) or begins.startswith(LANGUAGES[language].apologies)


def check(
    source: str,
    output: str,
    *,
    source_language: str,
    language: str,
    glossary: Mapping[str, str],
) -> list[Flag]:
    """Returns what is suspicious about a translation; an empty list if nothing is."""
    flags = [Flag(kind="protected", detail=part) for part in lost_parts(source, output)]
    flags += [Flag(kind="glossary", detail=term) for term in missing_terms(glossary, output)]
    if _COMMENTS.match(output) and not _COMMENTS.match(source):
        flags.append(Flag(kind="comment", detail=f"it begins with {output[:40]!r}"))
    words = plain_words(output)
    for translation in glossary.values():  # terms that stay as they are say nothing
        words = words.replace(translation, " ")
    flags += _language_flags(source, words, source_language=source_language, language=language)
    low, high = _RATIO
    size, length = _weight(plain_words(source)), _weight(plain_words(output))
    # A short text may double, but a model that rambles about it does not stop at that.
    if length > high * max(size, _RATIO_FROM) or (size >= _RATIO_FROM and length < low * size):
        flags.append(
            Flag(kind="length", detail=f"{length / max(size, 1):.2f} times the source's length")
        )
    return flags


@functools.lru_cache(maxsize=4096)  # steps often leave a text as it was
def _language_flags(
    source: str, words: str, *, source_language: str, language: str
) -> tuple[Flag, ...]:
    plain_source = plain_words(source).split()
    telling = language != source_language and len(plain_source) >= _COPY_WORDS
    if telling and _folded(" ".join(plain_source)) == _folded(words):
        return (Flag(kind="untranslated", detail="it is the source"),)
    script = script_of(words)
    if script is None:
        return ()
    if script not in LANGUAGES[language].scripts and len(plain_source) > 1:
        return (Flag(kind="script", detail=f"most letters are {script.title()}"),)
    # Scripts without spaces have no words to be counted: four letters stand for one.
    several = max(len(words.split()), _weight(words) / 4) >= _LANGUAGE_WORDS
    candidates = list(LANGUAGES) if several else [source_language, language]
    found = identify(words, list(dict.fromkeys(candidates)))
    if found is not None and found != language and telling:
        return (Flag(kind="language", detail=f"it reads as {LANGUAGES[found].name}"),)
    return ()


def _folded(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def _weight(text: str) -> float:
    """Letters of a text, each sign of a dense script counted as the letters it stands for."""
    return sum(map(_weight_of_sign, text))


@functools.cache  # there are only so many signs
def _weight_of_sign(sign: str) -> float:
    if not sign.isalnum():
        return 0.0
    return _SIGN_WEIGHT.get(unicodedata.name(sign, "").split(" ")[0].split("-")[0], 1.0)
