"""The words of `lexicon.toml`, arranged for looking up while a text is read from left to right.

All languages are known at once: which language an answer is in need not be guessed, and an answer
that mixes two is read like any other.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from parrot_core.benchmarks.multilingual.folding import Token, clean, tokenize, words

Phrase = tuple[str, ...]


class PhraseBook:
    """Phrases and the kinds they are of; finds the longest phrase at a place."""

    def __init__(self, entries: Iterable[tuple[Phrase, str]]) -> None:
        """Arranges phrases by their first word."""
        by_first: dict[str, dict[Phrase, set[str]]] = defaultdict(lambda: defaultdict(set))
        for phrase, kind in entries:
            by_first[phrase[0]][phrase].add(kind)
        self._by_first = {
            first: sorted(phrases.items(), key=lambda item: -len(item[0]))
            for first, phrases in by_first.items()
        }

    def at(self, parts: Sequence[str], index: int) -> tuple[int, set[str]]:
        """Returns the length of the longest phrase that begins at an index, and its kinds."""
        for phrase, kinds in self._by_first.get(parts[index], ()):
            if tuple(parts[index : index + len(phrase)]) == phrase:
                return len(phrase), kinds
        return 0, set()

    def all_at(self, parts: Sequence[str], index: int) -> list[tuple[int, set[str]]]:
        """Returns every phrase that begins at an index, longest first."""
        candidates = self._by_first.get(parts[index])
        if candidates is None:
            return []
        return [
            (len(phrase), kinds)
            for phrase, kinds in candidates
            if len(phrase) == 1 or tuple(parts[index : index + len(phrase)]) == phrase
        ]


def surface(tokens: Sequence[Token]) -> list[str]:
    """Returns what phrases are compared with: folded words, and punctuation as it stands."""
    return [token.folded or token.text for token in tokens]


def _phrase(text: str) -> Phrase:
    return tuple(surface(tokenize(clean(text))))


class Lexicon:
    """What the matcher asks of the table of words.

    Attributes:
        book: The phrases of every kind but yes and no.
        yes_no: The phrases that answer a yes/no question, doubt it, or repeat it.
        answer_words: Single words that announce an answer.
        answer_phrases: The same as phrases.
        short_words: One-letter words that are not option letters when a word follows.
        numbers: Value of each number word.
        article_numbers: Number words that are also articles.
        tens: Words that make another number of the one beside them.
        ordinals: Position (from 0) of each ordinal; -1 for "last".
        letters: Option positions (from 0) of a letter of any alphabet, folded.
    """

    def __init__(self, table: dict[str, Any]) -> None:
        """Arranges the table as `lexicon.toml` has it."""
        table = dict(table)
        alphabets, look_alikes = table.pop("alphabets"), table.pop("look_alikes")
        entries = [
            (_phrase(text), kind)
            for language in table.values()
            for kind, texts in language.items()
            for text in texts
            if kind not in ("numbers", "ordinals", "last")
        ]
        yes_no_kinds = {
            "yes", "no", "yes_alone", "no_alone", "yes_leading", "no_leading",
            "yes_inside", "no_inside",
            "echo", "doubt",
        }  # fmt: skip
        self.book = PhraseBook(
            entry for entry in entries if entry[1] not in yes_no_kinds - {"doubt"}
        )
        self.yes_no = PhraseBook(entry for entry in entries if entry[1] in yes_no_kinds)
        self.polarity: dict[Phrase, set[str]] = defaultdict(set)
        for phrase, kind in entries:
            side, _, place = kind.partition("_")
            if side in ("yes", "no") and place in ("", "alone", "leading"):
                self.polarity[phrase].add("Yes" if side == "yes" else "No")
        self.answer_phrases = {phrase for phrase, kind in entries if kind == "answer"}
        self.answer_words = {phrase[0] for phrase in self.answer_phrases if len(phrase) == 1}
        self.short_words = {phrase[0] for phrase, kind in entries if kind == "articles"}
        self.determiners = {phrase[0] for phrase, kind in entries if kind == "determiners"}
        self.tens = {phrase[0] for phrase, kind in entries if kind == "tens"}
        self.markers = {phrase[0] for phrase, kind in entries if kind == "markers"}
        self.numbers: dict[Phrase, int] = {}
        self.ordinals: dict[Phrase, int] = {}
        self.article_numbers = {p for p, kind in entries if kind == "counts_also_article"}
        for language in table.values():
            for value, texts in enumerate(language.get("numbers", ())):
                self.numbers.update(dict.fromkeys(map(words, texts.split("|")), value))
            for position, texts in enumerate(language.get("ordinals", ())):
                self.ordinals.update(dict.fromkeys(map(words, texts.split("|")), position))
            self.ordinals.update(dict.fromkeys(map(words, language.get("last", ())), -1))
        self.letters: dict[str, set[int]] = defaultdict(set)
        for alphabet in alphabets.values():
            for position, letter in enumerate(words(" ".join(alphabet))):
                self.letters[letter].add(position)
        for letter, latin in look_alikes.items():
            self.letters[words(letter)[0]].add(ord(latin) - ord("A"))


@cache
def _load() -> Lexicon:
    text = (
        files("parrot_core.benchmarks.multilingual")
        .joinpath("lexicon.toml")
        .read_text(encoding="utf-8")
    )
    return Lexicon(tomllib.loads(text))


LEXICON = _load()
"""The one table of words."""
