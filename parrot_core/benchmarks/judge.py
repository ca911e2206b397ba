"""LLaVA-Bench: a judge rates two free answers without seeing the picture (Liu et al., 2023).

The wording of the judge's task is the benchmark's own, to the letter, since ratings depend on it.
Reviews are kept like answers are. One in which no two ratings can be read is counted apart and
never averaged in; a judge that is down is an error, and nothing is scored in its name.
"""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from parrot_core.benchmarks.answers import AnswerFile, fingerprint_of
from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.endpoint import Endpoint, ask_at_once
from parrot_core.benchmarks.report import (
    LanguageReport,
    Provenance,
    Report,
    as_free,
    language_fidelity,
    order_languages,
)
from parrot_core.benchmarks.scoring import Scores
from parrot_core.benchmarks.statistics import Share, ratio_interval, share
from parrot_core.errors import UsageError

SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
_TASK = (
    "We would like to request your feedback on the performance of two AI assistants in response "
    "to the user question displayed above. The user asks the question on observing an image. For "
    "your reference, the visual content in the image is represented with a few sentences "
    "describing the image. \n"
    "Please rate the helpfulness, relevance, accuracy, level of details of their responses. Each "
    "assistant receives an overall score on a scale of 1 to 10, where a higher score indicates "
    "better overall performance.\n"
    "Please first output a single line containing only two values indicating the scores for "
    "Assistant 1 and 2, respectively. The two scores are separated by a space.\n"
    "In the subsequent line, please provide a comprehensive explanation of your evaluation, "
    "avoiding any potential bias and ensuring that the order in which the responses were "
    "presented does not affect your judgment."
)
_TEMPERATURE = 0.2
_LONGEST_REVIEW = 1024  # tokens
_AT_ONCE = 8  # reviews asked for at the same time
_RATING = r"(\d+(?:\.\d+)?)(?:\s*/\s*10)?"
_TWO_RATINGS = re.compile(rf"^[^\w-]*{_RATING}\s*[,;\s]\s*{_RATING}\W*$")
_NAMED_RATINGS = re.compile(
    rf"assistant\s*1\W*{_RATING}.{{0,40}}?assistant\s*2\W*{_RATING}", re.IGNORECASE | re.DOTALL
)
_LOWEST, _HIGHEST = 1.0, 10.0

Ratings = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """Who rates.

    Attributes:
        endpoint: The judge's model, pinned by name.
    """

    endpoint: Endpoint

    @property
    def identity(self) -> dict[str, object]:
        """What reviews depend on."""
        return {
            "judge": self.endpoint.model,
            "url": self.endpoint.url,
            "temperature": _TEMPERATURE,
            "task": fingerprint_of({"system": SYSTEM, "task": _TASK}),
        }

    def review(
        self, question: Question, prediction: str, stop: threading.Event | None = None
    ) -> str:
        """Returns the judge's words on an answer.

        Args:
            question: With its reference answer.
            prediction: The answer.
            stop: Once it is set, the judge is not asked again.

        Raises:
            RemoteError: if the judge cannot be asked.
        """
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": judge_prompt(question, prediction)},
        ]
        return self.endpoint.chat(
            messages, max_tokens=_LONGEST_REVIEW, temperature=_TEMPERATURE, stop=stop
        )


def judge_prompt(question: Question, prediction: str) -> str:
    """Returns what the judge reads: the picture in words, the question, and both answers."""
    return (
        f"[Context]\n{question.context or ''}\n\n"
        f"[Question]\n{question.text}\n\n"
        f"[Assistant 1]\n{question.answer or ''}\n\n[End of Assistant 1]\n\n"
        f"[Assistant 2]\n{prediction}\n\n[End of Assistant 2]\n\n"
        f"[System]\n{_TASK}\n\n"
    )


def parse_review(review: str, *, as_toolkit: bool = False) -> Ratings | None:
    """Returns the ratings of the reference and of the model, or None where they cannot be read.

    Args:
        review: The judge's words.
        as_toolkit: Take only what the toolkit takes: the first line, two numbers, one blank.
    """
    first = review.split("\n")[0]
    if as_toolkit:
        parts = first.replace(",", " ").split(" ")
        try:
            return (float(parts[0]), float(parts[1])) if len(parts) == 2 else None
        except ValueError:
            return None
    line = next((line for line in review.splitlines() if line.strip()), "")
    match = _TWO_RATINGS.match(line) or _NAMED_RATINGS.search(review)
    if match is None:
        return None
    ratings = (float(match[1]), float(match[2]))
    return ratings if all(_LOWEST <= rating <= _HIGHEST for rating in ratings) else None


