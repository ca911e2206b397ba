"""What a model is asked: turns, their pictures, and the language that is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from parrot_core.data.collate import Messages
from parrot_core.data.samples import IMAGE_PLACEHOLDER
from parrot_core.languages import PAPER_LANGUAGES, get_language, identify


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """What a model is to answer: turns in the words of chat templates, their images in order."""

    messages: Messages
    images: tuple[Image.Image, ...] = ()


def ask(
    question: str,
    *,
    images: Sequence[Image.Image] = (),
    language: str | None = None,
    history: Sequence[dict[str, str]] = (),
) -> Conversation:
    """Puts a question about images that come before it.

    Args:
        question: In any language.
        images: That the question is the first to show.
        language: Code of the language to answer in. A question that is recognisably in another one
            is followed by the request to answer in this one, in its own words.
        history: Earlier turns.
    """
    shown = "".join(f"{IMAGE_PLACEHOLDER}\n" for _ in images)
    turn = {"role": "user", "content": f"{shown}{with_request(question, language)}"}
    return Conversation(messages=[*history, turn], images=tuple(images))


def with_request(question: str, language: str | None) -> str:
    """Adds the request to answer in a language where the question is recognisably in another."""
    if language is not None and written_in(question, language) not in (None, language):
        return f"{question} {get_language(language).answer_request}"
    return question


def written_in(text: str, expected: str) -> str | None:
    """Says in which language a text is: the expected one or a widely used one, None if unclear."""
    return identify(text, tuple(sorted({expected, *PAPER_LANGUAGES})))
