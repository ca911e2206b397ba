import json

import pytest

from parrot_core.benchmarks.comparison import compare, load_report
from parrot_core.errors import MissingError, UsageError

FIGURES = {"value": 0.5, "low": 0.2, "high": 0.8, "n": 4}


def report(folder, *, units=(), **changes):
    folder.mkdir()
    content = {
        "benchmark": "b",
        "form": "multiple choice",
        "scorer": "multilingual",
        "data": {},
        "prompt": {},
        "model": "m",
        "overall": 0.5,
        "n": 4,
        "languages": {"en": FIGURES},
        "units": dict(zip("abcd", units, strict=False)),
        **changes,
    }
    (folder / "report.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_the_second_run_is_set_against_the_first_question_by_question(tmp_path):
    first = report(tmp_path / "first", units=[True, False, False, False])
    second = report(tmp_path / "second", units=[False, True, True, False])
    (found,) = compare([first, second]).differences.values()
    assert (found.only_first, found.only_second, found.n) == (1, 2, 4)
    assert found.difference == 0.25


def test_rated_answers_are_not_said_to_be_alike(tmp_path):
    runs = [report(tmp_path / name, units=[], form="judged") for name in ("first", "second")]
    assert compare(runs).differences == {}


def test_free_answers_are_paired_where_both_show_their_language(tmp_path):
    first = report(tmp_path / "first", units=[True, False], form="fidelity")
    second = report(tmp_path / "second", units=[True, True, True], form="fidelity")
    (found,) = compare([first, second]).differences.values()
    assert (found.only_second, found.n) == (1, 2)


def test_runs_on_other_questions_are_refused(tmp_path):
    first = report(tmp_path / "first", units=[True])
    second = report(tmp_path / "second", units=[True, True])
    with pytest.raises(UsageError, match="they answered other questions"):
        compare([first, second])


@pytest.mark.parametrize(
    "change",
    [
        {"units": ["yes"]},
        {"languages": None},
        {"languages": {"en": {}}},
    ],
)
def test_a_report_that_someone_changed_is_named(tmp_path, change):
    folder = report(tmp_path / "run", **change)
    with pytest.raises(UsageError, match=r"report\.json is not a report"):
        load_report(folder)


def test_what_is_no_report_is_told_from_one_that_is_not_there(tmp_path):
    with pytest.raises(MissingError, match="no report"):
        load_report(tmp_path)
    (tmp_path / "report.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(UsageError, match="is not JSON"):
        load_report(tmp_path)
