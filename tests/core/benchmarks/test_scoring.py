import json
import shutil

import pytest

from parrot_core.benchmarks.base import Question
from parrot_core.benchmarks.forms import detect_form, score
from parrot_core.benchmarks.predictions import read_predictions
from parrot_core.benchmarks.scoring import grade, vanilla
from parrot_core.benchmarks.tables import read_questions
from parrot_core.errors import UsageError
from tests.core.benchmarks.vectors import SCORING, expected

TOOLKIT = "vlmevalkit"


def scored(folder, *, scorer=TOOLKIT, data="data.tsv", form=None, keep=bool):
    path = SCORING / folder / data
    questions = read_questions(path, with_pictures=False)
    predictions = read_predictions(SCORING / folder / "predictions.tsv", questions)
    questions = [question for question in questions if keep(question)]
    graded = grade(questions, predictions, scorer=scorer)
    return score(form or detect_form(questions), graded, questions, scorer=scorer), graded


def values(splits):
    return {
        split: {name: share.value for name, share in columns.items()}
        for split, columns in splits.items()
    }


def assert_tables_agree(found, wanted):
    assert found.keys() == wanted.keys()
    for split, columns in wanted.items():
        assert found[split] == pytest.approx(columns, abs=1e-9)


@pytest.mark.parametrize(
    ("folder", "form"),
    [
        ("t2_mmbench_circular", "circular"),
        ("t3_circular_g_index", "circular"),
        ("t4_circular_incomplete", "circular"),
        ("t5_vanilla_na_text", "multiple choice"),
        ("t6_vanilla_no_split", "multiple choice"),
    ],
)
def test_the_toolkit_s_tables_are_reproduced(folder, form):
    questions = read_questions(SCORING / folder / "data.tsv", with_pictures=False)
    assert detect_form(questions) == form
    scores, _ = scored(folder)
    wanted = expected(folder)
    assert_tables_agree(values(scores.splits), wanted["accuracy"])
    hits = {key.rpartition("/")[2]: int(hit) for key, hit in scores.units.items()}
    assert hits == wanted["hits"]
    for mode, name in (
        ("vanilla_0", "first rotation"),
        ("vanilla_all", "every rotation by itself"),
    ):
        modes = wanted.get("all_modes", {})
        by_split = {key.split("_")[-1]: table for key, table in modes.items() if mode in key}
        if len(by_split) == 1:
            (table,) = by_split.values()
            assert scores.extra[name].value == pytest.approx(table["Overall"], abs=1e-9)


def test_the_six_languages_of_one_file_are_scored_apart():
    for name, wanted in expected("t1_mmmb_vanilla_6lang")["per_dataset"].items():
        scores, _ = scored("t1_mmmb_vanilla_6lang", keep=lambda q, name=name: q.table == name)
        assert_tables_agree(values(scores.splits), wanted["accuracy"])


@pytest.mark.parametrize("folder", ["m1_mme", "m2_mme_shuffled", "m3_mme_three_questions"])
def test_the_toolkit_s_mme_is_reproduced(folder):
    scores, graded = scored(folder, data="predictions.tsv")
    wanted = expected(folder)
    assert scores.points == pytest.approx(wanted["scores"], abs=1e-9)
    extracted = {str(one.question.index): one.inferred or "Unknown" for one in graded}
    assert extracted == wanted["extracted"]


def test_mme_wants_every_question_of_a_picture_right():
    strict, _ = scored("m3_mme_three_questions", data="predictions.tsv", scorer="multilingual")
    lax, _ = scored("m3_mme_three_questions", data="predictions.tsv")
    assert strict.points["OCR"] <= lax.points["OCR"] + 100


def test_the_toolkit_s_pope_is_reproduced():
    scores, _ = scored("m4_pope", data="predictions.tsv")
    for category, figures in expected("m4_pope")["scores"].items():
        prefix = "" if category == "Overall" else f"{category}/"
        found = {name: scores.points[f"{prefix}{name}"] for name in figures}
        assert found == pytest.approx(figures, abs=1e-9)


def test_pope_counts_a_row_of_several_categories_once_in_all():
    scores, graded = scored("m4_pope", data="predictions.tsv", scorer="multilingual")
    right = sum(one.hit for one in graded)
    assert scores.points["acc"] == pytest.approx(100 * right / len(graded))


