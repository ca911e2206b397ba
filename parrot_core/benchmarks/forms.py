"""The forms that a benchmark can have, how they are told apart, and how each is scored."""

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from parrot_core.benchmarks import scoring
from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.matching import DEFAULT_SCORER
from parrot_core.benchmarks.scoring import Graded, Scores
from parrot_core.errors import UsageError

FORMS = {
    "multiple choice": "each question by itself (vanilla)",
    "circular": "right only if every rotation of the options is",
    "yes/no pairs": "right only if both questions of a pair are (the paper, section 2.4)",
    "yes/no": "each question by itself",
    "mme": "accuracy and accuracy plus per category, summed",
    "pope": "F1 with Yes as positive",
    "judged": "free answers, rated by a judge against a reference",
    "fidelity": "free answers, of which only the language is looked at",
}
"""Every form, and what it counts."""

FREE = frozenset(("judged", "fidelity"))
"""The forms whose answers are not matched with a right one."""

_SAYS_CIRCULAR = re.compile(r"mmbench|ccbench|circular|mmcr", re.IGNORECASE)
_POPE_CATEGORIES = frozenset(("random", "popular", "adversarial"))


def check_form(form: str) -> str:
    """Returns the name of a form.

    Raises:
        UsageError: if there is none of that name.
    """
    if form in FORMS:
        return form
    near = difflib.get_close_matches(form, FORMS, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"unknown form {form!r}", hint=f"{hint}Forms are: {', '.join(FORMS)}.")


def detect_form(questions: Sequence[Question]) -> str:
    """Returns the form that a table's questions have.

    Options make it multiple choice, circular where the table's name says so (as the toolkit goes
    by) or rotations are there; answers Yes and No make it Yes/No questions, of MME or POPE by their
    categories, in pairs where each picture or `pair_id` has one of each.

    Raises:
        UsageError: if the questions are of no one kind.
    """
    with_options = [question for question in questions if question.options]
    if with_options:
        if len(with_options) != len(questions):
            odd = next(question for question in questions if not question.options)
            raise UsageError(
                f"{odd.origin}: no options, while other rows have some",
                hint="Ask one kind at a time: --data 'FOLDER/NAME_*.tsv' takes some of the tables.",
            )
        named = any(_SAYS_CIRCULAR.search(question.table) for question in questions[:1])
        return "circular" if named or _has_rotations(questions) else "multiple choice"
    answers = {(question.answer or "").lower() for question in questions}
    if not answers <= {"yes", "no"}:
        return "judged"
    categories = {question.category for question in questions}
    if categories <= {*scoring.PERCEPTION, *scoring.COGNITION}:
        return "mme"
    flat = {part for category in categories for part in (category or "").split(",")}
    if flat <= _POPE_CATEGORIES:
        return "pope"
    return "yes/no pairs" if _has_pairs(questions) else "yes/no"


def _has_rotations(questions: Sequence[Question]) -> bool:
    """Whether rows repeat a question with the same options in another order."""
    if any(question.group is not None for question in questions):
        return True
    rotated = [question for question in questions if question.index >= scoring.ROTATION]
    if not rotated:
        return False
    first = {(question.table, question.index): question for question in questions}
    return any(
        (main := first.get((question.table, question.index % scoring.ROTATION))) is not None
        and Counter(main.options.values()) == Counter(question.options.values())
        for question in rotated
    )


def _has_pairs(questions: Sequence[Question]) -> bool:
    if any(question.pair is not None for question in questions):
        return True
    sides: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for question in questions:
        sides[question.table, question.picture].append((question.answer or "").lower())
    return all(
        name[1] is not None and sorted(pair) == ["no", "yes"] for name, pair in sides.items()
    )


def score(
    form: str, graded: Sequence[Graded], questions: Sequence[Question], *, scorer: str
) -> Scores:
    """Scores the answers to the questions of one language.

    Args:
        form: One of `FORMS`, but not of `FREE`.
        graded: Answers, read and judged.
        questions: Every question of the language, answered or not.
        scorer: The toolkit's scorers also score as it does where it has defects.

    Raises:
        UsageError: if answers are missing, unless scored as the toolkit does.
    """
    as_toolkit = scorer != DEFAULT_SCORER
    if form == "circular":
        return scoring.circular(graded, questions, as_toolkit=as_toolkit)
    if form == "yes/no pairs":
        return scoring.yes_no_pairs(graded, questions)
    if not as_toolkit:
        scoring.refuse_missing(questions, {answer.question.key for answer in graded})
    if form == "mme":
        return scoring.mme(graded, as_toolkit=as_toolkit)
    if form == "pope":
        return scoring.pope(graded, as_toolkit=as_toolkit)
    if form in ("multiple choice", "yes/no"):
        return scoring.vanilla(graded)
    raise ValueError(f"form {form!r} is not scored by matching")
