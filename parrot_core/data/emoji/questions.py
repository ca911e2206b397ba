"""What is asked about a concept, before it is put into words: wrong names, contexts, shares.

Every draw is from a generator seeded with the set's seed and a purpose, so that asking for more of
one thing changes nothing else.
"""

import random
from collections.abc import Mapping, Sequence

from parrot_core.data.emoji.concepts import Concept, comparable
from parrot_core.data.emoji.wording import OPTION_LETTERS
from parrot_core.errors import UsageError
from parrot_core.languages import LANGUAGES

_SHARE_OF_NAMES = 0.75


def generator(seed: int, purpose: str) -> random.Random:
    """Returns the generator of one purpose; the same on every machine and Python version."""
    return random.Random(f"{seed}/{purpose}")


def apportion(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Splits a number by shares that add up to 1, by largest remainders; ties go to the first."""
    exact = {key: total * share for key, share in shares.items()}
    parts = {key: int(amount) for key, amount in exact.items()}
    by_remainder = sorted(exact, key=lambda key: parts[key] - exact[key])
    for key in by_remainder[: total - sum(parts.values())]:
        parts[key] += 1
    return parts


class ConceptPool:
    """Concepts that can stand against each other as wrong answers.

    A wrong answer must be wrong. One concept is no wrong answer for another where the CLDR lists
    the name of either among the other's keywords in some language, or one name contains the other
    (a dog is no wrong answer for a dog's face).

    Args:
        concepts: Those to draw from.

    Raises:
        UsageError: if some concept has fewer wrong answers than a choice needs.
    """

    def __init__(self, concepts: Sequence[Concept]) -> None:
        """Works out once who may stand against whom."""
        self.concepts = tuple(concepts)
        self._words = [_words(concept) for concept in concepts]
        self._position = {concept.codepoints: index for index, concept in enumerate(concepts)}
        confusable = self._confusable()
        self._wrong = [
            [other for other in range(len(concepts)) if other not in confusable[index]]
            for index in range(len(concepts))
        ]
        needed = len(OPTION_LETTERS) - 1
        if poor := [concepts[i] for i, wrong in enumerate(self._wrong) if len(wrong) < needed]:
            raise UsageError(
                f"{len(concepts)} concepts are too few: {poor[0].codepoints} has fewer than "
                f"{needed} wrong answers among them",
                hint="Select more concepts.",
            )

    def wrong_answers(self, concept: Concept, draw: random.Random, *, count: int) -> list[Concept]:
        """Draws different concepts that the picture of this one does not show."""
        wrong = self._wrong[self._position[concept.codepoints]]
        return [self.concepts[index] for index in draw.sample(wrong, count)]

    def context(
        self, concept: Concept, draw: random.Random, *, languages: Sequence[str], size: int
    ) -> list[str]:
        """Draws up to `size` words, each of a language of its own, that speak of a concept.

        Three words in four are its names, the others keywords, which other concepts may share.
        """
        words = []
        for _ in range(draw.randint(1, size)):
            language = draw.choice(languages)
            keywords = concept.keywords[language]
            is_name = not keywords or draw.random() < _SHARE_OF_NAMES
            words.append(concept.names[language] if is_name else draw.choice(keywords))
        return words

    def mixed_context(
        self,
        concept: Concept,
        draw: random.Random,
        *,
        languages: Sequence[str],
        size: int,
        others: Sequence[Concept],
    ) -> list[str]:
        """Draws words that speak of a concept and of others, each concept's words together.

        What a picture shows is seldom certain; these are the words for it.
        """
        spoken_of = [concept, *others]
        draw.shuffle(spoken_of)
        contexts = [self.context(one, draw, languages=languages, size=size) for one in spoken_of]
        return [word for words in contexts for word in words]

    def _confusable(self) -> list[set[int]]:
        """Returns, for each concept, itself and those that are no wrong answers for it."""
        owners = {
            (code, comparable(name)): index
            for index, concept in enumerate(self.concepts)
            for code, name in concept.names.items()
        }
        confusable = [{index} for index in range(len(self.concepts))]
        for index, concept in enumerate(self.concepts):
            for code, name in concept.names.items():
                for key in self._words[index][code] | _parts(comparable(name), code=code):
                    other = owners.get((code, key), index)
                    confusable[index].add(other)
                    confusable[other].add(index)
        return confusable


def _words(concept: Concept) -> dict[str, frozenset[str]]:
    return {
        code: frozenset(map(comparable, (name, *concept.keywords[code])))
        for code, name in concept.names.items()
    }


def _parts(name: str, *, code: str) -> frozenset[str]:
    """Returns every run of a name's words, or of its characters where words are not spaced."""
    is_spaced = "CJK" not in LANGUAGES[code].scripts
    units, joint = (name.split(), " ") if is_spaced else (list(name), "")
    return frozenset(
        joint.join(units[start:end])
        for start in range(len(units))
        for end in range(start + 1, len(units) + 1)
    )
