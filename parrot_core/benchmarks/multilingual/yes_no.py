"""Reading Yes or No in an answer of any language (scorer `multilingual`)."""

from dataclasses import dataclass
from itertools import pairwise

from parrot_core.benchmarks.multilingual.folding import Token, words
from parrot_core.benchmarks.multilingual.lexicon import LEXICON
from parrot_core.benchmarks.multilingual.reading import Mention, Reading
from parrot_core.benchmarks.multilingual.unwrapping import as_text, unwrap

_CLOSING = frozenset("\"'*)\n")


def infer_yes_no(prediction: object) -> str | None:
    """Returns `Yes`, `No`, or None where the answer says neither, both, or that it cannot tell.

    What is said first and set off by punctuation counts ("Yes, there is no dog"); then what follows
    an announcement ("answer: no"); then whatever side alone is named.
    """
    reading = Reading(unwrap(as_text(prediction)))
    whole = LEXICON.polarity.get(_from_first_to_last(reading))
    if whole and len(whole) == 1:
        return next(iter(whole))
    if not reading.spoken:
        return None
    finds = _standing(reading, _find(reading))
    return _set_off(reading, finds) or _announced(reading, finds) or _named(reading, finds)


def _from_first_to_last(reading: Reading) -> tuple[str, ...]:
    """Returns the parts from the first word to the last; all marks where there is no word."""
    if not reading.spoken:
        return tuple(part for part in reading.parts if part != "\n")
    return tuple(reading.parts[reading.spoken[0] : reading.spoken[-1] + 1])


@dataclass(frozen=True, slots=True)
class _Find:
    """A phrase of the yes/no book in an answer: its first token, the one after it, its kinds."""

    start: int
    end: int
    kinds: set[str]

    @property
    def mention(self) -> Mention:
        """Its place, as what is asked of a reading needs it."""
        return Mention(self.start, self.end, frozenset())

    @property
    def side(self) -> str | None:
        """The side that the phrase takes wherever it stands."""
        if self.kinds & {"yes", "yes_inside"}:
            return "Yes"
        return "No" if self.kinds & {"no", "no_inside"} else None

    @property
    def is_plain(self) -> bool:
        """Whether it is a bare word for yes or no."""
        return bool(self.kinds & {"yes", "no", "yes_leading", "no_leading"})

    @property
    def side_when_first(self) -> str | None:
        """The side that it takes at the beginning, before punctuation."""
        if self.kinds & {"yes", "yes_alone", "yes_leading"}:
            return "Yes"
        return "No" if self.kinds & {"no", "no_alone", "no_leading"} else None


def _find(reading: Reading) -> list[_Find]:
    """Finds phrases from left to right, the longest first; a repeated question is no answer.

    A short answer such as "it is not" may also begin a statement, so what stands within it and
    after is looked at too: "it is not visible", "there is none".
    """
    tokens, parts = reading.tokens, reading.parts
    finds = []
    index = 0
    while index < len(parts):
        length, kinds = LEXICON.yes_no.at(parts, index)
        if not length or _part_of_a_word(tokens, index, index + length):
            index += 1
        elif "echo" in kinds and len(parts[index]) == 1 and "answer" in reading.kinds(index - 1):
            index += 1  # 答案是否: "the answer is no", and not "whether"
        else:
            finds.append(_Find(index, index + length, kinds))
            index += 1 if kinds <= {"yes_alone", "no_alone"} else length
    return [
        find
        for find in finds
        if "echo" not in find.kinds and not reading.is_certain(find.start)
    ]  # fmt: skip


def _standing(reading: Reading, finds: list[_Find]) -> list[_Find]:
    """Leaves out what is asked, taken back or outweighed: "Yes... no, wait, no"."""
    kept = {mention.start for mention in reading.standing([find.mention for find in finds])}
    kept -= {
        second.start for first, second in pairwise(finds) if _outweighs(reading, first, second)
    }
    return [find for find in finds if find.start in kept]


def _outweighs(reading: Reading, first: _Find, second: _Find) -> bool:
    """Whether only a "than" stands between two sides: "more no than yes", "нет, чем да"."""
    between = range(first.end, second.start)
    kinds = [reading.kinds(index) for index in between]
    return (
        first.side_when_first != second.side_when_first
        and any("than" in kind for kind in kinds)
        and all(
            "than" in kind or reading.parts[index] in {",", *LEXICON.determiners}
            for index, kind in zip(between, kinds, strict=True)
        )
    )


