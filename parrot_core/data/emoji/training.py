"""The training samples of the picture-text set, as LLaVA records."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from parrot_core.data.emoji.concepts import Concept
from parrot_core.data.emoji.questions import ConceptPool, apportion, generator
from parrot_core.data.emoji.wording import OPTION_LETTERS, Wording
from parrot_core.data.samples import IMAGE_PLACEHOLDER
from parrot_core.languages import LANGUAGES

_QUESTIONS_THAT_TELL = ("yes_no", "choice")

Record = dict[str, Any]
"""A sample in LLaVA's format; `kind` and `concept` say besides what it asks, and about what."""


def picture_path(style: str, codepoints: str) -> str:
    """Where a picture lies, relative to the set's folder."""
    return f"images/{style}/{codepoints}.png"


def picture_samples(
    pool: ConceptPool,
    wording: Mapping[str, Wording],
    *,
    purpose: str,
    styles: Sequence[str],
    samples: Mapping[str, int],
    shares: Mapping[str, float],
    seed: int,
) -> list[Record]:
    """Makes samples about pictures, in drawn order.

    Args:
        pool: The concepts to ask about.
        wording: Templates by language.
        purpose: `stage1` or `stage2`: begins the ids and seeds the draws.
        styles: Styles whose pictures are shown.
        samples: Per concept and style, how many of each kind.
        shares: Of the languages among all samples; exact up to rounding.
        seed: Of the set.
    """
    draw = generator(seed, purpose)
    plan = [
        (concept, style, kind, asked_truly)
        for concept in pool.concepts
        for style in styles
        for kind, count in samples.items()
        for asked_truly in _alternate(count, draw)
    ]
    languages = [code for code, count in apportion(len(plan), shares).items() for _ in range(count)]
    draw.shuffle(languages)
    draw.shuffle(plan)
    records = []
    for number, ((concept, style, kind, asked_truly), code) in enumerate(
        zip(plan, languages, strict=True)
    ):
        asker = _Asker(pool, wording[code], language=code, draw=draw)
        question, answer = asker.ask(kind, concept, truly=asked_truly)
        record = _record(
            f"{purpose}-{number:06d}",
            f"{IMAGE_PLACEHOLDER}\n{question}",
            answer,
            image=picture_path(style, concept.codepoints),
        )
        records.append(record | _about(concept, kind=kind, language=code))
    return records


def text_samples(
    pool: ConceptPool,
    wording: Mapping[str, Wording],
    *,
    samples: Mapping[str, int],
    context_size: int,
    other_concepts: int,
    seed: int,
) -> list[Record]:
    """Makes samples without pictures, in drawn order: the same questions about a few words.

    Args:
        pool: The concepts to ask about.
        wording: Templates by language; every language gets equally many samples.
        samples: Per concept and language, how many of each kind.
        context_size: At most so many words of a concept in the picture's place.
        other_concepts: Of at most so many others there may be words among them, where the question
            tells which one is meant.
        seed: Of the set.
    """
    draw = generator(seed, "text")
    plan = [
        (concept, code, kind, asked_truly)
        for concept in pool.concepts
        for code in wording
        for kind, count in samples.items()
        for asked_truly in _alternate(count, draw)
    ]
    draw.shuffle(plan)
    records = []
    for number, (concept, code, kind, asked_truly) in enumerate(plan):
        asker = _Asker(pool, wording[code], language=code, draw=draw)
        others = [other for other in wording if other != code]
        if kind == "translation":
            source = draw.choice(others) if others else code
            question, answer = asker.ask_translation(concept, source=source)
        elif kind == "category":
            question, answer = asker.ask_category(concept)
        else:
            count = draw.randint(0, other_concepts) if kind in _QUESTIONS_THAT_TELL else 0
            besides = pool.wrong_answers(concept, draw, count=count)
            question, answer = asker.ask(kind, concept, truly=asked_truly, besides=besides)
            words = pool.mixed_context(
                concept, draw, languages=tuple(wording), size=context_size, others=besides
            )
            question = f"{' '.join(words)}\n{question}"
        record = _record(f"text-{number:06d}", question, answer)
        records.append(record | _about(concept, kind=kind, language=code))
    return records


