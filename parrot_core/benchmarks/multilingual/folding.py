"""Text made comparable: one form of every letter, and words.

Everything here is about writing, not about language: what a language's words mean is in
`lexicon.toml`.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_EMOJI_LETTERS = str.maketrans({"🅰": "A", "🅱": "B", "🅾": "O"})

_HIDDEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_ARABIC_MARKS = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0640]")
_ONE_FORM = str.maketrans(
    {
        "ı": "i",
        "\u0307": None,  # what casefold leaves of the capital dotted I
        "ё": "е",
        "أ": "ا",
        "إ": "ا",
        "آ": "ا",
        "ٱ": "ا",
        "ى": "ي",
        "ة": "ه",
        "ی": "ي",
        "ک": "ك",
    }
)
# Traditional forms of the characters that `lexicon.toml` is written with; other words of Chinese
# are compared as they stand.
_SIMPLIFIED = str.maketrans(
    "沒對會選擇項錯誤確應該為與還並圖畫個無樣實當結論終這裡說難斷題問張總數",
    "没对会选择项错误确应该为与还并图画个无样实当结论终这里说难断题问张总数",
)
_QUOTES = str.maketrans(
    {"‘": "'", "’": "'", "ʼ": "'", "`": "'", "´": "'", "“": '"', "”": '"', "«": '"', "»": '"'}
)

_HAN = (
    r"\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_MARKS = r"\u0300-\u036f\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0e31-\u0e4e"
_TOKEN = re.compile(
    rf"[{_HAN}]"
    r"|(?<![\w.)])[-−]\d+(?:[.,/:]\d+)*|\d+(?:[.,/:]\d+)*"
    rf"|(?:[^\W\d_{_HAN}][{_MARKS}]*)+"
    r"|\n|[^\w\s]|_"
)
_SCRIPT_RUN = re.compile(
    r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff\u0300-\u036f]+|[^A-Za-z\u00c0-\u024f\u1e00-\u1eff]+"
)


class Token(NamedTuple):
    """A word, number, ideograph, line end or punctuation mark.

    Attributes:
        text: As written, in compatibility form.
        folded: In comparable form; empty for punctuation.
        start: Index of its first character in the cleaned text.
        end: Index after its last character.
    """

    text: str
    folded: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        """Whether it is a word, a number or an ideograph."""
        return bool(self.folded)


def clean(text: str) -> str:
    """Returns a text in compatibility form: full-width and presentation forms made ordinary."""
    if text.isascii():
        return text.translate(_QUOTES)
    text = unicodedata.normalize("NFKC", text.translate(_EMOJI_LETTERS))
    return _ARABIC_MARKS.sub("", _HIDDEN.sub("", text)).translate(_QUOTES)


def fold(text: str) -> str:
    """Returns a cleaned text in the form in which words are compared.

    Upper and lower case, the dotted and dotless i of Turkish, the hamza and vowel marks of Arabic,
    and ё become one.
    """
    if text.isascii():
        return text.lower()
    folded = text.casefold().translate(_ONE_FORM).translate(_SIMPLIFIED)
    return unicodedata.normalize("NFC", folded)


def without_accents(word: str) -> str:
    """Returns a word without accents: what people type on a keyboard that lacks them."""
    if word.isascii():
        return word
    plain = unicodedata.normalize("NFD", word)
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def tokenize(text: str) -> list[Token]:
    """Splits a cleaned text into tokens; Latin letters end where another script begins."""
    return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        found, start = match[0], match.start()
        if not (found[0].isalnum() or found[-1].isdigit()):
            yield Token(found, "", start, match.end())
        elif len(found) == 1 or found.isascii():
            yield Token(found, fold(found), start, match.end())
        else:
            for run in _SCRIPT_RUN.finditer(found):
                yield Token(run[0], fold(run[0]), start + run.start(), start + run.end())


@lru_cache(maxsize=65536)
def words(text: str) -> tuple[str, ...]:
    """Returns the folded words of a text, uncleaned, without punctuation."""
    return tuple(token.folded for token in tokenize(clean(text)) if token.folded)
