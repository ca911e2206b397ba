import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from parrot_cli.data import app
from parrot_core.errors import UsageError
from parrot_core.translation.journal import Journal
from tests.core.benchmarks.test_tables import encoded
from tests.translation_server import TranslationServer, sentence


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.json"
    records = []
    for number in range(1, 4):
        turns = [
            {"from": "human", "value": sentence(4 * number + 1)},
            {"from": "gpt", "value": sentence(4 * number + 2)},
        ]
        records.append({"id": str(number), "conversations": turns})
    path.write_text(json.dumps(records))
    return path


def run(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_job_prints_what_it_did_and_leaves_its_files(source: Path):
    out = source.parent / "out"
    options = ["translate", source, "--to", "tr,ar", "--out", out, "--backend", "openai"]
    with TranslationServer() as server:
        result = run(*options, "--base-url", server.url, "--model", "m")
        assert result.exit_code == 0, result.output
        again = run(*options, "--base-url", server.url, "--model", "m", "--json")
    assert "72 answers in this run" in result.stdout
    report = json.loads(again.stdout)
    assert report["complete"]
    assert report["this_run"]["answers"] == 0
    assert report["all_runs"]["answers"] == 72
    assert {"tr.json", "ar.json", "journal.sqlite", "summary.json"} <= {
        path.name for path in out.iterdir()
    }


def test_a_dry_run_asks_nothing_and_estimates(source: Path):
    out = source.parent / "out"
    options = ["--to", "tr,ar", "--out", out, "--price", "10,30", "--dry-run", "--json"]
    result = run("translate", source, *options, "--base-url", "http://127.0.0.1:9/v1")
    found = json.loads(result.stdout)
    assert (found["segments"], found["requests"]) == (12, 72)
    tokens = found["prompt_tokens"] * 10 + found["completion_tokens"] * 30
    assert found["dollars"] == pytest.approx(tokens / 1e6)
    assert not out.exists()


def test_all_are_the_papers_languages_but_the_samples_own(source: Path):
    options = ["--out", source.parent / "out", "--dry-run", "--json", "--steps", "draft"]
    for language, others in (("en", 5), ("de", 6)):
        job = ["translate", source, "--to", "all", "--from", language, *options]
        assert json.loads(run(*job).stdout)["requests"] == 6 * others


def test_a_dry_run_counts_what_the_journal_has_and_what_the_next_run_will_ask(source: Path):
    out = source.parent / "out"
    with TranslationServer() as server:
        job = ["translate", source, "--to", "tr,ar", "--out", out, "--price", "10,30", "--json"]
        job += ["--base-url", server.url, "--model", "m"]

        def dry_run() -> dict:
            asked = server.requests
            found = json.loads(run(*job, "--dry-run").stdout)
            assert server.requests == asked
            return found

        whole = dry_run()
        assert (whole["answered"], whole["requests"], whole["done_segments"]) == (0, 72, 0)
        assert run(*job, "--max-requests", "31").exit_code == 1
        begun = dry_run()
        assert begun["answered"] == 31
        assert begun["requests"] == 72 - 31
        assert 0 < begun["dollars"] < whole["dollars"]
        # Another model for the votes, half of which were never asked.
        changed = json.loads(run(*job, "--dry-run", "--step-model", "vote=n").stdout)
        assert changed["steps"]["vote"]["requests"] == 12
        assert changed["steps"]["draft"] == begun["steps"]["draft"]
        assert run(*job).exit_code == 0
        assert server.requests == 72
        done = dry_run()
    assert (done["answered"], done["requests"], done["dollars"]) == (72, 0, 0)
    assert done["done_segments"] == done["unique_segments"] == 12


def test_a_dry_run_puts_nothing_before_people_and_says_who_waits(source: Path):
    out = source.parent / "out"
    with TranslationServer() as server:
        job = ["translate", source, "--to", "tr", "--out", out, "--model", "m"]
        job += ["--base-url", server.url, "--steps", "draft,refine:human", "--candidates", "1"]
        assert run(*job[:-4], "--steps", "draft").exit_code == 0
        result = run(*job, "--dry-run")
    assert "6 different ones, 6 wait for people; nothing was asked" in result.stdout
    assert "nothing waits for people" in run("review", "status", out).stdout


def test_a_cap_without_a_price_is_held_with_the_dearest_and_says_so(source: Path):
    out = source.parent / "out"
    with TranslationServer() as server:
        options = ["--base-url", server.url, "--model", "mine", "--max-cost", "0.0001"]
        result = run("translate", source, "--to", "tr", "--out", out, *options)
        assert server.requests == 0
    assert result.exit_code == 1
    assert "price of 'mine' is not known" in result.stderr
    assert "raise the cap" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "draft,vote"], "vote without refinements"),
        (["--steps", "draft:robot"], "no such worker"),
        (["--step-model", "vote"], "--step-model"),
        (["--parameters", "[1]"], "no object of parameters"),
        (["--backend", "magic"], "no such backend"),
        (["--to", "en"], "language of the samples themselves"),
        (["--model", ""], "a model without a name"),
        (["--steps", ""], "no such step: ''"),
        (["--price", "other=1,2"], "no step asks 'other'"),
        (["--base-url", "me:secret@host"], "a name or password in it"),
        (["--backend", "local"], "no model to translate with"),
        (["--backend", "human", "--with-image"], "cannot see pictures"),
    ],
)
def test_wrong_options_are_errors_of_the_user(source: Path, options: list[str], words: str):
    right = {"--to": "tr", "--base-url": "http://127.0.0.1:9/v1"}
    others = [word for name in right.keys() - options for word in (name, right[name])]
    result = run("translate", source, "--out", source.parent / "out", *others, *options)
    assert isinstance(result.exception, UsageError)
    assert words in result.exception.problem


