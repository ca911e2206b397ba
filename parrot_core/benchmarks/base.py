"""What every benchmark is made of: questions, the prompts they become, and who answers them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from parrot_core.errors import UsageError

UNDETERMINED = "und"
"""ISO 639's code for a language that is not known: a table that does not say which it is in."""


class ImageSource(Protocol):
    """Where a picture lies; nothing is held until it is asked for."""

    @property
    def key(self) -> str:
        """What tells it from other pictures of the same table."""

    def load(self) -> bytes:
        """Returns the picture's file, as it was encoded.

        Raises:
            ParrotError: if it is not there any more.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One row of a benchmark's table.

    Attributes:
        index: The row's `index`, unique in its table.
        table: Name of its table: the file's, or the row's `SUB_DATASET`.
        language: Code of the language; `UNDETERMINED` where nothing says it.
        text: The question.
        hint: What to know beforehand, if anything.
        options: Option texts by capital letter, in order; empty for free and Yes/No questions.
        answer: The right letter, or Yes or No, or a reference answer; None if it is kept secret.
        category: The finer category.
        ability: The coarser one (`l2-category`).
        split: The part of the data set, `none` if the table does not say.
        images: Its pictures, in order.
        picture: What tells its pictures from others': questions of one picture belong together.
        group: What joins the rotations of one question.
        pair: What joins the two questions of a Yes/No pair.
        context: A description of the picture, for a judge that sees none.
        origin: `file:line`, for messages.
    """

    index: int
    table: str
    language: str
    text: str
    hint: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    answer: str | None = None
    category: str | None = None
    ability: str | None = None
    split: str = "none"
    images: tuple[ImageSource, ...] = ()
    picture: str | None = None
    group: int | None = None
    pair: str | None = None
    context: str | None = None
    origin: str = ""

    @property
    def key(self) -> str:
        """What tells it from every other question of a run."""
        return f"{self.table}/{self.index}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """What a model is asked: pictures, then words.

    Attributes:
        key: The question's.
        language: Code of the question's language.
        text: The words.
        images: The pictures, which stand before the words.
        candidates: Option texts by letter, if one of them is to be chosen by its likelihood as the
            answer, which is then the letter; the words do not list them.
    """

    key: str
    language: str
    text: str
    images: tuple[ImageSource, ...] = ()
    candidates: Mapping[str, str] = field(default_factory=dict)


def refuse_candidates(prompts: Sequence[Prompt], *, name: object) -> None:
    """Refuses prompts with candidates, for models that do not tell how likely an answer is.

    Raises:
        UsageError: if there are any.
    """
    if any(prompt.candidates for prompt in prompts):
        raise UsageError(
            f"{name} does not tell how likely an answer is",
            hint="Have it write its answers: --answer-by text.",
        )


class Answerer(Protocol):
    """Any model: answers prompts in batches, one answer a prompt, in the order asked."""

    @property
    def identity(self) -> dict[str, object]:
        """What its answers depend on: weights, decoding, versions. Goes into the fingerprint."""

    @property
    def batch_size(self) -> int:
        """How many prompts it takes at once."""

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Begins whatever can be done before these prompts' turn comes, and returns at once."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterable[str]:
        """Yields one answer for each prompt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """A benchmark as data: what its tables are called, and how they are scored.

    Attributes:
        name: As `--benchmark` has it.
        title: As tables of results have it.
        tables: File names without `.tsv`, in the order in which they are looked for; `{language}`
            stands for a language's code, in the toolkit's spelling or the paper's.
        languages: Codes of the languages that it has.
        form: How it is scored, one of `forms.FORMS`; None if the table decides.
        prompt_style: How questions are put, one of `prompts.STYLES`.
        answer_by: How options are answered, one of `prompts.ANSWER_BY`.
        form_tables: Further names by form, which come first where that form is asked for.
        source: Where its tables are published, `{language}` in the toolkit's spelling, if known;
            without that, it is the table of the first language.
        note: What a reader of its figures should know.
    """

    name: str
    title: str
    tables: tuple[str, ...]
    languages: tuple[str, ...] = ("en",)
    form: str | None = None
    prompt_style: str = "parrot"
    answer_by: str = "text"
    form_tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    source: str | None = None
    note: str | None = None

    def table_names(self, language: str, *, form: str | None = None) -> Iterator[str]:
        """Yields the names that the table of a language may have, the likeliest first."""
        others = [names for other, names in self.form_tables.items() if other != form]
        for names in (self.form_tables.get(form or "", ()), self.tables, *others):
            for name in names:
                for spelling in SPELLINGS.get(language, (language,)):
                    yield name.format(language=spelling)

    def find(self, language: str, folder: Path, *, form: str | None = None) -> Path | None:
        """Returns the table of a language in a folder, whatever the case of its name."""
        present = {path.name.lower(): path for path in sorted(folder.glob("*.tsv"))}
        for name in self.table_names(language, form=form):
            if found := present.get(f"{name.lower()}.tsv"):
                return found
        return None

    def address(self, language: str) -> str | None:
        """Returns where the table of a language is published, if that is known."""
        if self.source is None or (
            "{language}" not in self.source and language != self.languages[0]
        ):
            return None
        return self.source.format(language=SPELLINGS.get(language, (language,))[0])


SPELLINGS = {"zh": ("cn", "zh")}
"""The toolkit's spellings of codes, before the paper's."""
