"""The words of `lexicon.toml`, arranged for looking up while a text is read from left to right.

All languages are known at once: which language an answer is in need not be guessed, and an answer
that mixes two is read like any other.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from parrot_core.benchmarks.multilingual.folding import Token, clean, tokenize, words
from parrot_core.languages import LANGUAGES

Phrase = tuple[str, ...]

_ARABIC_AND = re.compile(r"^[وف](?=ال\w{3})")
_NOT_PHRASES = frozenset(
    ("numbers", "round_numbers", "ordinals", "last", "pronouns", "auxiliaries", "contractions")
)


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
    """Returns what phrases are compared with: folded words, and punctuation as it stands.

    The "and" or "so" that Arabic writes together with a noun and its article is left out.
    """
    return [_ARABIC_AND.sub("", token.folded) or token.text for token in tokens]


def _phrase(text: str) -> Phrase:
    return tuple(surface(tokenize(clean(text))))


def _entries(language: dict[str, Any]) -> Iterator[tuple[Phrase, str]]:
    """Yields the phrases of a language with their kinds, in each spelling."""
    contractions = [pair.split("|") for pair in language.get("contractions", ())]
    for kind, texts in _by_kind(language):
        for text in texts:
            yield _phrase(text), kind
            for long, short in contractions:
                if long in text:
                    yield _phrase(re.sub(rf"\b{long}\b", short, text)), kind


def _by_kind(language: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yields what a language's table lists, and the short answers that it only describes."""
    for kind, texts in language.items():
        if kind not in _NOT_PHRASES:
            yield kind, texts
    answers = [
        f"{pronoun} {auxiliary}"
        for pronoun in language.get("pronouns", ())
        for auxiliary in language.get("auxiliaries", ())
    ]
    yield "yes_alone", answers
    yield "no_alone", [f"{answer} not" for answer in answers]


class Lexicon:
    """What the matcher asks of the table of words.

    Attributes:
        book: The phrases of every kind but yes and no.
        yes_no: The phrases that answer a yes/no question, doubt it, or repeat it.
        answer_words: Single words that announce an answer.
        answer_phrases: The same as phrases.
        collective: What an option says of the others, `none_of` or `all_of`, by phrase.
        merged_articles: Articles by the preposition that has swallowed them: `no` has `o`.
        own_letters: Letters of the languages that have such articles, and of no other.
        irregular: By word, the other forms of it that no rule of endings finds.
        plain_sides: Words for yes and no, which also begin a correction: "no, wait".
        short_words: One-letter words that are not option letters when a word follows.
        numbers: Value of each number word.
        round_numbers: The same for 20, 30, … 100, to which a unit may be added.
        article_numbers: Number words that are also articles.
        tens: Words that make another number of the one beside them.
        ordinals: Position (from 0) of each ordinal; -1 for "last".
        letters: Option positions (from 0) of a letter of any alphabet, folded.
    """

    def __init__(self, table: dict[str, Any]) -> None:
        """Arranges the table as `lexicon.toml` has it."""
        table = dict(table)
        alphabets, look_alikes = table.pop("alphabets"), table.pop("look_alikes")
        entries = [entry for language in table.values() for entry in _entries(language)]
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
        of_kind: dict[str, list[Phrase]] = defaultdict(list)
        for phrase, kind in entries:
            of_kind[kind].append(phrase)
        self.answer_phrases = set(of_kind["answer"])
        self.answer_words = _first_words(p for p in of_kind["answer"] if len(p) == 1)
        self.plain_sides = _first_words(
            phrase
            for kind in ("yes", "no", "yes_leading", "no_leading")
            for phrase in of_kind[kind]
        )
        self.short_words = _first_words(of_kind["articles"])
        self.determiners = _first_words(of_kind["determiners"])
        self.tens = _first_words(of_kind["tens"])
        self.markers = _first_words(of_kind["markers"])
        self.article_numbers = set(of_kind["counts_also_article"])
        self.own_letters = _first_words(of_kind["own_letters"])
        self.merged_articles = {phrase[0]: phrase[-1] for phrase in of_kind["merged_articles"]}
        self.collective = {
            phrase: kind for kind in ("none_of", "all_of") for phrase in of_kind[kind]
        }
        self.irregular: dict[str, set[str]] = defaultdict(set)
        for forms in of_kind["irregular"]:
            for form in forms:
                self.irregular[form] |= set(forms)
        self.numbers: dict[Phrase, int] = {}
        self.round_numbers: dict[Phrase, int] = {}
        self.ordinals: dict[Phrase, int] = {}
        for language in table.values():
            for value, texts in enumerate(language.get("numbers", ())):
                self.numbers.update(dict.fromkeys(map(words, texts.split("|")), value))
            for position, texts in enumerate(language.get("ordinals", ())):
                self.ordinals.update(dict.fromkeys(map(words, texts.split("|")), position))
            self.ordinals.update(dict.fromkeys(map(words, language.get("last", ())), -1))
            for tens, texts in enumerate(language.get("round_numbers", ()), start=2):
                self.round_numbers.update(dict.fromkeys(map(words, texts.split("|")), 10 * tens))
        self.letters: dict[str, set[int]] = defaultdict(set)
        for alphabet in alphabets.values():
            for position, letter in enumerate(words(" ".join(alphabet))):
                self.letters[letter].add(position)
        for letter, latin in look_alikes.items():
            self.letters[words(letter)[0]].add(ord(latin) - ord("A"))

    def joins(self, word: str) -> bool:
        """Whether a word is one for "and" or "or"."""
        return any("joins" in kinds for _, kinds in self.book.all_at((word,), 0))

    def value_of(self, phrase: Phrase) -> int | None:
        """Returns the number that a phrase names by itself."""
        value = self.numbers.get(phrase)
        return self.round_numbers.get(phrase) if value is None else value


def _first_words(phrases: Iterable[Phrase]) -> set[str]:
    return {phrase[0] for phrase in phrases}


@cache
def _load() -> Lexicon:
    text = (
        files("parrot_core.benchmarks.multilingual")
        .joinpath("lexicon.toml")
        .read_text(encoding="utf-8")
    )
    table = tomllib.loads(text)
    taken = {phrase for language in table.values() for phrase, _ in _entries(language)}
    # Of other languages, those that a user has added among them, two words are known at least,
    # unless they mean something else here: Ukrainian's yes is how a Russian begins to explain.
    for code in LANGUAGES.keys() - table.keys():
        both = {"yes_alone": LANGUAGES[code].yes, "no_alone": LANGUAGES[code].no}
        table[code] = {kind: [word] for kind, word in both.items() if _phrase(word) not in taken}
    return Lexicon(table)


LEXICON = _load()
"""The one table of words."""
