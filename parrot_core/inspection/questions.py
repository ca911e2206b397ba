"""What a model is asked while it is watched: built-in questions, a benchmark's, or samples."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image, ImageDraw

from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.prompts import build_prompts
from parrot_core.benchmarks.runner import Settings, Task, load_task
from parrot_core.data.broken import with_place
from parrot_core.data.collate import as_messages
from parrot_core.data.images import ImageError, load_image, open_image
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


def data_conversations(
    files: Iterable[Path],
    *,
    root: Path | None = None,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, list[Asked]]:
    """The questions of data that have images, by language, put as training or evaluation does.

    Args:
        files: Benchmark tables (TSV), and samples (JSON, JSONL). The language of a sample is the
            one that it states, or else the one that the user's first turn is recognisably in;
            samples of which neither says it are passed over.
        root: Folder of the samples' images; None is each file's own.
        languages: Codes; None is all that there are.
        limit: At most so many questions of a language, drawn from all files together.
        seed: Of the drawing.

    Raises:
        UsageError: if a language has none, or there is none at all.
    """
    drawers: dict[str, _Drawer[Callable[[], Asked]]] = {
        code: _Drawer(limit, seed) for code in languages or ()
    }
    files = list(files)
    for path in files:
        found = _of_table(path) if path.suffix == ".tsv" else _of_samples(path, root, languages)
        for language, make in found:
            if languages is None or language in drawers:
                drawers.setdefault(language, _Drawer(limit, seed)).add(make)
    drawn = {code: [make() for make in drawer.drawn()] for code, drawer in drawers.items()}
    empty = [language for language, chats in drawn.items() if not chats]
    if empty or not drawn:
        raise UsageError(
            f"{', '.join(map(str, files))}: nothing with an image in "
            f"{', '.join(empty) or 'any known language'}",
            hint="Name the languages that the data have with --lang.",
        )
    return drawn if languages is not None else {code: drawn[code] for code in in_table_order(drawn)}


def _of_table(path: Path) -> Iterator[tuple[str, Callable[[], Asked]]]:
    task = load_task([path], languages=None, settings=Settings(), to_be_scored=False)
    for question in task.questions:
        if question.images:
            yield question.language, partial(_asked_as, question, task)


def _of_samples(
    path: Path, root: Path | None, languages: Sequence[str] | None
) -> Iterator[tuple[str, Callable[[], Asked]]]:
    for sample in read_samples(path):
        language = _language_of(sample, languages or PAPER_LANGUAGES) if sample.images else None
        if language is not None:
            yield language, partial(_asked_of, sample, root or path.parent)


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
        raise with_place(sample.origin, error) from error


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
    try:
        images = tuple(load_image(image, root=root) for image in sample.images)
    except ImageError as error:
        raise with_place(sample.origin, error) from error
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
