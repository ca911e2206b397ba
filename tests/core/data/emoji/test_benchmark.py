import base64
import csv
from collections import Counter

import pytest

from parrot_core.data.emoji.benchmark import (
    NAMING_COLUMNS,
    YES_NO_COLUMNS,
    draw_naming,
    draw_yes_no,
    naming_rows,
    write_tsv,
    yes_no_rows,
)
from parrot_core.data.emoji.concepts import concept_table, select_concepts
from parrot_core.data.emoji.questions import ConceptPool
from parrot_core.data.emoji.wording import load_wording
from parrot_core.errors import UsageError
from parrot_core.languages import PAPER_LANGUAGES

REFERENCE_CHARACTERS = 64  # up to here VLMEvalKit takes an image cell for another row's index


@pytest.fixture
def pool(materials):
    return ConceptPool(select_concepts(concept_table(materials)))


@pytest.fixture
def root(tmp_path, pool):
    """Pictures whose bytes say what they show, long enough not to be taken for a reference."""
    folder = tmp_path / "images" / "noto"
    folder.mkdir(parents=True)
    for concept in pool.concepts:
        (folder / f"{concept.codepoints}.png").write_bytes(concept.codepoints.encode() * 20)
    return tmp_path


@pytest.fixture
def rows(pool, root):
    """Returns the rows of a form in one language; the draws are the same in each."""

    def rows(form, code):
        wording = load_wording([code])[code]
        arguments = {"language": code, "style": "noto", "split": "test", "root": root}
        if form == "naming":
            questions = draw_naming(pool, count=8, purpose="test", seed=0)
            return naming_rows(questions, wording, **arguments)
        pairs = draw_yes_no(pool, count=8, purpose="test", seed=0)
        return yes_no_rows(pairs, wording, **arguments)

    return rows


def shown(row):
    return base64.b64decode(row["image"])[: len(base64.b64decode(row["image"])) // 20].decode()


def test_no_concept_is_asked_about_twice(pool):
    for questions in (
        draw_naming(pool, count=9, purpose="test", seed=0),
        draw_yes_no(pool, count=9, purpose="test", seed=0),
    ):
        assert len({question.concept.codepoints for question in questions}) == 9


def test_every_letter_is_right_equally_often(rows):
    assert Counter(row["answer"] for row in rows("naming", "en")) == dict.fromkeys("ABCD", 2)


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_the_right_option_names_the_picture_and_the_others_do_not(rows, pool, code):
    names = {concept.codepoints: concept.names[code] for concept in pool.concepts}
    for row in rows("naming", code):
        options = [row[letter] for letter in "ABCD"]
        assert row[row["answer"]] == names[shown(row)]
        assert len(set(options)) == 4
        assert set(options) <= set(names.values())


@pytest.mark.parametrize("form", ["naming", "yes_no"])
def test_all_languages_are_asked_the_same(rows, form):
    def asked(code):
        return [(row["index"], row["image"], row["answer"]) for row in rows(form, code)]

    assert all(asked(code) == asked("en") for code in PAPER_LANGUAGES)


@pytest.mark.parametrize("code", PAPER_LANGUAGES)
def test_a_pair_asks_of_one_picture_with_its_name_and_with_another(rows, pool, code):
    names = {concept.codepoints: concept.names[code] for concept in pool.concepts}
    table = rows("yes_no", code)
    by_index = {row["index"]: row for row in table}
    for first, second in zip(table[::2], table[1::2], strict=True):
        assert first["pair_id"] == second["pair_id"]
        assert by_index[second["image"]] is first
        assert {first["answer"], second["answer"]} == {"Yes", "No"}
        name = names[shown(first)]
        for row in (first, second):
            is_named = f": {name}" in row["question"] or f"： {name}" in row["question"]
            assert is_named == (row["answer"] == "Yes")


def test_the_right_question_comes_first_in_some_pairs_and_second_in_others(rows):
    assert {row["answer"] for row in rows("yes_no", "en")[::2]} == {"Yes", "No"}


def test_references_are_short_and_pictures_are_not(rows):
    table = rows("yes_no", "en")
    assert all(len(row["image"]) > REFERENCE_CHARACTERS for row in table[::2])
    assert all(len(row["image"]) <= REFERENCE_CHARACTERS for row in table[1::2])


def test_validation_and_test_ask_differently(pool):
    test = draw_naming(pool, count=8, purpose="test", seed=0)
    assert test == draw_naming(pool, count=8, purpose="test", seed=0)
    assert test != draw_naming(pool, count=8, purpose="validation", seed=0)
    assert test != draw_naming(pool, count=8, purpose="test", seed=1)


@pytest.mark.parametrize("draw", [draw_naming, draw_yes_no])
def test_more_questions_than_concepts_are_refused(pool, draw):
    with pytest.raises(UsageError, match="need as many concepts, 9 are selected"):
        draw(pool, count=10, purpose="test", seed=0)


@pytest.mark.parametrize(
    ("form", "columns"), [("naming", NAMING_COLUMNS), ("yes_no", YES_NO_COLUMNS)]
)
def test_a_file_reads_back_as_it_was_written(rows, tmp_path, form, columns):
    table = rows(form, "ar")
    write_tsv(tmp_path / "table.tsv", table, columns=columns)
    with (tmp_path / "table.tsv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        assert list(reader) == table
    assert tuple(reader.fieldnames) == columns
