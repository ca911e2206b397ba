"""Running a benchmark: questions become prompts, a model answers, answers are kept and scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parrot_core import __version__
from parrot_core.benchmarks.answers import (
    AnswerFile,
    Share,
    digest_of_file,
    digest_of_prompts,
    fingerprint_of,
)
from parrot_core.benchmarks.base import Answerer, Benchmark, Prompt, Question
from parrot_core.benchmarks.forms import FREE, check_form, detect_form
from parrot_core.benchmarks.judge import Judge, judged_report
from parrot_core.benchmarks.matching import DEFAULT_SCORER, check_scorer
from parrot_core.benchmarks.predictions import read_predictions
from parrot_core.benchmarks.prompts import build_prompts
from parrot_core.benchmarks.registry import (
    benchmark_of_file,
    find_tables,
    get_benchmark,
    read_tables,
)
from parrot_core.benchmarks.report import Provenance, Report, build_report
from parrot_core.benchmarks.scoring import refuse_secret
from parrot_core.benchmarks.tables import language_of_name
from parrot_core.errors import ParrotError, UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a benchmark is run; the defaults are the paper's.

    Attributes:
        data_root: Folder in which a named benchmark's tables lie.
        form: One of `forms.FORMS`; None takes the benchmark's, or what the table shows.
        prompt_style: One of `prompts.STYLES`; None takes the benchmark's.
        prompt_language: `native` or `english`.
        answer_by: One of `prompts.ANSWER_BY`; None takes the benchmark's.
        image_root: Folder that `image_path` is relative to; None is the table's own.
        share: This process's part of the work.
        judge: Who rates free answers.
        on_progress: Told how many of how many prompts are answered.
        on_review: Told how many of how many answers the judge has rated.
    """

    data_root: Path = Path("data/benchmarks")
    form: str | None = None
    prompt_style: str | None = None
    prompt_language: str = "native"
    answer_by: str | None = None
    image_root: Path | None = None
    share: Share = field(default_factory=Share)
    judge: Judge | None = None
    on_progress: Callable[[int, int], None] | None = None
    on_review: Callable[[int, int], None] | None = None