def test_the_toolkit_s_yes_no_rating_is_reproduced():
    scores, _ = scored("m5_yesno_default", data="predictions.tsv", form="yes/no")
    (columns,) = values(scores.splits).values()
    wanted = {name: value / 100 for name, value in expected("m5_yesno_default")["scores"].items()}
    assert columns == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("scorer", "column"),
    [("multilingual", "multilingual_intended"), (TOOLKIT, "strict_english_words_only")],
)
def test_the_pairs_of_the_paper_are_scored(scorer, column):
    for language, wanted in expected("p1_mmmb_yesno_pairs")[column].items():
        scores, _ = scored(
            "p1_mmmb_yesno_pairs",
            data="predictions.tsv",
            scorer=scorer,
            keep=lambda q, language=language: language in ("all", q.language),
        )
        (columns,) = values(scores.splits).values()
        overall = columns.pop("Overall")
        assert overall == pytest.approx(wanted["pair_acc"], abs=1e-9)
        assert scores.main.n == wanted["pairs"]
        assert columns == pytest.approx(wanted["by_category_pair_acc"], abs=1e-9)
        questions = scores.extra["question accuracy"]
        assert questions.value == pytest.approx(wanted["question_acc"], abs=1e-9)


def test_a_missing_rotation_is_an_error_that_is_named():
    with pytest.raises(UsageError, match=r"rows have no answer \(index 11"):
        scored("t4_circular_incomplete", scorer="multilingual")


def test_a_table_without_a_rotation_is_refused(tmp_path):
    source = SCORING / "t2_mmbench_circular" / "predictions.tsv"
    lines = source.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("1000042\t")]
    assert len(kept) == len(lines) - 1
    path = tmp_path / "table.tsv"
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    questions = read_questions(path, with_pictures=False)
    graded = grade(questions, read_predictions(path, questions))
    with pytest.raises(UsageError, match="question 42 of table has 2 rotations of its 3 options"):
        score("circular", graded, questions, scorer="multilingual")
    assert score("circular", graded, questions, scorer=TOOLKIT).main.n == 40


def test_option_texts_such_as_none_are_texts():
    _, graded = scored("t5_vanilla_na_text", scorer="multilingual")
    said = {one.question.index: one for one in graded}
    assert said[1].prediction == "null"
    assert said[1].hit


def test_circular_is_never_more_than_the_rotations_by_themselves():
    scores, _ = scored("t2_mmbench_circular", scorer="multilingual")
    assert scores.main.value <= scores.extra["first rotation"].value


def test_half_a_pair_is_refused(tmp_path):
    lines = (SCORING / "p1_mmmb_yesno_pairs" / "predictions.tsv").read_text("utf-8").splitlines()
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    questions = read_questions(path, with_pictures=False)
    graded = grade(questions, read_predictions(path, questions))
    with pytest.raises(UsageError, match="has the answers"):
        score("yes/no pairs", graded, questions, scorer="multilingual")


def test_a_secret_answer_cannot_be_scored():
    question = Question(index=1, table="test", language="en", text="?", options={"A": "x"})
    with pytest.raises(UsageError, match="no answer to compare with"):
        vanilla(grade([question], {question.key: "A"}))


def test_answers_are_read_from_jsonl_and_tsv_alike(tmp_path):
    folder = "t6_vanilla_no_split"
    questions = read_questions(SCORING / folder / "data.tsv", with_pictures=False)
    from_tsv = read_predictions(SCORING / folder / "predictions.tsv", questions)
    path = tmp_path / "answers.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for key, text in from_tsv.items():
            index = int(key.rpartition("/")[2])
            file.write(json.dumps({"index": index, "prediction": text}) + "\n")
    assert read_predictions(path, questions) == from_tsv


