"""Finding option letters in an answer: Latin or native, and not the words that look like them."""

import re
from bisect import bisect_left

from parrot_core.benchmarks.multilingual.folding import Token, words
from parrot_core.benchmarks.multilingual.lexicon import LEXICON
from parrot_core.benchmarks.multilingual.reading import Mention, Reading, pick

_TURKISH_ENDING = re.compile(
    r"(?:[dt][iu]r|[yns]?[iu]n?|[yn]?[ae]|n?[iu]n|[dt][ae]n?|[yn]?[iu]|n?d[ae]n?|y?l[ae]|s[iu])"
)
_OPENERS = frozenset("\"'([{<*`$【「『《〈|#_")
_CLOSERS = frozenset("\"')]}>*`$】」』》〉|_")
_DELIMITERS = frozenset(".):、,;|/\n،]}>-–—=。")
_STRONG_DELIMITERS = frozenset(".):、|\n]}>")
_IDEOGRAPHS = re.compile(r"[\u2e80-\u9fff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")


def read_letter(
    reading: Reading, choices: dict[str, str]
) -> tuple[frozenset[str] | None, list[Mention]]:
    """Reads the option letter that an answer gives.

    Returns:
        What `pick` returns for the letters (several letters where an alphabet is ambiguous, none
        where the answer names several options), and the mentions found, denied ones included.
    """
    mentions = [
        mention
        for index in reading.spoken
        if (mention := _mention(reading, index, choices)) is not None
    ]
    if not mentions:
        return None, []
    affirmed = [
        mention
        for mention, rejected in zip(mentions, _are_rejected(reading, mentions), strict=True)
        if not rejected and not reading.is_negated(mention)
    ]
    return _choose(reading, reading.standing(affirmed)), mentions


def _are_rejected(reading: Reading, mentions: list[Mention]) -> list[bool]:
    """Whether a predicate denies each mention, alone or with others: "A and B are wrong"."""
    rejected = [reading.is_rejected(mention) for mention in mentions]
    for place in range(len(mentions) - 2, -1, -1):
        with_next = rejected[place + 1] and reading.are_joined(*mentions[place : place + 2])
        rejected[place] = rejected[place] or with_next
    return rejected


def _choose(reading: Reading, mentions: list[Mention]) -> frozenset[str] | None:
    if not mentions:
        return None
    if any(reading.is_announced(mention) for mention in mentions):
        return pick(reading, mentions)
    alone = {mention.letters for mention in mentions if reading.is_alone_on_line(mention)}
    if len(alone) == 1:
        return alone.pop()
    first, others = mentions[0], [m for m in mentions[1:] if m.letters != mentions[0].letters]
    if (
        reading.is_first(first)
        and others
        and not reading.are_joined(first, others[0])
        and reading.sentences[others[0].start] > reading.sentences[first.end - 1]
        and any(token.is_word for token in reading.tokens[first.end : others[0].start])
        and not any(_enumerates(reading, other) for other in others)
    ):
        return first.letters
    return pick(reading, mentions)


def _enumerates(reading: Reading, mention: Mention) -> bool:
    """Whether a mention repeats the list of options: begins a line, or its own text follows."""
    return reading.begins_line(mention) or mention.reach > mention.end


def _end_of_own_text(
    reading: Reading, start: int, choices: dict[str, str], letters: frozenset[str]
) -> int:
    """Returns the index after the text of a letter's option that begins at a token; 0 if none."""
    first = bisect_left(reading.spoken, start)
    for letter in letters:
        text = words(choices[letter])
        following = reading.spoken[first : first + len(text)]
        if text and tuple(reading.tokens[index].folded for index in following) == text:
            return following[-1] + 1
    return 0


def _mention(reading: Reading, index: int, choices: dict[str, str]) -> Mention | None:
    """Returns the mention of an option letter at a token, if it is one."""
    token = reading.tokens[index]
    if len(token.text) != 1 or not token.text.isalpha():
        return None
    letters = _meanings(token, choices)
    if not letters or _inside_a_word(reading, index) or _answers_a_question(reading, index):
        return None
    reach = _end_of_own_text(reading, index + 1, choices, letters)
    mention = Mention(index, index + 1, letters, reach)
    sure = token.text.isascii() and token.text.isupper()
    if sure:
        return None if _is_article(reading, index) else mention
    return mention if _weak_letter_counts(reading, mention) else None


