"""What a run found, per language: figures with their intervals, and what they rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parrot_core.benchmarks import forms
from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.scoring import Graded, Scores, grade
from parrot_core.benchmarks.statistics import Share, share
from parrot_core.languages import LANGUAGES, PAPER_LANGUAGES, identify

_LETTERS_TO_TELL_BY = 12  # shorter answers do not show their language


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageReport:
    """The figures of one language.

    Attributes:
        scores: As its form counts.
        unreadable: Share of answers in which nothing could be read.
        fidelity: Share of the answers long enough to tell that are in the language asked in.
    """

    scores: Scores
    unreadable: Share
    fidelity: Share

    @property
    def value(self) -> float:
        """The figure that stands for all, in 0..1."""
        return self.scores.main.value

    @property
    def low(self) -> float:
        """Lower end of its 95 % interval."""
        return self.scores.main.low

    @property
    def high(self) -> float:
        """Upper end of its 95 % interval."""
        return self.scores.main.high

    @property
    def n(self) -> int:
        """How many questions, groups or pairs it counts."""
        return self.scores.main.n

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures for JSON."""
        return {
            **self.scores.main.as_dict(),
            "unreadable": self.unreadable.as_dict(),
            "language_fidelity": self.fidelity.as_dict(),
            **_scores_as_dict(self.scores),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a run found.

    Attributes:
        benchmark: Name of the benchmark or of the data.
        form: One of `forms.FORMS`.
        scorer: One of `matching.SCORERS`, or the judge's name.
        model: Whose answers they are.
        prompt: Style and language of the prompts; empty for answers that others collected.
        fingerprint: Of the run; None for answers that others collected.
        data: Digest of each table by name.
        languages: Figures per language.
        pooled: Figures over all languages together.
        notes: What a reader should know.
    """

    benchmark: str
    form: str
    scorer: str
    model: str
    prompt: dict[str, str] = field(default_factory=dict)
    fingerprint: str | None = None
    data: dict[str, str] = field(default_factory=dict)
    languages: dict[str, LanguageReport]
    pooled: Scores
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns everything for JSON; shares are in 0..1."""
        return {
            "benchmark": self.benchmark,
            "form": self.form,
            "scorer": self.scorer,
            "model": self.model,
            "prompt": self.prompt,
            "measured": True,
            "overall": self.pooled.main.as_dict()["value"],
            "n": self.pooled.main.n,
            "categories": self._categories(),
            **_scores_as_dict(self.pooled),
            "languages": {code: entry.as_dict() for code, entry in self.languages.items()},
            "fingerprint": self.fingerprint,
            "data": self.data,
            "notes": list(self.notes),
            "units": self.pooled.units,
        }

    def _categories(self) -> dict[str, float]:
        """Accuracy by category over all splits, without the overall figure."""
        hits: dict[str, list[float]] = {}
        for columns in self.pooled.splits.values():
            for name, found in columns.items():
                if name != "Overall":
                    total = hits.setdefault(name, [0.0, 0.0])
                    total[0] += found.value * found.n
                    total[1] += found.n
        return {name: right / n for name, (right, n) in sorted(hits.items()) if n}


def _scores_as_dict(scores: Scores) -> dict[str, Any]:
    return {
        "splits": {
            split: {name: found.value for name, found in columns.items()}
            for split, columns in scores.splits.items()
        },
        "extra": {name: found.as_dict() for name, found in scores.extra.items()},
        "points": scores.points,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where answers come from: the fields of `Report` that scoring does not find."""

    benchmark: str
    model: str
    prompt: dict[str, str] = field(default_factory=dict)
    fingerprint: str | None = None
    data: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def build_report(
    questions: Sequence[Question],
    predictions: dict[str, object],
    *,
    form: str,
    scorer: str,
    provenance: Provenance,
) -> Report:
    """Scores answers per language and all together.

    Args:
        questions: Everything that was asked.
        predictions: Answers by the question's key.
        form: One of `forms.FORMS` but `judged`.
        scorer: One of `matching.SCORERS`.
        provenance: Where the answers come from.

    Raises:
        UsageError: if answers are missing or the form does not fit the questions.
    """
    if form == "fidelity":
        graded = as_free(questions, predictions)
    else:
        graded = grade(questions, predictions, scorer=scorer)
    languages = {}
    for code in order_languages({question.language for question in questions}):
        asked = [question for question in questions if question.language == code]
        answers = [one for one in graded if one.question.language == code]
        languages[code] = _language_report(asked, answers, form=form, scorer=scorer)
    if len(languages) == 1:
        pooled = next(iter(languages.values())).scores
    elif form == "fidelity":
        units = {key: told for one in languages.values() for key, told in one.scores.units.items()}
        pooled = Scores(main=share(list(units.values())), units=units)
    else:
        pooled = forms.score(form, graded, questions, scorer=scorer)
    notes = [*provenance.notes, *pooled.notes]
    unanswered = len(questions) - len(graded)
    if unanswered:
        notes.append(f"{unanswered} of {len(questions)} rows have no answer and are left out")
    return Report(
        benchmark=provenance.benchmark,
        form=form,
        scorer=scorer,
        model=provenance.model,
        prompt=provenance.prompt,
        fingerprint=provenance.fingerprint,
        data=provenance.data,
        languages=languages,
        pooled=pooled,
        notes=tuple(notes),
    )


def order_languages(codes: set[str]) -> list[str]:
    """Returns codes in the order of the paper's tables, then the others'."""
    known = [*PAPER_LANGUAGES, *(code for code in LANGUAGES if code not in PAPER_LANGUAGES)]
    return [code for code in known if code in codes] + sorted(codes.difference(known))


def as_free(questions: Sequence[Question], predictions: Mapping[str, object]) -> list[Graded]:
    """Returns free answers, of which none is right or wrong."""
    return [
        Graded(question=question, prediction=predictions[question.key], inferred=None, hit=False)
        for question in questions
        if question.key in predictions
    ]


def _language_report(
    asked: Sequence[Question], answers: Sequence[Graded], *, form: str, scorer: str
) -> LanguageReport:
    told = _in_their_language(answers)
    fidelity = share(list(told.values()))
    if form == "fidelity":
        return LanguageReport(
            scores=Scores(main=fidelity, units=told),
            unreadable=share([answer.question.key not in told for answer in answers]),
            fidelity=fidelity,
        )
    return LanguageReport(
        scores=forms.score(form, answers, asked, scorer=scorer),
        unreadable=share([one.is_unreadable for one in answers]),
        fidelity=fidelity,
    )


def language_fidelity(graded: Sequence[Graded]) -> Share:
    """Returns the share of answers in the language of their question (multilingual erosion).

    Answers too short to tell a language by, such as letters, are not counted.
    """
    return share(list(_in_their_language(graded).values()))


def _in_their_language(graded: Sequence[Graded]) -> dict[str, bool]:
    """Whether each answer that shows its language is in its question's, by the question's key."""
    told = {}
    for one in graded:
        language, text = one.question.language, str(one.prediction)
        if language in LANGUAGES and sum(map(str.isalpha, text)) >= _LETTERS_TO_TELL_BY:
            found = identify(text, tuple(dict.fromkeys((language, *PAPER_LANGUAGES))))
            if found is not None:
                told[one.question.key] = found == language
    return told
