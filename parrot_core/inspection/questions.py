"""What a model is asked while it is watched: built-in questions, a benchmark's, or samples."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image, ImageDraw

from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.prompts import build_prompts
from parrot_core.benchmarks.runner import Settings, Task, load_task
from parrot_core.data.collate import as_messages
from parrot_core.data.images import load_image, open_image
from parrot_core.data.samples import IMAGE_PLACEHOLDER, Sample, read_samples
from parrot_core.errors import UsageError
from parrot_core.generation import Conversation, ask
from parrot_core.languages import LANGUAGES, PAPER_LANGUAGES, get_language, identify

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(Conversation):
    """A conversation that ends with the user's turn, and what the data have for an answer.

    Attributes:
        answers: The right answer, in each wording in which a model may say it, the answer in words
            first: an option's text and its letter, or Yes in the question's language and in
            English. Empty where the data have none.
        candidates: All options, where the most likely one is the model's answer.
    """

    answers: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()


def built_in_conversations(
    languages: Iterable[str], *, pictures: Sequence[Image.Image] | None = None
) -> dict[str, list[Asked]]:
    """The table's questions in each language about the pictures given, or else about plain shapes.

    Raises:
        UsageError: if the table has no questions in a language, as it may be with a user's own.
    """
    shown = list(pictures) if pictures else _drawn_shapes()
    conversations = {}
    for language in languages:
        if not LANGUAGES[language].questions:
            raise UsageError(
                f"no built-in questions in {language!r}",
                hint="Give it `questions` in its table, or give --data.",
            )
        conversations[language] = [
            _asked(ask(question, images=[picture]))
            for question in LANGUAGES[language].questions
            for picture in shown
        ]
    return conversations


def benchmark_conversations(
    tables: Sequence[Path],
    *,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, list[Asked]]:
    """The questions of benchmark tables, put as an evaluation would put them, by language.

    Args:
        tables: TSV files, of one benchmark or several.
        languages: Codes; None is all there are.
        limit: At most so many questions of a language, drawn from all of them.
        seed: Of the drawing.

    Raises:
        UsageError: if a language has no question with an image.
    """
    drawers: dict[str, _Drawer[tuple[Question, Task]]] = {
        code: _Drawer(limit, seed) for code in languages or ()
    }
    for table in tables:
        task = load_task([table], languages=None, settings=Settings(), to_be_scored=False)
        for question in task.questions:
            if question.images and (languages is None or question.language in drawers):
                drawers.setdefault(question.language, _Drawer(limit, seed)).add((question, task))
    found = {
        language: [_asked_as(question, task) for question, task in drawer.drawn()]
        for language, drawer in drawers.items()
    }
    source = ", ".join(str(table) for table in tables)
    return _checked(found, source=source, ordered=languages is not None)


def sample_conversations(
    path: Path,
    *,
    root: Path,
    languages: Sequence[str] | None = None,
    limit: int,
    seed: int = 0,
) -> dict[str, list[Asked]]:
    """The samples of a training file that have images, by language.

    The language is the one that a sample states, or else the one that the user's first turn is
    recognisably in; samples of which neither says it are passed over.

    Args:
        path: JSON or JSONL.
        root: Folder of the images.
        languages: Codes; None is all that there are.
        limit: At most so many samples of a language, drawn from all of them.
        seed: Of the drawing.

    Raises:
        UsageError: if a language has none.
    """
    drawers: dict[str, _Drawer[Sample]] = {code: _Drawer(limit, seed) for code in languages or ()}
    for sample in read_samples(path):
        language = _language_of(sample, languages or PAPER_LANGUAGES) if sample.images else None
        if language is None or (languages is not None and language not in drawers):
            continue
        drawers.setdefault(language, _Drawer(limit, seed)).add(sample)
    found = {
        language: [_asked_of(sample, root) for sample in drawer.drawn()]
        for language, drawer in drawers.items()
    }
    return _checked(found, source=str(path), ordered=languages is not None)


def _checked(
    found: dict[str, list[Asked]], *, source: str, ordered: bool
) -> dict[str, list[Asked]]:
    """Languages in the order asked for, or else in that of their table, the paper's first.

    Raises:
        UsageError: if one has nothing, or there is none.
    """
    empty = [language for language, chats in found.items() if not chats]
    if empty or not found:
        raise UsageError(
            f"{source}: nothing with an image in {', '.join(empty) or 'any known language'}",
            hint="Name the languages that the data have with --lang.",
        )
    if ordered:
        return found
    return {code: found[code] for code in in_table_order(found)}


def in_table_order(codes: Iterable[str]) -> list[str]:
    """Each code once, in the order of the table of languages, those that it lacks at the end."""
    order = {code: place for place, code in enumerate(LANGUAGES)}
    return sorted(dict.fromkeys(codes), key=lambda code: order.get(code, len(order)))


class _Drawer(Generic[Item]):
    """Draws items evenly from however many come, and holds no more than it draws."""

    def __init__(self, count: int | None, seed: int) -> None:
        self._count = count
        self._random = random.Random(seed)
        self._kept: list[tuple[int, Item]] = []
        self._seen = 0

    def add(self, item: Item) -> None:
        """Takes note of the next item."""
        if self._count is None or len(self._kept) < self._count:
            self._kept.append((self._seen, item))
        elif (place := self._random.randrange(self._seen + 1)) < self._count:
            self._kept[place] = (self._seen, item)
        self._seen += 1

    def drawn(self) -> list[Item]:
        """What was drawn, in the order in which it came."""
        return [item for _, item in sorted(self._kept, key=lambda entry: entry[0])]


def _language_of(sample: Sample, candidates: Sequence[str]) -> str | None:
    if sample.language is None:
        said = next((turn.text for turn in sample.turns if turn.role == "human"), "")
        return identify(said.replace(IMAGE_PLACEHOLDER, ""), candidates)
    try:
        return get_language(sample.language).code
    except UsageError as error:
        raise UsageError(f"{sample.origin}: {error.problem}", hint=error.hint) from error


def _asked_as(question: Question, task: Task) -> Asked:
    """Puts a benchmark's question as an evaluation would."""
    (prompt,) = build_prompts(
        [question], style=task.prompt_style, form=task.form, answer_by=task.answer_by
    )
    images = [open_image(source.load()) for source in prompt.images]
    chat = ask(prompt.text, images=images)
    answers = _wordings(question)
    if not prompt.candidates:
        return _asked(chat, answers)
    candidates = tuple(prompt.candidates.values())
    return _asked(chat, answers[:1], candidates)  # no letters are shown, so none is an answer