class UnfinishedError(ParrotError):
    """Other processes that share the run have not answered their part yet."""

    exit_code = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Questions that are run together, and what they are called."""

    name: str
    title: str
    tables: tuple[Path, ...]
    questions: tuple[Question, ...]
    form: str
    prompt_style: str
    answer_by: str = "text"
    notes: tuple[str, ...] = ()


def load_task(
    benchmark: str | Benchmark | Sequence[Path],
    *,
    languages: Sequence[str] | None,
    settings: Settings,
    with_pictures: bool = True,
    to_be_scored: bool = True,
) -> Task:
    """Reads the questions of a named benchmark or of tables.

    Args:
        benchmark: A name, a benchmark, or TSV files.
        languages: Codes; None is every language of the benchmark or table.
        settings: As for `run`.
        with_pictures: Scoring someone's answers needs no pictures.
        to_be_scored: False where only the questions matter, which then need no judge.

    Raises:
        ParrotError: if the benchmark is unknown or its tables are missing or faulty.
    """
    if isinstance(benchmark, str):
        benchmark = get_benchmark(benchmark)
    if isinstance(benchmark, Benchmark):
        found = find_tables(
            benchmark,
            settings.data_root,
            languages=languages or benchmark.languages,
            form=settings.form,
        )
        tables: dict[Path, str | None] = {path: language for language, path in found.items()}
        known: Benchmark | None = benchmark
    else:
        owners = {path: benchmark_of_file(path) for path in benchmark}
        known = owners[benchmark[0]] if len(set(owners.values())) == 1 else None
        tables = {
            path: "en" if owner and not language_of_name(path.stem) else None
            for path, owner in owners.items()
        }
    questions = tuple(
        read_tables(
            tables,
            languages=languages,
            with_pictures=with_pictures,
            image_root=settings.image_root,
        )
    )
    name = known.name if known else _common_name(tuple(tables))
    form = settings.form or (known.form if known else None) or detect_form(questions)
    if to_be_scored and form == "judged" and settings.judge is None:
        raise UsageError(
            f"{name} has free answers, which only a judge can rate",
            hint="Name a judge with --judge-url and --judge-model; or look only at the language "
            "of the answers with --form fidelity.",
        )
    if to_be_scored and form not in FREE:
        refuse_secret(questions)
    return Task(
        name=name,
        title=known.title if known else _common_name(tuple(tables)),
        tables=tuple(tables),
        questions=questions,
        form=check_form(form),
        prompt_style=settings.prompt_style or (known.prompt_style if known else "parrot"),
        answer_by=settings.answer_by or (known.answer_by if known else "text"),
        notes=(known.note,) if known and known.note else (),
    )


def _common_name(tables: Sequence[Path]) -> str:
    """Returns the name that tables share once the codes of their languages are taken off."""
    names = [
        path.stem.rpartition("_")[0] if language_of_name(path.stem) else path.stem
        for path in tables
    ]
    return "+".join(dict.fromkeys(names))


def run(
    benchmark: "str | Benchmark | Task | Sequence[Path]",
    answerer: Answerer,
    *,
    languages: Sequence[str] | None = None,
    scorer: str = DEFAULT_SCORER,
    output: Path,
    settings: Settings | None = None,
) -> Report:
    """Has a model answer a benchmark, and scores it; goes on where an interrupted run stopped.

    Args:
        benchmark: A name of `BENCHMARKS`, a benchmark, TSV files, or what `load_task` read.
        answerer: Any model.
        languages: Codes; None is all there are.
        scorer: One of `matching.SCORERS`.
        output: Folder of the run, where `answers.jsonl` is kept.
        settings: How it is run.

    Raises:
        ParrotError: if data, settings or the model do not do.
        UnfinishedError: if the work is shared and others have not finished.
    """
    settings = settings or Settings()
    check_scorer(scorer)
    if isinstance(benchmark, Task):
        task = benchmark
    else:
        task = load_task(benchmark, languages=languages, settings=settings)
    prompts = build_prompts(
        task.questions,
        style=task.prompt_style,
        language=settings.prompt_language,
        form=task.form,
        answer_by=task.answer_by,
    )
    how = {
        "style": task.prompt_style,
        "language": settings.prompt_language,
        "answer_by": task.answer_by,
    }
    data = {path.name: digest_of_file(path) for path in task.tables}
    identity = {
        "benchmark": task.name,
        "data": data,
        "prompts": digest_of_prompts(prompts),
        "prompt": how,
        "model": answerer.identity,
        "batch_size": answerer.batch_size,
        "parrot": __version__,
    }
    fingerprint = fingerprint_of(identity)
    file = AnswerFile(output, fingerprint=fingerprint, identity=identity, share=settings.share)
    predictions = collect(prompts, answerer, file, settings=settings)
    provenance = Provenance(
        benchmark=task.name,
        model=str(answerer.identity.get("name", "model")),
        prompt=how,
        fingerprint=fingerprint,
        data=data,
        notes=task.notes,
    )
    file.complete([(q.key, {"index": q.index, "language": q.language}) for q in task.questions])
    if task.form == "judged" and settings.judge is not None:
        return judged_report(
            task.questions,
            predictions,
            settings.judge,
            output=output,
            provenance=provenance,
            on_progress=settings.on_review,
        )
    return build_report(
        task.questions, dict(predictions), form=task.form, scorer=scorer, provenance=provenance
    )


def score_predictions(
    path: Path,
    benchmark: str | Benchmark | Sequence[Path],
    *,
    languages: Sequence[str] | None = None,
    scorer: str = DEFAULT_SCORER,
    settings: Settings | None = None,
) -> Report:
    """Scores answers that someone else collected; no model is run.

    Args:
        path: TSV, XLSX or JSONL.
        benchmark: As for `run`.
        languages: Codes; None is all there are.
        scorer: One of `matching.SCORERS`.
        settings: How the data are read.

    Raises:
        ParrotError: if the answers or the data do not do.
    """
    check_scorer(scorer)
    task = load_task(
        benchmark, languages=languages, settings=settings or Settings(), with_pictures=False
    )
    if task.form == "judged":
        raise UsageError(
            f"{task.name} is judged, and answers of others are not sent to a judge",
            hint="Run it with --model or --url.",
        )
    return build_report(
        task.questions,
        read_predictions(path, task.questions),
        form=task.form,
        scorer=scorer,
        provenance=Provenance(
            benchmark=task.name,
            model=path.name,
            data={table.name: digest_of_file(table) for table in task.tables},
            notes=task.notes,
        ),
    )


def collect(
    prompts: Sequence[Prompt], answerer: Answerer, file: AnswerFile, *, settings: Settings
) -> dict[str, str]:
    """Has every prompt answered that is not yet, batch by batch, and returns all answers.

    Batches are the same whether or not a run was interrupted, so that numerical differences
    between batches cannot make an interrupted run another one.

    Raises:
        UnfinishedError: if other processes have not answered their share.
    """
    answers = file.read()
    batches = make_batches(prompts, answerer.batch_size)
    share = settings.share
    mine = batches[share.number - 1 :: share.of]
    todo = [batch for batch in mine if any(prompt.key not in answers for prompt in batch)]
    if todo:
        with file.writer() as writer:
            for number, batch in enumerate(todo):
                if number + 1 < len(todo):
                    answerer.prepare(todo[number + 1])
                for prompt, text in zip(batch, answerer.answer(batch), strict=True):
                    if prompt.key in answers:
                        continue
                    answers[prompt.key] = text
                    writer.append(
                        {
                            "key": prompt.key,
                            "index": int(prompt.key.rpartition("/")[2]),
                            "language": prompt.language,
                            "prediction": text,
                        }
                    )
                writer.sync()
                if settings.on_progress is not None:
                    settings.on_progress(len(answers), len(prompts))
    answers = file.read()
    missing = sum(prompt.key not in answers for prompt in prompts)
    if missing:
        raise UnfinishedError(
            f"share {share.number} of {share.of} is done; {missing} answers are still to come",
            hint="The process that finishes last makes the report; or run once more.",
        )
    return answers


def make_batches(prompts: Sequence[Prompt], size: int) -> list[list[Prompt]]:
    """Puts prompts of like length together, the longest first: lack of memory shows soon."""
    ordered = sorted(prompts, key=lambda p: (-len(p.images), -len(p.text), p.key))
    return [list(ordered[start : start + size]) for start in range(0, len(ordered), size)]
