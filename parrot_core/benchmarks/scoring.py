"""From answers to scores: vanilla, circular, Yes/No pairs, MME, POPE.

Each rule comes twice where the toolkit's has a defect: as the toolkit computes it, for its scorers,
and as its description says. Shares are in 0..1; MME's and POPE's own scales are kept beside them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.matching import DEFAULT_SCORER, infer_option, infer_yes_no
from parrot_core.benchmarks.statistics import Share, share
from parrot_core.benchmarks.toolkit_cells import toolkit_columns
from parrot_core.errors import UsageError

ROTATION = 1_000_000
"""A rotation's index is its question's plus a multiple of this (MMBench)."""

ABILITIES = {
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}
"""MMBench's abilities, abbreviated as its tables have them."""

PERCEPTION = (
    "OCR", "artwork", "celebrity", "color", "count", "existence", "landmark", "position",
    "posters", "scene",
)  # fmt: skip
COGNITION = ("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """An answer to a question, read and judged.

    Attributes:
        question: What was asked.
        prediction: What was answered.
        inferred: The letter, Yes or No that was read in it; None where none could be.
        hit: Whether it is right.
    """

    question: Question
    prediction: object
    inferred: str | None
    hit: bool

    @property
    def is_unreadable(self) -> bool:
        """Whether nothing could be read in the answer."""
        return self.inferred in (None, "Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What a form of scoring finds in the answers to one table or language.

    Attributes:
        main: The figure that stands for all.
        splits: Per split, shares by name: `Overall`, abilities, categories.
        extra: Further shares by name, as question accuracy beside pair accuracy.
        points: Figures on scales of their own, by name.
        units: The hit or miss of everything that `main` counts, by key, for comparing runs.
        notes: What a reader should know.
    """

    main: Share
    splits: dict[str, dict[str, Share]] = field(default_factory=dict)
    extra: dict[str, Share] = field(default_factory=dict)
    points: dict[str, float] = field(default_factory=dict)
    units: dict[str, bool] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def grade(
    questions: Sequence[Question],
    predictions: Mapping[str, object],
    *,
    scorer: str = DEFAULT_SCORER,
) -> list[Graded]:
    """Reads and judges the answers to questions.

    Args:
        questions: In the order of their table.
        predictions: Answers by the question's key; questions without one are left out.
        scorer: One of `matching.SCORERS`; the toolkit's also read a table's cells as it does.

    Raises:
        UsageError: if a question has no right answer to compare with.
    """
    answered = [question for question in questions if question.key in predictions]
    refuse_secret(answered)
    said = [predictions[question.key] for question in answered]
    choices: Sequence[Mapping[str, str]] = [question.options for question in answered]
    if scorer != DEFAULT_SCORER:
        choices, said = toolkit_columns(choices, said)
    return [
        _grade_one(question, prediction, options, scorer=scorer)
        for question, prediction, options in zip(answered, said, choices, strict=True)
    ]


def refuse_secret(questions: Sequence[Question]) -> None:
    """Refuses to score questions whose right answers are not told.

    Raises:
        UsageError: with the first of them.
    """
    secret = [question for question in questions if question.answer is None]
    if secret:
        raise UsageError(
            f"{secret[0].origin}: no answer to compare with, as in {len(secret)} of "
            f"{len(questions)} questions",
            hint="Fill the column `answer`; a split that keeps its answers secret is not scored.",
        )


def _grade_one(
    question: Question, prediction: object, options: Mapping[str, str], *, scorer: str
) -> Graded:
    answer = question.answer or ""
    if question.options:
        inferred = infer_option(prediction, options, scorer=scorer)
        hit = inferred == answer
    else:
        inferred = infer_yes_no(prediction, scorer=scorer)
        # The toolkit compares with the table's spelling: an answer written `yes` is never right.
        hit = inferred == (answer if scorer != DEFAULT_SCORER else answer.capitalize())
    return Graded(question=question, prediction=prediction, inferred=inferred, hit=hit)


def vanilla(graded: Sequence[Graded]) -> Scores:
    """Scores each row by itself."""
    return Scores(
        main=share([answer.hit for answer in graded]),
        splits=_by_split([(answer.question, answer.hit) for answer in graded]),
        units={answer.question.key: answer.hit for answer in graded},
    )


def circular(
    graded: Sequence[Graded], questions: Sequence[Question], *, as_toolkit: bool = False
) -> Scores:
    """Scores a question right only if all its rotations are (MMBench; section 2.4 of the paper).

    Args:
        graded: Answers.
        questions: Every row of the table, by which missing rotations are noticed.
        as_toolkit: Judge by the rows that were answered, and drop groups without their first row.

    Raises:
        UsageError: if a rotation is missing or was not answered, unless scored as the toolkit does.
    """
    groups: dict[tuple[str, int], list[Graded]] = defaultdict(list)
    for answer in graded:
        groups[_group(answer.question)].append(answer)
    if not as_toolkit:
        _refuse_incomplete_groups(questions)
        refuse_missing(questions, {answer.question.key for answer in graded})
    results = []
    for (_, number), answers in sorted(groups.items()):
        first = next((one for one in answers if one.question.index == number), None)
        if first is None and not as_toolkit:
            first = min(answers, key=lambda one: one.question.index)
        if first is not None:
            results.append((first.question, all(answer.hit for answer in answers)))
    return Scores(
        main=share([hit for _, hit in results]),
        splits=_by_split(results),
        extra={
            "first rotation": share(
                [one.hit for one in graded if one.question.index == _group(one.question)[1]]
            ),
            "every rotation by itself": share([one.hit for one in graded]),
        },
        units={question.key: hit for question, hit in results},
    )


def _group(question: Question) -> tuple[str, int]:
    number = question.index % ROTATION if question.group is None else question.group
    return question.table, number


def _refuse_incomplete_groups(questions: Iterable[Question]) -> None:
    """Refuses a table in which a question has fewer rows than options: one rotation for each."""
    groups: dict[tuple[str, int], list[Question]] = defaultdict(list)
    for question in questions:
        groups[_group(question)].append(question)
    for (table, number), rows in groups.items():
        options = max(len(question.options) for question in rows)
        if len(rows) < options:
            raise UsageError(
                f"question {number} of {table} has {len(rows)} rotations of its {options} options",
                hint="Complete the table, or score it with --form 'multiple choice'.",
            )


def refuse_missing(questions: Iterable[Question], answered: set[str]) -> None:
    """Refuses to score a table that is not answered in full.

    Raises:
        UsageError: with the first rows that have no answer.
    """
    missing = [question for question in questions if question.key not in answered]
    if missing:
        named = ", ".join(str(question.index) for question in missing[:5])
        raise UsageError(
            f"{len(missing)} of the rows have no answer (index {named}"
            + (", …)" if len(missing) > 5 else ")"),
            hint="Answer every row and every rotation; the toolkit's scorers ignore gaps.",
        )


def _by_split(results: Sequence[tuple[Question, bool]]) -> dict[str, dict[str, Share]]:
    """Shares per split, by `Overall`, ability and category; of two of one name, the category's."""
    splits: dict[str, list[tuple[Question, bool]]] = defaultdict(list)
    for question, hit in results:
        splits[question.split].append((question, hit))
    table = {}
    for split, rows in sorted(splits.items()):
        columns = {"Overall": share([hit for _, hit in rows])}
        columns.update(_by(rows, lambda question: _abbreviated(question.ability)))
        columns.update(_by(rows, lambda question: question.category))
        table[split] = columns
    return table


def _abbreviated(ability: str | None) -> str | None:
    return None if ability is None else ABILITIES.get(ability, ability)


def _by(
    rows: Sequence[tuple[Question, bool]], name_of: Callable[[Question], str | None]
) -> dict[str, Share]:
    hits: dict[str, list[bool]] = defaultdict(list)
    for question, hit in rows:
        name = name_of(question)
        if name is not None:
            hits[name].append(hit)
    return {name: share(values) for name, values in sorted(hits.items())}


def yes_no_pairs(graded: Sequence[Graded], questions: Sequence[Question]) -> Scores:
    """Scores an instance right only if both of its questions are (section 2.4, figure 10).

    A pair is what shares a `pair_id`, or else a picture, within a table.

    Raises:
        UsageError: if a pair is not one Yes and one No question, or is not answered in full.
    """
    asked = _pairs(questions)
    hits = {answer.question.key: answer.hit for answer in graded}
    results = []
    for pair in asked:
        missing = [question.index for question in pair if question.key not in hits]
        if missing:
            raise UsageError(
                f"index {missing[0]} has no answer: its pair cannot be scored",
                hint="Answer both questions of every pair.",
            )
        results.append((pair[0], all(hits[question.key] for question in pair)))
    return Scores(
        main=share([hit for _, hit in results]),
        splits=_by_split(results),
        extra={"question accuracy": share(list(hits.values()))},
        units={question.key: hit for question, hit in results},
    )


def _pairs(questions: Sequence[Question]) -> list[list[Question]]:
    pairs: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in questions:
        name = question.pair or question.picture
        if name is None:
            raise UsageError(
                f"{question.origin}: neither `pair_id` nor a picture says which pair it is of",
                hint="Add a column `pair_id` with the same text in both rows of a pair.",
            )
        pairs[question.table, name].append(question)
    for (table, name), members in pairs.items():
        sides = sorted((question.answer or "").lower() for question in members)
        if sides != ["no", "yes"]:
            raise UsageError(
                f"pair {name!r} of {table} has the answers {', '.join(sides)}",
                hint="A pair is one question answered Yes and one answered No.",
            )
    return list(pairs.values())


def mme(graded: Sequence[Graded], *, as_toolkit: bool = False) -> Scores:
    """Scores MME: accuracy plus acc+ per category, perception and cognition as their sums.

    acc+ is the share of pictures all of whose questions are right; the toolkit looks at the first
    two only. `points` holds each category's 0..200, and the sums.

    Raises:
        UsageError: if a picture has a single question, or rows do not say their picture.
    """
    by_category: dict[str, list[Graded]] = defaultdict(list)
    for answer in graded:
        by_category[answer.question.category or "none"].append(answer)
    points: dict[str, float] = {}
    plus: list[bool] = []
    for category, answers in sorted(by_category.items()):
        pictures: dict[str, list[bool]] = defaultdict(list)
        for answer in answers:
            pictures[_picture(answer.question)].append(answer.hit)
        both = [_whole(hits, name, as_toolkit=as_toolkit) for name, hits in pictures.items()]
        accuracy = sum(answer.hit for answer in answers) / len(answers)
        points[category] = 100 * accuracy + 100 * sum(both) / len(both)
        plus += both
    notes = []
    for total, members in (("perception", PERCEPTION), ("reasoning", COGNITION)):
        missing = [name for name in members if name not in points]
        points[total] = sum(points[name] for name in members if name in points)
        if missing:
            notes.append(f"{total} is a sum without {', '.join(missing)}, which the table lacks")
    base = vanilla(graded)
    return Scores(
        main=base.main,
        splits=base.splits,
        extra={"accuracy plus (all questions of a picture)": share(plus)},
        points=points,
        units=base.units,
        notes=tuple(notes),
    )


def _picture(question: Question) -> str:
    if question.picture is None:
        raise UsageError(
            f"{question.origin}: nothing says which picture it asks about",
            hint="MME is scored per picture: add a column `image_path`.",
        )
    return question.picture


def _whole(hits: Sequence[bool], picture: str, *, as_toolkit: bool) -> bool:
    if len(hits) < 2:
        raise UsageError(
            f"picture {picture!r} has a single question",
            hint="MME asks two of every picture, one answered Yes and one answered No.",
        )
    return all(hits[:2]) if as_toolkit else all(hits)


def pope(graded: Sequence[Graded], *, as_toolkit: bool = False) -> Scores:
    """Scores POPE: F1, accuracy, precision and recall, where Yes is positive (Li et al., 2023).

    `points` holds them times 100, overall and per category as `category/figure`. A row may be of
    several categories, set off by commas; the toolkit then counts it as often in the overall
    figures too.
    """
    categories: dict[str, list[Graded]] = defaultdict(list)
    for answer in graded:
        for category in (answer.question.category or "").split(","):
            categories[category].append(answer)
    repeated = [answer for answers in categories.values() for answer in answers]
    points = dict(_positive(repeated if as_toolkit else graded))
    if len(categories) > 1 or "" not in categories:
        for category, answers in sorted(categories.items()):
            points.update({f"{category}/{name}": v for name, v in _positive(answers).items()})
    base = vanilla(graded)
    return Scores(main=base.main, splits=base.splits, points=points, units=base.units)


def _positive(graded: Sequence[Graded]) -> dict[str, float]:
    said = [answer.inferred == "Yes" for answer in graded]
    true = [(answer.question.answer or "").lower() == "yes" for answer in graded]
    both = sum(a and b for a, b in zip(said, true, strict=True))
    right = sum(answer.hit for answer in graded)
    precision = both / sum(said) if any(said) else 0.0
    recall = both / sum(true) if any(true) else 0.0
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return {
        "Overall": 100 * f1,
        "acc": 100 * right / len(graded) if graded else 0.0,
        "precision": 100 * precision,
        "recall": 100 * recall,
    }
