"""The benchmarks of the picture-text set, in VLMEvalKit's columns.

Which concepts are asked about, against which wrong answers, and where the right one stands, is
drawn once and put into every language: the languages are asked the same (section 2.1 of the paper,
consistent content).
"""

import base64
import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parrot_core.data.emoji.concepts import Concept
from parrot_core.data.emoji.questions import ConceptPool, generator
from parrot_core.data.emoji.training import picture_path
from parrot_core.data.emoji.wording import OPTION_LETTERS, Wording
from parrot_core.errors import UsageError

NAMING_COLUMNS = ("index", "image", "question", *OPTION_LETTERS, "answer", "category", "split")
YES_NO_COLUMNS = ("index", "image", "question", "answer", "category", "split", "pair_id")

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class NamingQuestion:
    """A picture of `concept` and four names; `options` holds the concepts in the order shown."""

    concept: Concept
    options: tuple[Concept, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class YesNoPair:
    """A picture of `concept`, asked about with its own name and with that of `wrong`.

    Attributes:
        concept: What is shown.
        wrong: What is not.
        is_right_first: Whether the question with the right name comes first.
    """

    concept: Concept
    wrong: Concept
    is_right_first: bool


def draw_naming(pool: ConceptPool, *, count: int, purpose: str, seed: int) -> list[NamingQuestion]:
    """Draws naming questions about different concepts; each letter is right equally often.

    Raises:
        UsageError: if there are fewer concepts than questions.
    """
    draw = generator(seed, f"{purpose}/naming")
    questions = []
    letters = [number % len(OPTION_LETTERS) for number in range(count)]
    draw.shuffle(letters)
    concepts = _draw_concepts(pool, draw, count=count, what="naming questions")
    for concept, place in zip(concepts, letters, strict=True):
        options = pool.wrong_answers(concept, draw, count=len(OPTION_LETTERS) - 1)
        options.insert(place, concept)
        questions.append(NamingQuestion(concept=concept, options=tuple(options)))
    return questions


def draw_yes_no(pool: ConceptPool, *, count: int, purpose: str, seed: int) -> list[YesNoPair]:
    """Draws Yes/No pairs about different concepts.

    Raises:
        UsageError: if there are fewer concepts than pairs.
    """
    draw = generator(seed, f"{purpose}/yes-no")
    pairs = []
    for concept in _draw_concepts(pool, draw, count=count, what="Yes/No pairs"):
        (wrong,) = pool.wrong_answers(concept, draw, count=1)
        first = draw.random() < 0.5
        pairs.append(YesNoPair(concept=concept, wrong=wrong, is_right_first=first))
    return pairs


def naming_rows(
    questions: Sequence[NamingQuestion],
    wording: Wording,
    *,
    language: str,
    style: str,
    split: str,
    root: Path,
) -> list[Row]:
    """Puts naming questions into a language, with the pictures of a style in base64."""
    rows = []
    for index, question in enumerate(questions, start=1):
        names = (option.names[language] for option in question.options)
        rows.append(
            {
                "index": str(index),
                "image": _base64_picture(root, style, question.concept),
                "question": wording.naming[0],
                **dict(zip(OPTION_LETTERS, names, strict=True)),
                "answer": OPTION_LETTERS[question.options.index(question.concept)],
                "category": question.concept.group,
                "split": split,
            }
        )
    return rows


def yes_no_rows(
    pairs: Sequence[YesNoPair],
    wording: Wording,
    *,
    language: str,
    style: str,
    split: str,
    root: Path,
) -> list[Row]:
    """Puts Yes/No pairs into a language; a pair's second row refers to the picture of its first."""
    rows = []
    for number, pair in enumerate(pairs, start=1):
        asked = [(pair.concept, "Yes"), (pair.wrong, "No")]
        if not pair.is_right_first:
            asked.reverse()
        first = 2 * number - 1
        pictures = (_base64_picture(root, style, pair.concept), str(first))
        for place, ((concept, answer), picture) in enumerate(zip(asked, pictures, strict=True)):
            rows.append(
                {
                    "index": str(first + place),
                    "image": picture,
                    "question": wording.yes_no[0].format(name=concept.names[language]),
                    "answer": answer,
                    "category": pair.concept.group,
                    "split": split,
                    "pair_id": str(number),
                }
            )
    return rows


def write_tsv(path: Path, rows: Sequence[Row], *, columns: Sequence[str]) -> None:
    """Writes rows as a tab-separated file with a header, quoted only where needed."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _draw_concepts(
    pool: ConceptPool, draw: random.Random, *, count: int, what: str
) -> list[Concept]:
    if count > len(pool.concepts):
        raise UsageError(
            f"{count} {what} need as many concepts, {len(pool.concepts)} are selected",
            hint="Ask for fewer, or select more concepts.",
        )
    return draw.sample(pool.concepts, count)


def _base64_picture(root: Path, style: str, concept: Concept) -> str:
    data = (root / picture_path(style, concept.codepoints)).read_bytes()
    return base64.b64encode(data).decode()