def _asked_of(sample: Sample, root: Path) -> Asked:
    messages = as_messages(sample)
    answers = (messages.pop()["content"],) if messages[-1]["role"] == "assistant" else ()
    images = tuple(load_image(image, root=root) for image in sample.images)
    return Asked(messages=messages, images=images, answers=answers)


def _asked(
    conversation: Conversation, answers: tuple[str, ...] = (), candidates: tuple[str, ...] = ()
) -> Asked:
    return Asked(
        messages=conversation.messages,
        images=conversation.images,
        answers=answers,
        candidates=candidates,
    )


def _wordings(question: Question) -> tuple[str, ...]:
    """How the right answer may be said, in words first."""
    answer = question.answer
    if not answer:
        return ()
    if answer in question.options:
        return (question.options[answer], answer)
    language = LANGUAGES.get(question.language)
    if language is not None and answer.lower() in ("yes", "no"):
        return (language.yes if answer.lower() == "yes" else language.no, answer)
    return (answer,)


def _drawn_shapes() -> list[Image.Image]:
    """Three shapes in three colours: pictures that need no file and belong to no language."""
    pictures = []
    for shape in ("ellipse", "rectangle", "polygon"):
        for colour in ("firebrick", "seagreen", "royalblue"):
            picture = Image.new("RGB", (224, 224), "white")
            pencil = ImageDraw.Draw(picture)
            if shape == "polygon":
                pencil.polygon([(112, 32), (200, 192), (24, 192)], fill=colour)
            else:
                getattr(pencil, shape)((32, 32, 192, 192), fill=colour)
            pictures.append(picture)
    return pictures