def test_a_key_is_one_line_without_what_surrounds_it(source: Path, monkeypatch):
    options = ["--to", "tr", "--out", source.parent / "out", "--model", "m", "--steps", "draft"]
    with TranslationServer(keep_bodies=True) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\n")
        assert run("translate", source, *options, "--base-url", server.url).exit_code == 0
        assert server.headers[0]["authorization"] == "Bearer sk-secret"
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\nX-Other: 1")
        result = run("translate", source, *options, "--base-url", server.url)
    assert isinstance(result.exception, UsageError)
    assert "line break" in result.exception.problem
    assert "sk-secret" not in result.exception.problem


def test_each_model_has_its_price(source: Path):
    out = source.parent / "out"
    options = ["--to", "tr", "--out", out, "--step-model", "vote=judge", "--json"]
    prices = ["--price", "1,2", "--price", "judge=10,20"]
    with TranslationServer() as server:
        where = ["--base-url", server.url, "--model", "m"]
        estimated = json.loads(
            run("translate", source, *options, *prices, *where, "--dry-run").stdout
        )
        report = json.loads(run("translate", source, *options, *prices, *where).stdout)
    per_answer = (100 * 1 + 20 * 2) / 1e6
    assert report["all_runs"]["dollars"] == pytest.approx(6 * (5 * per_answer + 10 * per_answer))
    steps = estimated["steps"]
    assert estimated["dollars"] == pytest.approx(
        sum(
            (part["prompt_tokens"] + 2 * part["completion_tokens"]) * (10 if step == "vote" else 1)
            for step, part in steps.items()
        )
        / 1e6
    )


