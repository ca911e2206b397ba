import csv
import io
import json

import pytest

from parrot_core.benchmarks import Settings, score_predictions
from parrot_core.benchmarks.export import as_csv, as_markdown
from parrot_core.benchmarks.forms import FORMS
from parrot_core.errors import UsageError
from tests.core.benchmarks.test_tables import row, write

TURKISH = "Resimde masanın üstünde uyuyan bir kedi görülüyor."
ENGLISH = "The picture shows a cat that sleeps on a table."
RUSSIAN = "На столе спит кошка, рядом стоит чашка."


def said(tmp_path, answers):
    path = tmp_path / "answers.jsonl"
    lines = [json.dumps({"key": key, "index": 0, "prediction": text}) for key, text in answers]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def free_table(path, count):
    columns = ("index", "question")
    return write(path, [(index, "Ne görüyorsun?") for index in range(count)], columns)


def test_of_free_answers_the_share_in_the_language_asked_in_is_told(tmp_path):
    tables = [free_table(tmp_path / f"free_{code}.tsv", 4) for code in ("tr", "ru")]
    answers = {
        "free_tr": (TURKISH, ENGLISH, TURKISH, "42"),
        "free_ru": (RUSSIAN, RUSSIAN, RUSSIAN, ENGLISH),
    }
    path = said(
        tmp_path,
        [
            (f"{table}/{at}", text)
            for table, texts in answers.items()
            for at, text in enumerate(texts)
        ],
    )
    report = score_predictions(path, tables, settings=Settings(form="fidelity"))
    turkish, russian = report.languages["tr"], report.languages["ru"]
    assert (turkish.value, turkish.n) == (pytest.approx(2 / 3), 3)  # "42" is in any language
    assert turkish.unreadable.value == 0.25
    assert (russian.value, russian.n) == (0.75, 4)
    assert report.pooled.main.value == pytest.approx(5 / 7)
    assert len(report.pooled.units) == 7


def test_answers_in_another_language_are_told_beside_the_accuracy(tmp_path):
    table = write(tmp_path / "t_tr.tsv", [row(1), row(2)])
    path = said(tmp_path, [("t_tr/1", "Doğru cevap A şıkkıdır."), ("t_tr/2", "The answer is A.")])
    report = score_predictions(path, [table])
    assert (report.languages["tr"].value, report.languages["tr"].fidelity.value) == (1.0, 0.5)
    (first, *_) = csv.DictReader(io.StringIO(as_csv(report)))
    assert (first["value"], first["fidelity"]) == ("1.0", "0.5")
    assert "| answers in the language asked in | 50.0 |" in as_markdown(report, published=[])


def test_free_answers_without_a_judge_are_refused_with_the_way_out(tmp_path):
    table = free_table(tmp_path / "free_tr.tsv", 1)
    with pytest.raises(UsageError, match="only a judge can rate") as caught:
        score_predictions(said(tmp_path, [("free_tr/0", TURKISH)]), [table])
    assert "--form fidelity" in (caught.value.hint or "")
    assert "fidelity" in FORMS
