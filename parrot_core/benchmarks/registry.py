"""Every benchmark by name, and finding its tables on disk."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from parrot_core.benchmarks.base import Benchmark, Question
from parrot_core.benchmarks.emoji import EMOJI_NAMING, EMOJI_YESNO
from parrot_core.benchmarks.llava_bench import LLAVA_BENCH
from parrot_core.benchmarks.mmbench import MMBENCH
from parrot_core.benchmarks.mme import MME
from parrot_core.benchmarks.mmmb import MMMB
from parrot_core.benchmarks.mmstar import MMSTAR
from parrot_core.benchmarks.pope import POPE
from parrot_core.benchmarks.realworldqa import REALWORLDQA
from parrot_core.benchmarks.scienceqa import SCIENCEQA
from parrot_core.benchmarks.seedbench import SEEDBENCH
from parrot_core.benchmarks.tables import language_of_name, read_questions
from parrot_core.errors import MissingError, UsageError

BENCHMARKS: dict[str, Benchmark] = {
    "mmmb": MMMB,
    "mmbench": MMBENCH,
    "mme": MME,
    "mmstar": MMSTAR,
    "scienceqa": SCIENCEQA,
    "realworldqa": REALWORLDQA,
    "seedbench": SEEDBENCH,
    "llava-bench": LLAVA_BENCH,
    "pope": POPE,
    "emoji-naming": EMOJI_NAMING,
    "emoji-yesno": EMOJI_YESNO,
}
"""Every benchmark, by the name that `--benchmark` takes."""


def get_benchmark(name: str) -> Benchmark:
    """Returns a benchmark by name.

    Raises:
        UsageError: if there is none; the hint names the nearest.
    """
    key = name.strip().lower().replace("_", "-")
    if key in BENCHMARKS:
        return BENCHMARKS[key]
    near = difflib.get_close_matches(key, BENCHMARKS, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"unknown benchmark {name!r}",
        hint=f"{hint}Benchmarks are: {', '.join(BENCHMARKS)}; --data takes a table of your own.",
    )


def find_tables(
    benchmark: Benchmark, folder: Path, *, languages: Sequence[str], form: str | None = None
) -> dict[str, Path]:
    """Finds the tables of a benchmark in a folder, by language.

    Args:
        benchmark: Which.
        folder: Where its tables lie.
        languages: Codes.
        form: One of `forms.FORMS` if it is asked for, by which tables may be called.

    Raises:
        MissingError: if that of a language is not there; the hint says which names would do.
        UsageError: if the benchmark does not have a language.
    """
    tables = {}
    for language in languages:
        if language not in benchmark.languages:
            raise UsageError(
                f"{benchmark.name} is not in language {language!r}",
                hint=f"It is in: {', '.join(benchmark.languages)}.",
            )
        found = benchmark.find(language, folder, form=form)
        if found is None:
            names = ", ".join(f"{name}.tsv" for name in benchmark.table_names(language, form=form))
            raise MissingError(
                f"no table of {benchmark.name} for {language} in {folder}",
                hint=f"Put one of these there: {names}; name the folder with --data-root; "
                "or fetch what is published with --download.",
            )
        tables[language] = found
    return tables


def benchmark_of_file(path: Path) -> Benchmark | None:
    """Returns the benchmark that a table's name belongs to, if it is one's."""
    stem = path.stem.lower()
    for benchmark in BENCHMARKS.values():
        for language in (*benchmark.languages, language_of_name(stem) or "en"):
            if stem in (name.lower() for name in benchmark.table_names(language)):
                return benchmark
    return None


def expand_data(pattern: Path) -> list[Path]:
    """Returns the tables that `--data` means: a file, a folder of them, or a pattern.

    Raises:
        MissingError: if there is none.
    """
    if pattern.is_file():
        return [pattern]
    if pattern.is_dir():
        found = sorted(pattern.glob("*.tsv"))
    else:
        found = sorted(path for path in pattern.parent.glob(pattern.name) if path.is_file())
    if not found:
        raise MissingError(
            f"no table at {pattern}", hint="Give a TSV file, a folder of them, or a pattern."
        )
    return found


def read_tables(
    paths: Mapping[Path, str | None],
    *,
    languages: Sequence[str] | None = None,
    with_pictures: bool = True,
    image_root: Path | None = None,
) -> list[Question]:
    """Reads the questions of one or several tables.

    Args:
        paths: TSV files, and the language of each where it is known.
        languages: Keep these only; None keeps all.
        with_pictures: As for `tables.read_questions`.
        image_root: As for `tables.read_questions`.

    Raises:
        UsageError: with a table's faults, or if nothing is left in the languages asked for.
    """
    questions = [
        question
        for path, language in paths.items()
        for question in read_questions(
            path, language=language, with_pictures=with_pictures, image_root=image_root
        )
    ]
    if languages is None:
        return questions
    kept = [question for question in questions if question.language in languages]
    if not kept:
        there = sorted({question.language for question in questions})
        raise UsageError(
            f"no questions in {', '.join(languages)}",
            hint=f"The data are in: {', '.join(there)}. A table's name may end in its language.",
        )
    return kept