def _part_of_a_word(tokens: list[Token], start: int, end: int) -> bool:
    """Whether a phrase is glued to a digit or hyphenated to a word, as in `Yes1` and `no-one`."""
    if not tokens[start].text[0].isascii():
        return False
    before = tokens[start - 1] if start else None
    after = tokens[end] if end < len(tokens) else None
    if after is not None and after.start == tokens[end - 1].end:
        if after.text[0].isdigit():
            return True
        hyphenated = after.text == "-" and end + 1 < len(tokens) and tokens[end + 1].is_word
        if hyphenated and tokens[end + 1].start == after.end:
            return True
    if before is None or before.end != tokens[start].start:
        return False
    hyphenated = before.text == "-" and start > 1 and tokens[start - 2].is_word
    return hyphenated or before.text[-1].isdigit()


def _is_break(tokens: list[Token], index: int) -> bool:
    """Whether a word ends its clause: the text ends, or punctuation or an emoji follows."""
    return index >= len(tokens) or not tokens[index].is_word


def _set_off(reading: Reading, finds: list[_Find]) -> str | None:
    """Reads what is said first, if it is set off from the rest: "No, it is not yes"."""
    tokens = reading.tokens
    lead = next((find for find in finds if find.start == reading.spoken[0]), None)
    if lead is None or not lead.side_when_first or not _is_break(tokens, lead.end):
        return None
    rest = [find for find in finds if find.start >= lead.end and find.is_plain]
    contradicted = any(find.side_when_first != lead.side_when_first for find in rest)
    words_after = sum(token.is_word for token in tokens[lead.end :])
    only_sides = words_after == sum(find.end - find.start for find in rest)
    return None if contradicted and only_sides else lead.side_when_first


def _announced(reading: Reading, finds: list[_Find]) -> str | None:
    """Reads what follows an announcement: "The answer to the question is: yes"."""
    result = None
    negations = _negations(reading, finds)
    for find in finds:
        side = find.side or find.side_when_first
        ends = _is_break(reading.tokens, find.end)
        if side and ends and reading.is_announced(find.mention):
            result = None if reading.is_negated(find.mention, negations=negations) else side
    return result


def _named(reading: Reading, finds: list[_Find]) -> str | None:
    """Reads the only side that is named anywhere; a doubt or a question names none."""
    finds = [find for find in finds if reading.is_past_doubt(find.start)]
    if next((part for part in reversed(reading.parts) if part not in _CLOSING), "") == "?":
        finds = [find for find in finds if find.kinds & {"yes", "no"}]
    framed = [index for index in reading.spoken if "frames" not in reading.kinds(index)]
    first = framed[0] if framed else -1
    lead = next((find for find in finds if find.start == first), None)
    if lead is not None and lead.kinds & {"yes", "no"}:  # "Yes there is no other animal"
        finds = [find for find in finds if find is lead or find.is_plain]
    negations = _negations(reading, finds)
    last_marker = max(
        (at for at, token in enumerate(reading.tokens) if token.folded in LEXICON.markers),
        default=-1,
    )
    sides, denied = set(), set()
    for find in finds:
        side = find.side
        if find.kinds & {"no_leading", "yes_leading"}:
            breaks = _is_break(reading.tokens, find.end)
            is_no = reading.parts[find.start] == "no"
            # Another language's `no` is a preposition, as in "No meio da imagem".
            is_preposition = is_no and not breaks and find.end <= last_marker
            set_off = breaks and reading.tokens[find.start].text.isascii()
            if (find.start == first or set_off or is_no) and not is_preposition:
                side = find.side_when_first
        if find.is_plain and reading.is_negated(find.mention, negations=negations):
            denied.add(find.side_when_first)
            side = "No" if side == "Yes" else None
        if side:
            sides.add(side)
    neither = len(denied) == 2  # "ni sí ni no"
    return sides.pop() if len(sides) == 1 and not neither else None


def _negations(reading: Reading, finds: list[_Find]) -> list[int]:
    """Words that deny yes or no and are not such words themselves: "not yes"."""
    plain = {index for one in finds if one.is_plain for index in range(one.start, one.end)}
    return [index for index in reading.negations if index not in plain]


def side_of_option(text: str) -> str | None:
    """Returns the side that an option's text is, if it is a word for yes or no and nothing else."""
    sides = LEXICON.polarity.get(words(text))
    return next(iter(sides)) if sides and len(sides) == 1 else None