def word_samples(pool: ConceptPool, wording: Mapping[str, Wording]) -> list[Record]:
    """Makes a small dictionary: what a concept is called after its keywords, language by language.

    The words of the questions follow, which are about no concept.
    """
    records = [
        _record(
            f"word-{concept.codepoints}-{code}",
            " ".join(concept.keywords[code]) or concept.names[code],
            concept.names[code],
        )
        | {"language": code, "concept": concept.codepoints}
        for concept in pool.concepts
        for code in wording
    ]
    for code, words in wording.items():
        language = LANGUAGES[code]
        for number, template in enumerate((*words.naming, *words.yes_no, *words.description)):
            question = " ".join(template.format(name="").split())
            answer = f"{language.yes} {language.no}"
            records.append(_record(f"word-{code}-{number}", question, answer) | {"language": code})
    return records


class _Asker:
    """Puts questions about concepts into one language's words."""

    def __init__(
        self, pool: ConceptPool, wording: Wording, *, language: str, draw: random.Random
    ) -> None:
        self._pool = pool
        self._wording = wording
        self._language = language
        self._draw = draw

    def put(self, kind: str, **values: str) -> str:
        """Fills one of the templates of a kind."""
        template: str = self._draw.choice(getattr(self._wording, kind))
        return template.format(**values)

    def ask(
        self, kind: str, concept: Concept, *, truly: bool, besides: Sequence[Concept] = ()
    ) -> tuple[str, str]:
        """Returns a question and its answer; a Yes/No question asked `truly` deserves a yes.

        No wrong name or option is one of `besides`.
        """
        name = concept.names[self._language]
        if kind == "naming":
            return self.put("naming"), name
        if kind == "description":
            return self.put("description"), self.put("statement", name=name)
        if kind == "yes_no":
            language = LANGUAGES[self._language]
            if truly:
                return self.put("yes_no", name=name), language.yes
            (wrong,) = self._wrong(concept, count=1, besides=besides)
            return self.put("yes_no", name=wrong.names[self._language]), language.no
        assert kind == "choice", f"no way to ask {kind!r}"
        return self._ask_choice(concept, besides=besides), name

    def ask_translation(self, concept: Concept, *, source: str) -> tuple[str, str]:
        """Asks for a name of another language in this one."""
        question = self.put("translation", name=concept.names[source])
        return question, concept.names[self._language]

    def ask_category(self, concept: Concept) -> tuple[str, str]:
        """Asks for the group that a concept belongs to."""
        question = self.put("category", name=concept.names[self._language])
        return question, self._wording.groups[concept.group]

    def _wrong(self, concept: Concept, *, count: int, besides: Sequence[Concept]) -> list[Concept]:
        drawn = self._pool.wrong_answers(concept, self._draw, count=count + len(besides))
        return [other for other in drawn if other not in besides][:count]

    def _ask_choice(self, concept: Concept, *, besides: Sequence[Concept]) -> str:
        wrong = self._wrong(concept, count=len(OPTION_LETTERS) - 1, besides=besides)
        options = [concept, *wrong]
        self._draw.shuffle(options)
        names = [option.names[self._language] for option in options]
        values = dict(zip(OPTION_LETTERS, names, strict=True))
        return self.put("choice", question=self.put("naming"), **values)


def _alternate(count: int, draw: random.Random) -> list[bool]:
    """Returns right and wrong in turn, beginning with either: half of the answers are yes."""
    first = draw.random() < 0.5
    return [(number % 2 == 0) == first for number in range(count)]


def _record(identity: str, question: str, answer: str, *, image: str | None = None) -> Record:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    shown = {} if image is None else {"image": image}
    return {"id": identity} | shown | {"conversations": turns}


def _about(concept: Concept, *, kind: str, language: str) -> Record:
    return {"language": language, "kind": kind, "concept": concept.codepoints}
