"""An answer read once: tokens, the kinds of its words, its clauses and what they deny or doubt."""

from bisect import bisect_left
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from parrot_core.benchmarks.multilingual.folding import Token, clean, tokenize
from parrot_core.benchmarks.multilingual.lexicon import LEXICON, surface

_SENTENCE_ENDS = frozenset(".!?。;\n…؟۔।")
_CLAUSE_ENDS = _SENTENCE_ENDS | frozenset(",،、:—–()[]{}")
_OPENING = frozenset("\"'([{<*_#-–—:=~|/\\`$【「『《〈.،")
_NO_KINDS: frozenset[str] = frozenset()
_JOINING_MARKS = frozenset(",،、/&+|\"'()[]*<>")


@dataclass(frozen=True, slots=True)
class Mention:
    """A place where an answer names options.

    Attributes:
        start: Index of its first token.
        end: Index after its last token.
        letters: The options that it may mean; several only where an alphabet is ambiguous.
        reach: Index after all that it comprises: for a letter, the option's text that follows it.
    """

    start: int
    end: int
    letters: frozenset[str]
    reach: int = 0

    @property
    def after(self) -> int:
        """Index of the token where what is said of it may begin."""
        return max(self.end, self.reach)


class Reading:
    """A cleaned answer, and what can be asked of the words around a place in it."""

    def __init__(self, answer: str) -> None:
        """Reads an answer that has been unwrapped."""
        self.tokens: list[Token] = tokenize(clean(answer))
        self.parts: list[str] = surface(self.tokens)

    @cached_property
    def spoken(self) -> list[int]:
        """Indices of the tokens that are words, numbers or ideographs."""
        return [index for index, token in enumerate(self.tokens) if token.is_word]

    @cached_property
    def _kinds(self) -> list[frozenset[str]]:
        """Per token, the kinds of the longest phrase that begins there or covers it."""
        kinds = [_NO_KINDS] * len(self.parts)
        for index in range(len(self.parts)):
            for length, found in LEXICON.book.all_at(self.parts, index):
                for covered in range(index, index + length):
                    kinds[covered] |= found
        return kinds

    @cached_property
    def _certain(self) -> set[int]:
        """Indices of tokens in phrases such as "no doubt", whose negation denies nothing."""
        found = set()
        for index in range(len(self.parts)):
            for length, kinds in LEXICON.book.all_at(self.parts, index):
                if "certain" in kinds:
                    found |= set(range(index, index + length))
        return found

    def is_certain(self, index: int) -> bool:
        """Whether a token is in a phrase that affirms by a negation ("no doubt")."""
        return index in self._certain

    @cached_property
    def _clauses(self) -> list[int]:
        """Per token, the number of its clause; "but" and the like begin a new one."""
        numbers, current = [], 0
        for index, part in enumerate(self.parts):
            begins = index and "but" in self._kinds[index] and self._is_but(index)
            if begins or part in _CLAUSE_ENDS:
                current += 1
            numbers.append(current)
        return numbers

    def _is_but(self, index: int) -> bool:
        """Whether "but" is a word of its own; a lone letter, as in Russian, needs a comma."""
        lone = len(self.parts[index]) == 1 and not "\u2e80" < self.parts[index] < "\ua000"
        return not lone or self.parts[index - 1] in _CLAUSE_ENDS

    @cached_property
    def sentences(self) -> list[int]:
        """Per token, the number of its sentence."""
        numbers, current = [], 0
        for index, part in enumerate(self.parts):
            numbers.append(current)
            ends = part in _SENTENCE_ENDS
            if ends and not (part == "." and self._glued_after(index)):
                current += 1
        return numbers

    def _glued_after(self, index: int) -> bool:
        """Whether a mark is followed by a letter at once, and so stands inside an abbreviation."""
        if index + 1 >= len(self.tokens) or index == 0:
            return False
        before, mark, after = self.tokens[index - 1], self.tokens[index], self.tokens[index + 1]
        alone = len(before.text) == 1 and before.end == mark.start
        return alone and after.start == mark.end and len(after.text) == 1

    def kinds(self, index: int) -> frozenset[str]:
        """Returns the kinds of the phrases that cover a token."""
        return self._kinds[index] if 0 <= index < len(self._kinds) else frozenset()

    def kinds_beginning(self, index: int) -> set[str]:
        """Returns the kinds of the phrases that begin at a token."""
        if not 0 <= index < len(self.parts):
            return set()
        return {kind for _, kinds in LEXICON.book.all_at(self.parts, index) for kind in kinds}

    @cached_property
    def _revoked_until(self) -> list[int]:
        """Places of words that take back what stands before: "A? No, B", "I thought A, but B"."""
        tentative = next((at for at, k in enumerate(self._kinds) if "tentative" in k), None)
        return [
            index
            for index in self.spoken[1:]
            if self._takes_back(index)
            or (
                tentative is not None
                and tentative < index
                and "but" in self._kinds[index]
                and self._is_but(index)
            )
        ]

    def _takes_back(self, index: int) -> bool:
        """Whether a word at the beginning of a clause is a correction; "no" only if alone there."""
        if "revokes" not in self.kinds_beginning(index) or not self._begins_clause(index):
            return False
        return self.parts[index] not in LEXICON.plain_sides or self._begins_clause(index + 1)

    def ends_clause(self, index: int) -> bool:
        """Whether a clause is over before a token."""
        return index >= len(self.parts) or self.parts[index] in _CLAUSE_ENDS

    def _begins_clause(self, index: int) -> bool:
        return self.ends_clause(index) or (index > 0 and self.parts[index - 1] in _CLAUSE_ENDS)

    @cached_property
    def negations(self) -> list[int]:
        """Indices of the words that deny what follows them."""
        return [
            index
            for index, kinds in enumerate(self._kinds)
            if "not_before" in kinds and index not in self._certain
        ]

    @cached_property
    def _later_negations(self) -> list[int]:
        """Indices of the words that deny what stands before them."""
        return [index for index, kinds in enumerate(self._kinds) if "not_after" in kinds]

    @cached_property
    def _clause_bounds(self) -> dict[int, tuple[int, int]]:
        """By a clause's number, its first token and the one after its last."""
        bounds: dict[int, tuple[int, int]] = {}
        for index, number in enumerate(self._clauses):
            bounds[number] = (bounds.get(number, (index, 0))[0], index + 1)
        return bounds

    def is_negated(
        self,
        mention: Mention,
        *,
        negations: Sequence[int] | None = None,
        prepositions: Container[str] = (),
    ) -> bool:
        """Whether the clause denies what it mentions ("not a dog", "köpek değil").

        Args:
            mention: What is asked about.
            negations: What counts as a negation before it; left out, `Reading.negations`.
            prepositions: What right before the mention is no negation, as the `no` of "no hospital"
                in Portuguese.
        """
        begin, end = self._clause_bounds[self._clauses[mention.start]]
        before = self.negations if negations is None else negations
        last = mention.start - 1
        if last >= begin and self.parts[last] in prepositions:
            last -= 1
        return (
            _any_between(before, begin, last + 1)
            or _any_between(self._later_negations, mention.end, end)
            or "nor" in self.kinds_beginning(self._next(mention.after))
        )

    def is_doubted(self, mention: Mention) -> bool:
        """Whether the sentence of a mention says, outside of it, that one cannot tell."""
        first, last = self._doubts_by_sentence.get(self.sentences[mention.start], (-1, -1))
        return 0 <= first < mention.start or mention.end <= last

    @cached_property
    def _doubts_by_sentence(self) -> dict[int, tuple[int, int]]:
        """By a sentence's number, the first and the last token that doubts."""
        bounds: dict[int, tuple[int, int]] = {}
        for index, kinds in enumerate(self._kinds):
            if "doubt" in kinds:
                number = self.sentences[index]
                bounds[number] = (bounds.get(number, (index, 0))[0], index)
        return bounds

    @cached_property
    def doubts(self) -> bool:
        """Whether the answer says anywhere that one cannot tell."""
        return bool(self._doubts_by_sentence)

    def is_past_doubt(self, index: int) -> bool:
        """Whether nothing is doubted, or a "but" leads from the last doubt to a token."""
        return self._past_doubt <= index

    @cached_property
    def _past_doubt(self) -> int:
        """Index of the first token that no doubt concerns."""
        if not self.doubts:
            return 0
        last = max(last for _, last in self._doubts_by_sentence.values())
        after = range(last + 1, len(self.parts))
        return next((at + 1 for at in after if "but" in self._kinds[at]), len(self.parts))

    def is_announced(self, mention: Mention) -> bool:
        """Whether an announcement leads to a mention ("the correct answer is the …")."""
        steps = 0
        for index in range(mention.start - 1, -1, -1):
            kinds = self._kinds[index]
            if kinds & {"answer", "choose", "conclude"}:
                return True
            if "fillers" in kinds:
                steps += 1
            elif self.parts[index] not in _OPENING and self.parts[index] != "\n":
                break
            if steps > 8:
                break
        return "verdict" in self.kinds_beginning(self._next(mention.after))

    def is_called_option(self, mention: Mention) -> bool:
        """Whether an option noun stands before a mention ("option B") or after it."""
        before = mention.start - 1
        while before >= 0 and self.parts[before] in _OPENING:
            before -= 1
        if "option" in self.kinds(before):
            return True
        return "option_after" in self.kinds_beginning(mention.end)

    def is_rejected(self, mention: Mention) -> bool:
        """Whether a predicate right after a mention denies it ("A is wrong")."""
        return "reject" in self.kinds_beginning(self._next(mention.after))

    def _next(self, index: int) -> int:
        """Returns the next token that is a word, past closing marks and option nouns."""
        while index < len(self.parts) and (
            self.parts[index] in "\"')]*>`([-–—:" or "option_after" in self._kinds[index]
        ):
            index += 1
        return index

    def are_joined(self, first: Mention, second: Mention) -> bool:
        """Whether only "and", "or", commas or slashes stand between two mentions."""
        between = range(first.end, second.start)
        return all(
            self.parts[index] in _JOINING_MARKS
            or self._kinds[index] & {"joins", "option", "option_after"}
            or self.parts[index] in LEXICON.determiners
            for index in between
        )

    def is_alone_on_line(self, mention: Mention) -> bool:
        """Whether nothing but marks stands on the line of a mention."""
        return self._line_is_blank(mention.start, -1) and self._line_is_blank(mention.end - 1, 1)

    def is_first(self, mention: Mention) -> bool:
        """Whether no word stands before a mention."""
        return self.spoken[0] == mention.start

    def begins_line(self, mention: Mention) -> bool:
        """Whether no word stands before a mention on its line."""
        return self._line_is_blank(mention.start, -1)

    def _line_is_blank(self, index: int, step: int) -> bool:
        index += step
        while 0 <= index < len(self.parts) and self.parts[index] != "\n":
            if self.tokens[index].is_word:
                return False
            index += step
        return True

    def standing(self, mentions: Sequence[Mention]) -> list[Mention]:
        """Leaves out what is only asked, or taken back, where something else is said after it."""
        stated = [mention for mention in mentions if not self._is_asked(mention)] or list(mentions)
        last = max((mention.start for mention in stated), default=0)
        place = next((place for place in reversed(self._revoked_until) if place < last), -1)
        return [mention for mention in stated if mention.start > place]

    @cached_property
    def puts_a_question(self) -> bool:
        """Whether it repeats the question after a `Q:`."""
        return ("q", ":") in pairwise(self.parts)

    def _is_asked(self, mention: Mention) -> bool:
        """Whether the sentence of a mention is a question."""
        return self.sentences[mention.start] in self._questions

    @cached_property
    def _questions(self) -> set[int]:
        """The numbers of the sentences that end in a question mark."""
        return {self.sentences[at] for at, part in enumerate(self.parts) if part in ("?", "؟")}


def _any_between(places: Sequence[int], begin: int, end: int) -> bool:
    """Whether one of some places in order lies in `begin` … `end - 1`."""
    at = bisect_left(places, begin)
    return at < len(places) and places[at] < end


def pick(reading: Reading, mentions: Sequence[Mention]) -> frozenset[str] | None:
    """Chooses among mentions that are neither denied nor doubted.

    Returns:
        The letters of the one that is meant; the empty set where several are, or the one that is
        announced is one of a pair; None where nothing is mentioned.
    """
    if not mentions:
        return None
    announced = [mention for mention in mentions if reading.is_announced(mention)]
    if announced:
        chosen = announced[-1]
        rivals = [
            other
            for other in mentions
            if other.letters != chosen.letters
            and reading.are_joined(*sorted((chosen, other), key=lambda mention: mention.start))
        ]
        return frozenset() if rivals else chosen.letters
    distinct = {mention.letters for mention in mentions}
    return distinct.pop() if len(distinct) == 1 else frozenset()
