import csv
from collections import Counter
from pathlib import Path

import pytest

from parrot_core.benchmarks.building import select, write_source, write_tables
from parrot_core.benchmarks.tables import read_questions
from parrot_core.errors import UsageError
from parrot_core.translation import Limits, Settings, translate
from parrot_core.translation.chat_api import ChatWorker, Endpoint
from parrot_core.translation.prompts import load_prompts
from tests.core.benchmarks.test_tables import encoded, picture
from tests.translation_server import TranslationServer

COLUMNS = ("index", "image", "question", "A", "B", "C", "answer", "category")
COLOURS = ("red", "green", "blue", "white", "black", "yellow")


def write(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([COLUMNS, *rows])
    return path


def choice(index: int, question: str = "", *, answer: str = "B", category: str = "nature", **cells):
    image = cells.get("image", encoded(COLOURS[index % 6], 8 + index // 6))
    question = question or f"What is beside the tree {index}?"
    return (str(index), image, question, "the car", "the house", "a child", answer, category)


def yes_no(index: int, image: str, answer: str):
    image = encoded(image) if image in COLOURS else image
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
        choice(4, answer=""),
        choice(9, " "),
        choice(5, image="0"),  # refers to the picture of row 0, but asks something else
        choice(6, "What is beside the tree 0?", image=encoded("red")),
        choice(7, category="ocr"),
        yes_no(8, "blue", "Yes"),
    )
    found = select(read_questions(source), exclude=["ocr"])
    assert found.dropped == {
        "no-image": 1,
        "code": 1,
        "english-words": 1,
        "no-question": 1,
        "no-answer": 1,
        "repeated": 1,
        "category": 1,
        "no-pair": 1,
    }
    assert [entry.images[0].load() for entry in found.entries] == [picture("red")] * 2


def test_choices_become_pairs_with_the_right_and_a_wrong_option(tmp_path: Path):
    source = write(tmp_path / "in.tsv", *(choice(n) for n in range(40)))
    entries = select(read_questions(source)).entries
    first = Counter(entry.answers[0] for entry in entries)
    assert 8 < first["Yes"] < 32
    for entry in entries:
        assert sorted(entry.answers) == ["No", "Yes"]
        assert '"the house"' in entry.texts[entry.answers.index("Yes")]
        assert '"the house"' not in entry.texts[entry.answers.index("No")]
    again = select(read_questions(source)).entries
    assert again == entries
    assert select(read_questions(source), seed=1).entries != entries


def test_yes_no_questions_are_paired_by_their_picture(tmp_path: Path):
    source = write(
        tmp_path / "in.tsv",
        yes_no(0, "red", "Yes"),
        yes_no(1, "blue", "yes"),
        yes_no(2, "1", "No"),
        yes_no(3, "red", "No"),
    )
    entries = select(read_questions(source)).entries
    loaded = {entry.images[0].load() for entry in entries}
    assert loaded == {picture("red"), picture("blue")}
    for entry in entries:
        assert sorted(entry.answers) == ["No", "Yes"]


def test_categories_are_balanced(tmp_path: Path):
    many = [choice(n, category="nature" if n < 20 else "people") for n in range(23)]
    found = select(read_questions(write(tmp_path / "in.tsv", *many)), per_category=5)
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
    selection = select(read_questions(source), form=form)
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


def test_the_tables_are_read_like_any_other_whatever_the_pictures_of_the_source(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture("green"))
    rows_of = [
        ("1", "", "a.png", "What is it?", "cat", "dog", "A"),
        ("2", str([encoded(), encoded("blue")]), "", "What differs?", "cat", "dog", "B"),
    ]
    source = tmp_path / "in.tsv"
    with source.open("w", newline="") as file:
        names = ("index", "image", "image_path", "question", "A", "B", "answer")
        csv.writer(file, delimiter="\t").writerows([names, *rows_of])
    selection = select(read_questions(source), form="choice")
    files = write_tables(selection, tmp_path, name="x", source_language="en", languages=[])
    loaded = {
        tuple(image.load() for image in question.images) for question in read_questions(files["en"])
    }
    assert loaded == {(picture("green"),), (picture(), picture("blue"))}


def test_a_source_of_which_nothing_is_left_is_refused_with_the_reasons(tmp_path: Path):
    source = write(tmp_path / "in.tsv", choice(0, image=""), choice(1, category="ocr"))
    with pytest.raises(UsageError, match=r"no question is left .*there is no picture"):
        select(read_questions(source), exclude=["ocr"])


def test_an_unfinished_translation_makes_no_tables(tmp_path: Path):
    selection = select(read_questions(write(tmp_path / "in.tsv", choice(0))))
    with pytest.raises(UsageError, match="'tr' is not complete"):
        write_tables(selection, tmp_path, name="x", source_language="en", languages=["tr"])