def test_a_row_of_other_data_is_refused(tmp_path):
    questions = read_questions(SCORING / "t6_vanilla_no_split" / "data.tsv", with_pictures=False)
    path = tmp_path / "answers.tsv"
    path.write_text("index\tprediction\n9999\tA\n", encoding="utf-8")
    with pytest.raises(UsageError, match="the data have no index 9999"):
        read_predictions(path, questions)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"index": 1, "prediction": ["A"]}', "neither a text nor a number"),
        (b'{"index": "inf", "prediction": "A"}', "index 'inf' is no whole number"),
        (b'{"index": 1.5, "prediction": "A"}', "index 1.5 is no whole number"),
        (b'{"key": ["x"], "language": ["x"], "prediction": "A"}', "index '' is no whole number"),
        (b'{"key": "data/1"}', "no prediction"),
        (b'{"index": ' + b"[" * 100_000, "not JSON"),
        (b'{"index": 1, "prediction": "caf\xe9"}', "not JSON in UTF-8"),
        (b'{"index": 1, "prediction": "A"', "not JSON"),
        (b'["A"]', "not a JSON object"),
    ],
)
def test_a_line_that_is_no_answer_is_named(tmp_path, line, problem):
    questions = read_questions(SCORING / "t6_vanilla_no_split" / "data.tsv", with_pictures=False)
    path = tmp_path / "answers.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(UsageError, match=rf"answers\.jsonl:1: .*{problem}"):
        read_predictions(path, questions)


def write_answers(path, columns, rows):
    lines = ["\t".join(map(str, line)) for line in (columns, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def in_three_languages(tmp_path, rows=3):
    columns = ("index", "question", "A", "B", "answer")
    return {
        code: read_questions(
            write_answers(
                tmp_path / f"mini_{code}.tsv",
                columns,
                [(index, "What?", "cat", "dog", "A") for index in range(rows)],
            ),
            with_pictures=False,
        )
        for code in ("en", "cn", "tr")
    }


def test_answers_to_other_languages_are_left_out_and_never_taken_for_those_asked(tmp_path, caplog):
    asked = in_three_languages(tmp_path)
    rows = [(index, code, f"{code} {index}") for code in asked for index in range(3)]
    path = write_answers(tmp_path / "all.tsv", ("index", "language", "prediction"), rows)
    assert read_predictions(path, asked["tr"]) == {f"mini_tr/{n}": f"tr {n}" for n in range(3)}
    assert "6 answers are to other tables or languages" in caplog.text
    english = write_answers(tmp_path / "e.tsv", ("index", "language", "prediction"), rows[:3])
    with pytest.raises(UsageError, match="no answers to these questions"):
        read_predictions(english, asked["tr"])


def test_answers_that_the_toolkit_numbered_anew_find_their_questions(tmp_path):
    asked = in_three_languages(tmp_path)
    columns = ("index", "original_index", "SUB_DATASET", "prediction")
    rows = [
        (3 * place + index, index, f"MINI_{code}", f"{code} {index}")
        for place, code in enumerate(asked)
        for index in range(3)
    ]
    path = write_answers(tmp_path / "model_MINI.tsv", columns, rows)
    found = read_predictions(path, [question for one in asked.values() for question in one])
    assert found == {f"mini_{code}/{n}": f"{code} {n}" for code in asked for n in range(3)}


def test_a_null_is_an_answer_without_words(tmp_path):
    questions = read_questions(SCORING / "t6_vanilla_no_split" / "data.tsv", with_pictures=False)
    path = tmp_path / "answers.jsonl"
    path.write_text('\ufeff{"index": 1, "prediction": null}\n', encoding="utf-8")
    assert list(read_predictions(path, questions).values()) == [""]


def test_a_spreadsheet_s_answers_are_read(tmp_path):
    from tests.core.benchmarks.spreadsheets import write_spreadsheet

    questions = read_questions(SCORING / "t6_vanilla_no_split" / "data.tsv", with_pictures=False)
    path = tmp_path / "answers.xlsx"
    write_spreadsheet(path, [("index", "prediction"), (1, "A"), (2, "The answer is B"), (3, 4)])
    found = read_predictions(path, questions)
    assert list(found.values()) == ["A", "The answer is B", 4]


def test_a_file_that_is_no_spreadsheet_is_named(tmp_path):
    questions = read_questions(SCORING / "t6_vanilla_no_split" / "data.tsv", with_pictures=False)
    path = tmp_path / "answers.xlsx"
    shutil.copy(SCORING / "t6_vanilla_no_split" / "predictions.tsv", path)
    with pytest.raises(UsageError, match="not a spreadsheet"):
        read_predictions(path, questions)
