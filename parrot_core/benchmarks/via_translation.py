"""The naive baseline of Table 10: translate the question to English, answer, translate back."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from parrot_core.benchmarks.base import UNDETERMINED, Answerer, Prompt
from parrot_core.benchmarks.prompts import english_instructions

PIVOT = "en"
_OPTION = re.compile(r"^([A-Z]\. )?(.*)$", re.DOTALL)
_NOTHING_TO_TRANSLATE = re.compile(r"[\W\d_]*[A-Za-z]?[\W\d_]*")


class Translator(Protocol):
    """Any translation backend."""

    @property
    def identity(self) -> Mapping[str, object]:
        """All that its translations depend on; `name` is what tables call it."""
        ...

    def translate(self, texts: Sequence[str], *, source: str, target: str) -> list[str]:
        """Returns each text in the target language."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ViaTranslation:
    """An answerer that is asked in English and heard in the question's language.

    Attributes:
        answerer: The model.
        translator: The backend.
    """

    answerer: Answerer
    translator: Translator

    @property
    def identity(self) -> dict[str, object]:
        """The model's, and the translator."""
        inner, translator = self.answerer.identity, self.translator.identity
        name = f"{inner['name']} via {translator['name']}"
        return {**inner, "name": name, "translator": dict(translator)}

    @property
    def batch_size(self) -> int:
        """The model's."""
        return self.answerer.batch_size

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Lets the model prepare; pictures need no translation."""
        self.answerer.prepare(prompts)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[str]:
        """Yields the answers in the language of each question; letters stay letters."""
        asked = list(prompts)
        for language in _foreign(prompts):
            places = [place for place, prompt in enumerate(prompts) if prompt.language == language]
            english = self._into_english([prompts[place].text for place in places], language)
            for place, text in zip(places, english, strict=True):
                options = prompts[place].candidates
                names = self._into_english(list(options.values()), language)
                candidates = dict(zip(options, names, strict=True))
                asked[place] = replace(prompts[place], text=text, candidates=candidates)
        answers = list(self.answerer.answer(asked))
        for language in _foreign(prompts):
            places = [
                place
                for place, prompt in enumerate(prompts)
                if prompt.language == language
                and not _NOTHING_TO_TRANSLATE.fullmatch(answers[place])
            ]
            texts = [answers[place] for place in places]
            back = self.translator.translate(texts, source=PIVOT, target=language)
            for place, text in zip(places, back, strict=True):
                answers[place] = text
        yield from answers

    def _into_english(self, texts: Sequence[str], language: str) -> list[str]:
        """Translates line by line, so that letters of options keep their places.

        Instructions that were put in English stay as they are.
        """
        split = [[_OPTION.match(line) for line in text.split("\n")] for text in texts]
        ready = english_instructions()
        bodies = [
            match[2]
            for lines in split
            for match in lines
            if match and match[2].strip() and match[2] not in ready
        ]
        done = self.translator.translate(bodies, source=language, target=PIVOT)
        english = dict(zip(bodies, done, strict=True))
        return [
            "\n".join(
                (match[1] or "") + english.get(match[2], match[2]) for match in lines if match
            )
            for lines in split
        ]


def _foreign(prompts: Sequence[Prompt]) -> list[str]:
    """Returns the languages that need translation, in a fixed order."""
    return sorted({prompt.language for prompt in prompts} - {PIVOT, UNDETERMINED})
