"""Runs beside each other, and the refusal to compare what is not alike."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from parrot_core.benchmarks.statistics import PairedDifference, compare_paired
from parrot_core.errors import MissingError, UsageError

REPORT = "report.json"
_MUST_AGREE = (
    ("benchmark", "benchmark"),
    ("form", "form"),
    ("scorer", "scorer"),
    ("data", "data"),
    ("prompt", "prompts"),
)
_FIELDS = {*(key for key, _ in _MUST_AGREE), "model", "overall", "n", "languages", "units"}
_FIGURES = {"value", "low", "high", "n"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Reports of alike runs.

    Attributes:
        names: What each run is called.
        reports: As `Report.as_dict` wrote them.
        differences: For each pair of runs (first, second), the second against the first; none where
            answers are rated, and not right or wrong.
    """

    names: tuple[str, ...]
    reports: tuple[dict[str, Any], ...]
    differences: dict[tuple[str, str], PairedDifference]


def load_report(path: Path) -> dict[str, Any]:
    """Reads the report of a run, from its folder or as a file.

    Raises:
        MissingError: if there is none.
        UsageError: if it is no report.
    """
    file = path / REPORT if path.is_dir() else path
    if not file.is_file():
        raise MissingError(f"no report at {file}", hint="Name the --output folder of a run.")
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{file} is not JSON: {error}", hint="Run the evaluation again."
        ) from error
    if not _is_report(report):
        raise UsageError(f"{file} is not a report of `parrot eval`", hint="Name a run's folder.")
    found: dict[str, Any] = report
    return found


def _is_report(report: Any) -> bool:  # noqa: ANN401 - what JSON says
    """Whether something is what `Report.as_dict` writes, as far as comparing needs it."""
    if not isinstance(report, dict) or not report.keys() >= _FIELDS:
        return False
    languages, units = report["languages"], report["units"]
    return (
        isinstance(units, dict)
        and isinstance(languages, dict)
        and all(isinstance(hit, bool) for hit in units.values())
        and all(isinstance(one, dict) and one.keys() >= _FIGURES for one in languages.values())
    )


def compare(paths: Sequence[Path]) -> Comparison:
    """Puts runs beside each other.

    Raises:
        UsageError: if they differ in benchmark, form, scorer, data, prompts or questions; names
            what differs.
    """
    reports = [load_report(path) for path in paths]
    refuse_unlike(paths, reports)
    names = _names(paths)
    return Comparison(
        names=names,
        reports=tuple(reports),
        differences={
            (a, b): _paired(left["units"], right["units"])
            for (a, left), (b, right) in combinations(zip(names, reports, strict=True), 2)
            if left["units"]
        },
    )


def refuse_unlike(paths: Sequence[Path], reports: Sequence[Mapping[str, Any]]) -> None:
    """Refuses runs that do not count the same.

    Raises:
        UsageError: with what they differ in.
    """
    first = reports[0]
    for path, report in zip(paths[1:], reports[1:], strict=True):
        for key, what in _MUST_AGREE:
            if report.get(key) != first.get(key):
                raise UsageError(
                    f"{paths[0]} and {path} cannot be compared: their {what} differ "
                    f"({_short(first.get(key))} and {_short(report.get(key))})",
                    hint="Run both with the same data and options.",
                )
        # Of free answers only those that show their language are units, each run's own.
        if first["form"] != "fidelity" and report["units"].keys() != first["units"].keys():
            raise UsageError(
                f"{paths[0]} and {path} cannot be compared: they answered other questions",
                hint="Run both in the same languages.",
            )


def _paired(first: Mapping[str, bool], second: Mapping[str, bool]) -> PairedDifference:
    keys = sorted(first.keys() & second.keys())
    return compare_paired([first[key] for key in keys], [second[key] for key in keys])


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names runs by their folders, with as much of the path as tells them apart."""
    for depth in range(1, 6):
        names = tuple("/".join(path.resolve().parts[-depth:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    return tuple(f"{number}: {path}" for number, path in enumerate(paths, start=1))


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
