import json
import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from parrot_core.benchmarks import Settings, run
from parrot_core.benchmarks.answers import Share
from parrot_core.benchmarks.base import Prompt
from parrot_core.benchmarks.runner import UnfinishedError, make_batches
from parrot_core.errors import UsageError
from tests.core.benchmarks.test_tables import row, write

ROOT = Path(__file__).parents[3]
ROWS = 24


class Echo:
    """Answers A to even rows and B to odd ones."""

    batch_size = 4

    def __init__(self, name="echo"):
        self.identity = {"name": name}
        self.asked = []

    def prepare(self, prompts):
        pass

    def answer(self, prompts):
        for prompt in prompts:
            self.asked.append(prompt.key)
            yield "AB"[int(prompt.key.rpartition("/")[2]) % 2]


def table(tmp_path, rows=ROWS):
    return write(
        tmp_path / "t_tr.tsv", [row(index, question="?" * (index % 50)) for index in range(rows)]
    )


def test_a_report_gives_the_figures_of_each_language(tmp_path):
    report = run([table(tmp_path)], Echo(), output=tmp_path / "run")
    found = report.languages["tr"]
    assert (found.value, found.n) == (0.5, ROWS)
    assert found.low < 0.5 < found.high
    assert found.unreadable.value == 0.0


def test_questions_that_cannot_be_scored_are_refused_before_any_is_asked(tmp_path):
    path = write(tmp_path / "t.tsv", [row(1), row(2, answer="")])
    model = Echo()
    with pytest.raises(UsageError, match=r"t\.tsv:3: no answer to compare with, as in 1 of 2"):
        run([path], model, output=tmp_path / "run")
    assert model.asked == []


def test_an_answered_run_asks_nothing_again(tmp_path):
    path = table(tmp_path)
    first = run([path], Echo(), output=tmp_path / "run")
    again = Echo()
    assert run([path], again, output=tmp_path / "run") == first
    assert again.asked == []


def test_a_torn_line_is_answered_again(tmp_path):
    path = table(tmp_path)
    run([path], Echo(), output=tmp_path / "run")
    answers = tmp_path / "run" / "answers.jsonl"
    whole = answers.read_bytes()
    answers.write_bytes(whole[:-9])
    run([path], Echo(), output=tmp_path / "run")
    assert answers.read_bytes() == whole


@pytest.mark.parametrize("change", ["model", "prompt", "data"])
def test_a_changed_run_starts_afresh_and_the_old_answers_are_kept(tmp_path, change):
    path = table(tmp_path)
    run([path], Echo(), output=tmp_path / "run")
    other, settings = Echo("other" if change == "model" else "echo"), Settings()
    if change == "prompt":
        settings = Settings(prompt_language="english")
    if change == "data":
        table(tmp_path, ROWS + 1)
    run([path], other, output=tmp_path / "run", settings=settings)
    assert len(other.asked) == ROWS + (change == "data")
    assert len(list((tmp_path / "run").glob("*.other"))) == 1


def test_the_old_run_comes_back_when_it_is_asked_for_again(tmp_path):
    path = table(tmp_path)
    run([path], Echo(), output=tmp_path / "run")
    run([path], Echo("other"), output=tmp_path / "run")
    back = Echo()
    run([path], back, output=tmp_path / "run")
    assert back.asked == []


def test_processes_share_the_work_and_the_last_one_reports(tmp_path):
    path = table(tmp_path)
    whole = run([path], Echo(), output=tmp_path / "whole")
    first, second = Echo(), Echo()
    with pytest.raises(UnfinishedError, match="share 1 of 2 is done; 12 answers"):
        run([path], first, output=tmp_path / "shared", settings=Settings(share=Share(1, 2)))
    report = run([path], second, output=tmp_path / "shared", settings=Settings(share=Share(2, 2)))
    assert sorted(first.asked + second.asked) == sorted(f"t_tr/{index}" for index in range(ROWS))
    assert report == whole
    name = "answers.jsonl"
    assert (tmp_path / "shared" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["echo", "another"])
def test_two_processes_do_not_write_in_one_folder(tmp_path, name):
    class Nested(Echo):
        def answer(self, prompts):
            run([path], Echo("nested"), output=tmp_path / "other")
            inner = Echo(name)
            run([path], inner, output=tmp_path / "run")
            yield from inner.answer(prompts)

    path = table(tmp_path)
    with pytest.raises(UsageError, match="being written by another process"):
        run([path], Nested(), output=tmp_path / "run")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"key": "t_tr/1"}', "no answer"),
        ('{"key": [1], "prediction": "A"}', "no answer"),
    ],
)
def test_a_line_that_someone_broke_is_told_and_not_passed_over(tmp_path, line, problem):
    path = table(tmp_path)
    run([path], Echo(), output=tmp_path / "run")
    with (tmp_path / "run" / "answers.jsonl").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(UsageError, match=rf"answers\.jsonl has a line that is {problem}"):
        run([path], Echo(), output=tmp_path / "run")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        run([table(tmp_path)], Echo(), output=tmp_path / "file" / "run")


def test_batches_hold_what_is_alike_and_everything_once():
    prompts = [
        Prompt(key=f"t/{index}", language="en", text="x" * (index * 7 % 11)) for index in range(10)
    ]
    batches = make_batches(prompts, 3)
    assert sorted(p.key for batch in batches for p in batch) == sorted(p.key for p in prompts)
    lengths = [len(prompt.text) for batch in batches for prompt in batch]
    assert lengths == sorted(lengths, reverse=True)


CHILD = """
import sys, time
from itertools import pairwise
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from parrot_core.benchmarks import run

class Slow:
    identity = {"name": "echo"}
    batch_size = 4

    def prepare(self, prompts):
        pass

    def answer(self, prompts):
        for prompt in prompts:
            time.sleep(0.002)
            yield "AB"[int(prompt.key.rpartition("/")[2]) % 2]

run([Path(sys.argv[1])], Slow(), output=Path(sys.argv[2]))
"""
KILLS = 10
KILLED = -9


def test_killed_at_ten_moments_a_run_ends_like_one_that_was_not(tmp_path):
    path = table(tmp_path, 400)
    whole = run([path], Echo(), output=tmp_path / "whole")
    folder = tmp_path / "killed"
    answers = folder / "answers.jsonl"
    draw = random.Random(5)
    sizes = [0]
    for _ in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", CHILD, path, folder, str(ROOT)])
        while child.poll() is None and (
            not answers.exists() or answers.stat().st_size <= sizes[-1]
        ):
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.03))
        child.kill()
        assert child.wait() == KILLED  # in the midst of its work, not after an error of its own
        sizes.append(answers.stat().st_size)
    assert all(earlier < later for earlier, later in pairwise(sizes))
    last = Echo()
    report = run([path], last, output=folder)
    assert 0 < len(last.asked) < 400
    assert answers.read_bytes() == (tmp_path / "whole" / "answers.jsonl").read_bytes()
    assert report == whole
    rows = [json.loads(line) for line in answers.read_text("utf-8").splitlines()]
    assert len({row.get("key") for row in rows}) == 401