def _meanings(token: Token, choices: dict[str, str]) -> frozenset[str]:
    latin = token.text.upper()
    if token.text.isascii():
        return frozenset((latin,)) & frozenset(choices)
    letters = list(choices)
    return frozenset(
        letters[position]
        for position in LEXICON.letters.get(token.folded, ())
        if position < len(letters)
    )


def _inside_a_word(reading: Reading, index: int) -> bool:
    """Whether a letter is part of something longer: `3D`, `A-D`, `it's`, `C'est`, `D.C.`, `°C`."""
    tokens, token = reading.tokens, reading.tokens[index]
    before = tokens[index - 1] if index and tokens[index - 1].end == token.start else None
    after = (
        tokens[index + 1]
        if index + 1 < len(tokens) and tokens[index + 1].start == token.end
        else None
    )
    if before is not None and (before.text[-1].isdigit() or before.text == "°"):
        return True
    if after is not None and after.text[0].isdigit():
        return True
    if (before is not None and _is_glued_letter(before, token)) or (
        after is not None and _is_glued_letter(after, token)
    ):
        return True
    if before is not None and before.text in "'-" and index > 1:
        earlier = tokens[index - 2]
        if earlier.is_word and earlier.end == before.start:
            return True
    if before is not None and before.text == "/" and index > 1 and tokens[index - 2].folded == "n":
        return True  # N/A: not applicable
    if after is None or index + 2 >= len(tokens) or tokens[index + 2].start != after.end:
        return False
    following = tokens[index + 2]
    if after.text == "'" and following.is_word:
        quoted = before is not None and before.text == "'"
        return not quoted and _TURKISH_ENDING.fullmatch(following.folded) is None
    if after.text in "-–" and (following.text[0].isdigit() or _is_capital(following)):
        return True
    return after.text == "." and _is_capital(following)


def _answers_a_question(reading: Reading, index: int) -> bool:
    """Whether an `A:` is the other half of a `Q:`."""
    parts = reading.parts
    return parts[index : index + 2] == ["a", ":"] and reading.puts_a_question


def _is_capital(token: Token) -> bool:
    return len(token.text) == 1 and token.text.isascii() and token.text.isupper()


def _is_glued_letter(neighbour: Token, token: Token) -> bool:
    """Whether letters of two alphabets, neither of them ideographs, are written as one word."""
    if not neighbour.is_word or not neighbour.text[0].isalpha():
        return False
    mixed = _IDEOGRAPHS.match(neighbour.text) or _IDEOGRAPHS.match(token.text)
    return not mixed and token.text.isascii() == neighbour.text[0].isascii()


def _is_article(reading: Reading, index: int) -> bool:
    """Whether a capital begins a phrase as an article or preposition does: "A dog", "E a …"."""
    token = reading.tokens[index]
    if token.folded not in LEXICON.short_words or index + 1 >= len(reading.tokens):
        return False
    following = reading.tokens[index + 1]
    if not following.is_word or not _LATIN.match(following.text):
        return False
    kinds = reading.kinds_beginning(index + 1)
    continues = kinds & {"joins", "reasons", "verdict", "reject", "option_after", "not_after"}
    return not continues or (len(following.text) == 1 and following.folded == token.folded)


def _weak_letter_counts(reading: Reading, mention: Mention) -> bool:
    """Whether a small or native letter, which could be a word, is set off as an option's letter."""
    tokens, index = reading.tokens, mention.start
    if len(reading.spoken) == 1:
        return True
    before = tokens[index - 1].text if index else ""
    after = tokens[index + 1].text if index + 1 < len(tokens) else "\n"
    if before in _OPENERS and before and after in _CLOSERS:
        return True
    ends_here = after in _DELIMITERS or after in "!?\"'*`"
    native_word = _IDEOGRAPHS.match(tokens[index].text) is not None
    if reading.is_first(mention) and (
        after in _STRONG_DELIMITERS or (after in _DELIMITERS and mention.reach > mention.end)
    ):
        return True
    if reading.begins_line(mention) and reading.is_alone_on_line(mention):
        return True
    is_word = tokens[index].folded in LEXICON.short_words or native_word
    if "option_after" in reading.kinds_beginning(index + 1):
        return True
    if reading.is_announced(mention) or reading.is_called_option(mention):
        return ends_here or (not is_word) or bool(
            reading.kinds_beginning(index + 1) & {"reasons", "joins"} and not native_word
        )  # fmt: skip
    return False
