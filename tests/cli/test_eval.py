import base64
import csv
import io
import json
import subprocess
import sys

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from parrot_cli.eval import app
from parrot_core.errors import MissingError, ParrotError, UsageError
from tests.conftest import tiny_parrot
from tests.core.benchmarks.vectors import SCORING, expected

PICTURES = 3
TABLE = object()  # stands for a sound table


def encoded(seed: int) -> str:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (28, 28, 3), generator=generator, dtype=torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def write(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def naming_table(path, names=("kedi", "köpek", "kuş", "at")):
    write(
        path,
        ("index", "image", "question", "A", "B", "C", "D", "answer", "category", "split"),
        [
            (index, encoded(index % PICTURES), "Bu nedir?", *names, "ABCD"[index % 4], "x", "test")
            for index in range(1, 6)
        ],
    )


def pairs_table(path):
    write(
        path,
        ("index", "image", "question", "answer", "category", "split", "pair_id"),
        [
            row
            for pair in range(1, 4)
            for row in (
                (2 * pair - 1, encoded(pair), "Bu: kedi?", "Yes", "x", "test", pair),
                (2 * pair, str(2 * pair - 1), "Bu: at?", "No", "x", "test", pair),
            )
        ],
    )


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    model, processor = tiny_parrot()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_answers_of_others_are_scored_as_the_toolkit_does():
    folder = SCORING / "t6_vanilla_no_split"
    result = invoke(
        "--predictions", folder / "predictions.tsv", "--data", folder / "data.tsv",
        "--scorer", "vlmevalkit", "--json",
    )  # fmt: skip
    report = json.loads(result.stdout)
    wanted = dict(expected("t6_vanilla_no_split")["accuracy"]["none"])
    assert report["overall"] == pytest.approx(wanted.pop("Overall"), abs=1e-9)
    assert report["categories"] == pytest.approx(wanted, abs=1e-9)
    assert report["scorer"] == "vlmevalkit"


def test_the_table_says_scorer_form_and_n():
    folder = SCORING / "p1_mmmb_yesno_pairs"
    result = invoke(
        "--predictions", folder / "predictions.tsv", "--data", folder / "predictions.tsv"
    )
    assert "form: yes/no pairs; scorer: multilingual" in result.output
    assert "question accuracy" in result.output
    assert all(code in result.output for code in ("en", "zh", "pt", "ar", "tr", "ru"))


def test_a_checkpoint_answers_both_forms_of_the_embedded_benchmark(checkpoint, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    naming_table(data / "emoji_naming_tr.tsv")
    naming_table(data / "emoji_naming_en.tsv", ("cat", "dog", "bird", "horse"))
    pairs_table(data / "emoji_yesno_tr.tsv")
    common = ("--model", checkpoint, "--max-new-tokens", 6, "--batch-size", 2, "--json")
    naming = json.loads(
        invoke("--data", data / "emoji_naming_*.tsv", "--output", tmp_path / "n", *common).stdout
    )
    assert naming["form"] == "multiple choice"
    assert list(naming["languages"]) == ["en", "tr"]
    assert naming["prompt"] == {
        "style": "plain",
        "language": "native",
        "answer_by": "likelihood",
    }
    assert {"value", "low", "high", "n"} <= naming["languages"]["tr"].keys()
    pairs = json.loads(
        invoke("--data", data / "emoji_yesno_tr.tsv", "--output", tmp_path / "p", *common).stdout
    )
    assert pairs["form"] == "yes/no pairs"
    assert pairs["n"] == 3
    written = {path.name for path in (tmp_path / "n").iterdir()}
    assert {"answers.jsonl", "report.json", "report.csv", "report.md", "languages.png"} <= written
    assert "languages.svg" in written


def test_only_the_languages_asked_for_are_run(checkpoint, tmp_path):
    for code in ("en", "tr"):
        naming_table(tmp_path / f"MMMB_{code}.tsv")
    report = json.loads(
        invoke(
            "--model", checkpoint, "--benchmark", "mmmb", "--data-root", tmp_path, "--lang", "tr",
            "--max-new-tokens", 2, "--output", tmp_path / "run", "--json", "--no-charts",
        ).stdout
    )  # fmt: skip
    assert list(report["languages"]) == ["tr"]
    assert report["prompt"]["style"] == "parrot"


def scored_run(tmp_path, name, scorer="multilingual"):
    folder = SCORING / "t6_vanilla_no_split"
    invoke(
        "--predictions", folder / "predictions.tsv", "--data", folder / "data.tsv",
        "--scorer", scorer, "--output", tmp_path / name, "--no-charts",
    )  # fmt: skip
    return tmp_path / name


def test_runs_stand_beside_each_other(tmp_path):
    first, second = scored_run(tmp_path, "first"), scored_run(tmp_path, "second")
    result = invoke("compare", first, second)
    assert "first" in result.output
    assert "McNemar" in result.output
    comparison = json.loads(invoke("compare", first, second, "--json").stdout)
    assert comparison["differences"][0]["p_value"] == 1.0


def test_models_over_several_benchmarks_make_a_radar(tmp_path):
    runs = [scored_run(tmp_path, name) for name in ("first", "second", "third")]
    with pytest.raises(UsageError, match="needs three benchmarks or more, these runs are of 1"):
        invoke("radar", *runs)
    for number, run in enumerate(runs):
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        report["benchmark"] = f"benchmark {number}"
        (run / "report.json").write_text(json.dumps(report), encoding="utf-8")
    invoke("radar", *runs, "--output", tmp_path / "radar.svg")
    drawn = (tmp_path / "radar.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert "benchmark 0 (multiple choice, n = 40)" in drawn


def test_a_radar_refuses_models_that_were_scored_unlike(tmp_path):
    runs = [scored_run(tmp_path, name) for name in ("first", "second", "third")]
    runs.append(scored_run(tmp_path, "other", scorer="vlmevalkit"))
    for number, run in enumerate(runs):
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        report["benchmark"] = f"benchmark {number % 3}"
        (run / "report.json").write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(UsageError, match="their scorer differ"):
        invoke("radar", *runs, "--output", tmp_path / "radar.svg")


def test_runs_beside_each_other_are_drawn_as_bars(tmp_path):
    first, second = scored_run(tmp_path, "first"), scored_run(tmp_path, "الثاني")
    invoke("compare", first, second, "--output", tmp_path / "charts")
    assert {path.name for path in (tmp_path / "charts").iterdir()} == {
        "languages.png",
        "languages.svg",
    }


def test_unlike_runs_are_not_compared(tmp_path):
    first = scored_run(tmp_path, "first")
    second = scored_run(tmp_path, "second", scorer="vlmevalkit")
    with pytest.raises(UsageError, match="cannot be compared: their scorer differ"):
        invoke("compare", first, second)


def test_published_rows_are_marked_so(checkpoint, tmp_path):
    naming_table(tmp_path / "MMMB_tr.tsv")
    invoke(
        "--model", checkpoint, "--benchmark", "mmmb", "--data-root", tmp_path, "--lang", "tr",
        "--max-new-tokens", 2, "--output", tmp_path / "run", "--no-charts", "--published",
    )  # fmt: skip
    result = invoke("compare", tmp_path / "run")
    lines = [line for line in result.output.splitlines() if "Qwen2-VL" in line]
    assert lines
    assert all("published, Table 1" in line for line in lines)
    assert "71.7" in lines[0]
    markdown = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "[published, Table 10]" in markdown


@pytest.mark.parametrize(
    ("arguments", "kind", "problem"),
    [
        (("--model", "x"), UsageError, "either --benchmark or --data"),
        (("--model", "x", "--benchmark", "mmbm"), UsageError, "unknown benchmark 'mmbm'"),
        (("--model", "x", "--data", "no.tsv"), MissingError, "no table at no.tsv"),
        (("--benchmark", "mme"), UsageError, "no model to evaluate"),
        (("--model", "no-model", "--data", TABLE), MissingError, "no such model: no-model"),
        (("--model", "./runs/x", "--data", TABLE), MissingError, "no such model: ./runs/x"),
        (("--model", "x", "--url", "ftp://x", "--data", TABLE), UsageError, "not a web address"),
        (("--model", "x", "--judge-url", "http://x", "--data", TABLE), UsageError, "needs both"),
        (("--model", "x", "--benchmark", "mmstar"), MissingError, "no table of mmstar for en"),
        (
            ("--predictions", "a.tsv", "--model", "x", "--benchmark", "mme"),
            UsageError,
            "goes without --model",
        ),
        (("--benchmark", "mme", "--model", "x", "--share", "5/2"), UsageError, "not a share"),
    ],
)
def test_mistakes_are_one_line_and_a_hint(arguments, kind, problem, tmp_path):
    naming_table(tmp_path / "table_tr.tsv")
    given = [tmp_path / "table_tr.tsv" if one is TABLE else one for one in arguments]
    with pytest.raises(kind, match=problem) as caught:
        invoke(*given, "--output", tmp_path / "run")
    assert isinstance(caught.value, ParrotError)
    assert caught.value.hint
    assert "\n" not in caught.value.problem


def test_help_needs_no_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from parrot_cli.eval import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output;"
        "print(sorted(sys.modules.keys() & {'torch', 'transformers', 'matplotlib', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
