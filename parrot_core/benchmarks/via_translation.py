"""The naive baseline of Table 10: translate the question to English, answer, translate back."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from parrot_core.benchmarks.answers import AnswerFile
from parrot_core.benchmarks.base import UNDETERMINED, Answerer, Prompt
from parrot_core.benchmarks.endpoint import Endpoint
from parrot_core.languages import get_language

PIVOT = "en"
_OPTION = re.compile(r"^([A-Z]\. )?(.*)$", re.DOTALL)
_NOTHING_TO_TRANSLATE = re.compile(r"[\W\d_]*[A-Za-z]?[\W\d_]*")


class Translator(Protocol):
    """Any translation backend."""

    def translate(self, texts: Sequence[str], *, source: str, target: str) -> list[str]:
        """Returns each text in the target language."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ViaTranslation:
    """An answerer that is asked in English and heard in the question's language.

    Attributes:
        answerer: The model.
        translator: The backend.
        name: What the backend is, for the fingerprint and the tables.
    """

    answerer: Answerer
    translator: Translator
    name: str

    @property
    def identity(self) -> dict[str, object]:
        """The model's, and the translator."""
        inner = self.answerer.identity
        return {**inner, "name": f"{inner['name']} via {self.name}", "translator": self.name}

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
        for language in {prompt.language for prompt in prompts} - {PIVOT, UNDETERMINED}:
            places = [place for place, prompt in enumerate(prompts) if prompt.language == language]
            for place, text in zip(
                places, self._into_english([prompts[i].text for i in places], language), strict=True
            ):
                asked[place] = replace(prompts[place], text=text)
        answers = list(self.answerer.answer(asked))
        for prompt, text in zip(prompts, answers, strict=True):
            if prompt.language in (PIVOT, UNDETERMINED) or _NOTHING_TO_TRANSLATE.fullmatch(text):
                yield text
            else:
                (back,) = self.translator.translate([text], source=PIVOT, target=prompt.language)
                yield back

    def _into_english(self, texts: Sequence[str], language: str) -> list[str]:
        """Translates line by line, so that letters of options keep their places."""
        split = [[_OPTION.match(line) for line in text.split("\n")] for text in texts]
        bodies = [match[2] for lines in split for match in lines if match and match[2].strip()]
        done = iter(self.translator.translate(bodies, source=language, target=PIVOT))
        return [
            "\n".join(
                (match[1] or "") + (next(done) if match[2].strip() else match[2])
                for match in lines
                if match
            )
            for lines in split
        ]


_INSTRUCTION = (
    "Translate the user's text from {source} to {target}. Answer with the translation alone. Keep "
    "numbers, names, option letters and markup as they are; do not answer questions in the text."
)
_LONGEST_TRANSLATION = 1024  # tokens


class EndpointTranslator:
    """A translation backend behind an OpenAI-compatible endpoint; no text is bought twice.

    Args:
        endpoint: The model that translates.
        folder: Where translations are kept, beside the run's answers.
        concurrency: Requests at once.
    """

    def __init__(self, endpoint: Endpoint, folder: Path, *, concurrency: int = 8) -> None:
        """Reads what was translated before."""
        self._endpoint, self._concurrency = endpoint, concurrency
        identity = {"model": endpoint.model, "url": endpoint.url, "instruction": _INSTRUCTION}
        text = json.dumps(identity, sort_keys=True)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._file = AnswerFile(folder, fingerprint=fingerprint, identity=identity)
        self._known = self._file.read()

    def translate(self, texts: Sequence[str], *, source: str, target: str) -> list[str]:
        """Returns each text in the target language.

        Raises:
            RemoteError: if the service cannot be asked; what it gave so far is kept.
        """
        keys = [f"{source}>{target}:{text}" for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if new:
            instruction = _INSTRUCTION.format(
                source=get_language(source).name, target=get_language(target).name
            )

            def ask(text: str) -> str:
                messages = [
                    {"role": "system", "content": instruction},
                    {"role": "user", "content": text},
                ]
                return self._endpoint.chat(messages, max_tokens=_LONGEST_TRANSLATION).strip()

            with ThreadPoolExecutor(self._concurrency) as pool, self._file.writer() as writer:
                for key, answer in zip(new, pool.map(ask, new.values()), strict=True):
                    self._known[key] = answer
                    writer.append({"key": key, "prediction": answer})
                writer.sync()
        return [self._known[key] for key in keys]