def test_people_alone_translate_without_any_service(source: Path):
    out = source.parent / "out"
    job = [
        "translate",
        source,
        "--to",
        "tr",
        "--out",
        out,
        "--backend",
        "human",
        "--candidates",
        "1",
    ]
    waits = run(*job, "--json")
    assert waits.exit_code == 1
    assert f"parrot data review export {out} --step draft" in waits.stderr
    none = run("review", "export", out, "--out", source.parent / "none.csv")
    assert "0 rows to refine" in none.stdout
    assert "wait for another --step: draft" in none.stderr
    for step, answer in (("draft", "Bu bir resim {0}."), ("refine", "=")):
        table = source.parent / f"{step}.jsonl"
        assert (
            f"6 rows to {step}"
            in run("review", "export", out, "--step", step, "--out", table).stdout
        )
        rows = [json.loads(line) for line in table.read_text().splitlines()]
        table.write_text(
            "\n".join(json.dumps(row | {"answer": answer.format(n)}) for n, row in enumerate(rows))
        )
        assert run("review", "import", out, table, "--person", "ayşe").exit_code == 0
        finished = run(*job, "--json")
    assert json.loads(finished.stdout)["languages"]["tr"]["samples"] == 3


def test_review_from_export_to_status_through_the_commands(source: Path):
    out = source.parent / "out"
    with TranslationServer() as server:
        options = ["--base-url", server.url, "--model", "m", "--candidates", "1"]
        steps = ["--steps", "draft,refine:human"]
        job = ["translate", source, "--to", "tr", "--out", out, *options, *steps]
        waits = run(*job, "--json")
        assert waits.exit_code == 1
        counted = json.loads(waits.stdout)["languages"]["tr"]
        assert (counted["waiting"], counted["missing"]) == (3, 0)
        table = source.parent / "work.csv"
        assert "6 rows to refine" in run("review", "export", out, "--out", table).stdout
        text = table.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(text.splitlines()))
        with table.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(row | {"answer": "="} for row in rows)
        taken = run("review", "import", out, table, "--person", "ayşe")
        assert (taken.exit_code, "6 rows taken from ayşe" in taken.stdout) == (0, True)
        refused = run("review", "import", out, table, "--person", "ayşe")
        assert refused.exit_code == 1
        assert "duplicate" in refused.stdout
        assert run(*job).exit_code == 0
    with Journal(out / "journal.sqlite"):  # as while the job runs
        status = json.loads(run("review", "status", out, "--json").stdout)
    assert status["tr"]["refine"]["settled"] == 6


def test_split_and_stats_print_tables_and_json(source: Path):
    out = source.parent / "split"
    result = run("split", source, "--to", "tr=1,ar=2", "--out", out)
    assert result.exit_code == 0
    assert "0 samples, 0 images, 0 conversations" in result.stdout
    assert json.loads(
        run("split", source, "--to", "tr", "--count", 2, "--out", out, "--json").stdout
    )["disjoint"]
    counted = json.loads(run("stats", source, "--json").stdout)
    assert sum(part["samples"] for part in counted["languages"].values()) == 3
    assert "English" in run("stats", source).stdout
    nameless = run("stats", source.parent / "nothing.json", "--plot", "plot.txt")
    assert isinstance(nameless.exception, UsageError)
    assert "plot.txt is no name of a picture" in nameless.exception.problem


def test_a_benchmark_is_built_from_a_table(source: Path):
    table = source.parent / "items.tsv"
    rows = ["index\timage\tquestion\tA\tB\tanswer\tcategory"]
    rows += [
        f"{n}\t{encoded()}\tWhat is beside the tree {n}?\tthe car\tthe house\tA\tx"
        for n in range(3)
    ]
    table.write_text("\n".join(rows))
    out = source.parent / "out"
    with TranslationServer() as server:
        options = ["--base-url", server.url, "--model", "m", "--steps", "draft", "--json"]
        build = ["build-benchmark", table, "--name", "mine", "--to", "tr", "--out", out, *options]
        estimated = json.loads(run(*build, "--dry-run").stdout)
        assert (estimated["requests"], server.requests, out.exists()) == (6, 0, False)
        result = run(*build)
        assert server.requests == 6
    report = json.loads(result.stdout)
    assert (report["entries"], report["rows"]) == (3, 6)
    assert Path(report["tables"]["tr"]).is_file()
