import csv
from collections import Counter
from pathlib import Path

import pytest

from parrot_core.errors import UsageError
from parrot_core.translation import Limits, Settings, translate
from parrot_core.translation.benchmark import read_items, select, write_source, write_tables
from parrot_core.translation.chat_api import ChatWorker, Endpoint
from parrot_core.translation.prompts import load_prompts
from tests.translation_server import TranslationServer

COLUMNS = ("index", "image", "question", "A", "B", "C", "answer", "category")
PICTURE = "iVBORw0KGgo" * 10


def write(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([COLUMNS, *rows])
    return path


def choice(index: int, question: str = "", *, answer: str = "B", category: str = "nature", **cells):
    image = cells.get("image", f"{PICTURE}{index}")
    question = question or f"What is beside the tree {index}?"
    return (str(index), image, question, "the car", "the house", "a child", answer, category)


def yes_no(index: int, image: str, answer: str):
    return (str(index), image, f"Is the car red in {index}?", "", "", "", answer, "colour")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_items_that_the_paper_rules_out_are_left_out_and_counted(tmp_path: Path):
    source = write(
        tmp_path / "in.tsv",
        choice(0),
        choice(1, image=""),
        choice(2, "What does this Python code print?"),
        choice(3, "Which word rhymes with house?"),
        choice(4, answer="D"),
        choice(5, image="0"),  # refers to the picture of row 0, but asks something else
        choice(6, "What is beside the tree 0?", image=f"{PICTURE}0"),
        choice(7, category="ocr"),
        yes_no(8, "p", "Yes"),
    )
    found = select(read_items([source]), exclude=["ocr"])
    assert found.dropped == {
        "no-image": 1,
        "code": 1,
        "english-words": 1,
        "no-answer": 1,
        "repeated": 1,
        "category": 1,
        "no-pair": 1,
    }
    assert sorted(entry.image for entry in found.entries) == [f"{PICTURE}0"] * 2


def test_choices_become_pairs_with_the_right_and_a_wrong_option(tmp_path: Path):
    source = write(tmp_path / "in.tsv", *(choice(n) for n in range(40)))
    entries = select(read_items([source])).entries
    first = Counter(entry.answers[0] for entry in entries)
    assert 8 < first["Yes"] < 32
    for entry in entries:
        assert sorted(entry.answers) == ["No", "Yes"]
        assert '"the house"' in entry.texts[entry.answers.index("Yes")]
        assert '"the house"' not in entry.texts[entry.answers.index("No")]
    again = select(read_items([source])).entries
    assert again == entries
    assert select(read_items([source]), seed=1).entries != entries


def test_yes_no_questions_are_paired_by_their_picture(tmp_path: Path):
    source = write(
        tmp_path / "in.tsv",
        yes_no(0, "p", "Yes"),
        yes_no(1, "q", "yes"),
        yes_no(2, "q", "No"),
        yes_no(3, "p", "No"),
    )
    entries = select(read_items([source])).entries
    assert {entry.image for entry in entries} == {"p", "q"}
    for entry in entries:
        assert sorted(entry.answers) == ["No", "Yes"]


def test_categories_are_balanced(tmp_path: Path):
    many = [choice(n, category="nature" if n < 20 else "people") for n in range(23)]
    found = select(read_items([write(tmp_path / "in.tsv", *many)]), per_category=5)
    assert found.categories == {"nature": 5, "people": 3}
    assert found.dropped == {"balance": 15}


@pytest.mark.parametrize("form", ["yes-no", "choice"])
def test_all_languages_ask_the_same_in_the_same_order(tmp_path: Path, form: str):
    class LosesOne(TranslationServer):
        def special(self, body, headers):
            asked = body["messages"][1]["content"]
            if "tree 3" in asked and "Arabic" in body["messages"][0]["content"]:
                choice = {"message": {"content": "كلمات بلا رقم"}, "finish_reason": "stop"}
                return 200, {"choices": [choice]}
            return None

    source = write(tmp_path / "in.tsv", *(choice(n) for n in range(6)))
    selection = select(read_items([source]), form=form)
    write_source(selection, tmp_path / "out" / "source.jsonl")
    with LosesOne() as server:
        report = translate(
            tmp_path / "out" / "source.jsonl",
            tmp_path / "out",
            languages=["tr", "ar"],
            worker=ChatWorker(Endpoint(base_url=server.url)),
            settings=Settings(prompts=load_prompts(), model="m", steps=("draft",), on_flag="drop"),
            limits=Limits(concurrency=4),
        )
    assert report.complete
    assert report.languages["ar"].dropped == 1
    files = write_tables(
        selection, tmp_path / "out", name="mine", source_language="en", languages=["tr", "ar"]
    )
    tables = {code: rows(path) for code, path in files.items()}
    assert [path.name for path in files.values()] == ["mine_en.tsv", "mine_tr.tsv", "mine_ar.tsv"]
    fixed = ("index", "image", "answer", "category", "pair_id")
    for code in ("tr", "ar"):
        assert [[row[name] for name in fixed] for row in tables[code]] == [
            [row[name] for name in fixed] for row in tables["en"]
        ]
        assert all(
            mine["question"] != english["question"]
            for mine, english in zip(tables[code], tables["en"], strict=True)
        )
    assert not any("tree 3" in row["question"] for row in tables["en"])
    if form == "choice":
        assert len(tables["tr"]) == 5
        assert tables["tr"][0]["B"] == "bu ev"
    else:
        assert len(tables["tr"]) == 10
        first, second = tables["tr"][:2]
        assert (second["image"], second["pair_id"]) == (first["index"], first["pair_id"])


def test_rows_without_a_question_or_an_answer_are_left_out_and_counted(tmp_path: Path):
    path = tmp_path / "short.tsv"
    path.write_text("index\timage\tquestion\tA\tB\tanswer\n1\tp\n2\tq\tWhat is it?\ta car\n")
    selection = select(read_items([path]))
    assert (selection.entries, selection.dropped) == ([], {"no-question": 1, "no-answer": 1})


def test_an_unfinished_translation_makes_no_tables(tmp_path: Path):
    selection = select(read_items([write(tmp_path / "in.tsv", choice(0))]))
    with pytest.raises(UsageError, match="'tr' is not complete"):
        write_tables(selection, tmp_path, name="x", source_language="en", languages=["tr"])
    (tmp_path / "bad.tsv").write_text("a\tb\n")
    with pytest.raises(UsageError, match="no column answer, index, question"):
        list(read_items([tmp_path / "bad.tsv"]))