def relative_scores(ratings: Sequence[tuple[str, float, float]]) -> dict[str, dict[str, float]]:
    """Returns the three figures of LLaVA-Bench, overall and per category, rounded to 0.1.

    Args:
        ratings: (category, the model's rating, the reference's), 1 to 10.
    """
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for category, model, reference in ratings:
        groups["overall"].append((model, reference))
        groups[category].append((model, reference))
    table = {}
    for name, pairs in groups.items():
        model, reference = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        table[name] = {
            "Relative Score (main)": round(100 * model / reference, 1),
            "VLM Score": round(10 * model, 1),
            "GPT4 Score": round(10 * reference, 1),
        }
    return table


def judged_report(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    judge: Judge,
    *,
    output: Path,
    provenance: Provenance,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Has answers rated, and reports their scores relative to the reference answers.

    Args:
        questions: With a reference answer and the picture in words.
        predictions: Answers by the question's key.
        judge: Who rates.
        output: The run's folder; reviews are kept in `judge/` below it.
        provenance: Where the answers come from.
        on_progress: Told how many of how many answers are rated.

    Raises:
        UsageError: if a question has no reference answer.
        RemoteError: if the judge cannot be asked; the reviews so far are kept.
    """
    for question in questions:
        if not question.answer or not question.context:
            raise UsageError(
                f"{question.origin}: no reference answer or no description for the judge",
                hint="The table needs the columns `gpt4_ans` (or `answer`) and `caption`.",
            )
    identity = {**judge.identity, "answers": fingerprint_of(dict(predictions))}
    file = AnswerFile(output / "judge", fingerprint=fingerprint_of(identity), identity=identity)
    reviews = file.read()
    todo = [question for question in questions if question.key not in reviews]
    if todo:
        with file.writer() as writer:
            for start in range(0, len(todo), _AT_ONCE):
                asked = todo[start : start + _AT_ONCE]
                requests = [
                    partial(judge.review, question, predictions[question.key]) for question in asked
                ]
                for question, review in zip(asked, ask_at_once(requests), strict=True):
                    reviews[question.key] = review
                    writer.append({"key": question.key, "prediction": review})
                if on_progress is not None:
                    on_progress(len(reviews), len(questions))
            writer.sync()
    read = {key: parse_review(review) for key, review in reviews.items()}
    languages = {}
    for code in order_languages({question.language for question in questions}):
        asked = [question for question in questions if question.language == code]
        languages[code] = LanguageReport(
            scores=_scores(asked, read),
            unreadable=share([read[question.key] is None for question in asked]),
            fidelity=language_fidelity(as_free(asked, predictions)),
        )
    failed = sum(ratings is None for ratings in read.values())
    notes = list(provenance.notes)
    if failed:
        notes.append(f"{failed} of {len(questions)} reviews had no readable ratings: left out")
    return Report(
        benchmark=provenance.benchmark,
        form="judged",
        scorer=f"judge {judge.endpoint.model}",
        model=provenance.model,
        prompt=provenance.prompt,
        fingerprint=provenance.fingerprint,
        data=provenance.data,
        languages=languages,
        pooled=_scores(questions, read),
        notes=tuple(notes),
    )


def _scores(questions: Sequence[Question], read: Mapping[str, Ratings | None]) -> Scores:
    rated = [(question, read[question.key]) for question in questions]
    ratings = [(question.category or "none", pair[1], pair[0]) for question, pair in rated if pair]
    if not ratings:
        return Scores(main=share([]), notes=("no review could be read",))
    low, high = ratio_interval([(model, reference) for _, model, reference in ratings])
    relative = sum(model for _, model, _ in ratings) / sum(ref for _, _, ref in ratings)
    points = {
        f"{name}/{figure}": value
        for name, figures in relative_scores(ratings).items()
        for figure, value in figures.items()
    }
    return Scores(main=Share(value=relative, low=low, high=high, n=len(ratings)), points=points)
