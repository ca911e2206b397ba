import base64
import csv
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from parrot_core.benchmarks.forms import detect_form
from parrot_core.benchmarks.registry import find_tables, get_benchmark
from parrot_core.benchmarks.tables import read_questions
from parrot_core.benchmarks.tsv import read_records
from parrot_core.errors import MissingError, UsageError


def picture(colour="red", size=8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def encoded(colour="red", size=8) -> str:
    return base64.b64encode(picture(colour, size)).decode()


def write(path, rows, columns=("index", "image", "question", "A", "B", "answer", "category")):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def row(index, image=None, answer="A", question="What?"):
    return (index, encoded() if image is None else image, question, "cat", "dog", answer, "x")


def test_pictures_come_as_they_were_encoded(tmp_path):
    path = write(tmp_path / "t_tr.tsv", [row(1), row(2, encoded("blue"))])
    questions = read_questions(path)
    assert [question.images[0].load() for question in questions] == [picture(), picture("blue")]
    assert {question.language for question in questions} == {"tr"}


def test_a_short_cell_refers_to_another_row_s_picture(tmp_path):
    questions = read_questions(write(tmp_path / "t.tsv", [row(2, "7"), row(7)]))
    assert questions[0].images[0].load() == picture()


@pytest.mark.parametrize(
    ("name", "language"), [("t_cn", "zh"), ("t_zh-tw", "zh-tw"), ("t_pt-BR", "pt"), ("t_xx", "und")]
)
def test_the_end_of_a_table_s_name_says_its_language(tmp_path, name, language):
    (question,) = read_questions(write(tmp_path / f"{name}.tsv", [row(1)]))
    assert question.language == language


def test_a_list_of_pictures_is_read_as_literals(tmp_path):
    cell = str([encoded(), encoded("green")])
    (question,) = read_questions(write(tmp_path / "t.tsv", [row(1, cell)]))
    assert [image.load() for image in question.images] == [picture(), picture("green")]


def test_a_cell_is_never_run_as_code(tmp_path):
    cell = "['" + encoded() + "'.upper()]"
    with pytest.raises(UsageError, match="not a list of texts"):
        read_questions(write(tmp_path / "t.tsv", [row(1, cell)]))


def test_pictures_in_files_lie_beside_the_table(tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    columns = ("index", "image_path", "question", "answer")
    (question,) = read_questions(write(tmp_path / "t.tsv", [(1, "a.png", "?", "Yes")], columns))
    assert question.images[0].load() == picture()
    with pytest.raises(UsageError, match="leaves the image root"):
        read_questions(write(tmp_path / "t.tsv", [(1, "../a.png", "?", "Yes")], columns))


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([row(1), row(1)], "index 1 is there twice"),
        ([row("x")], "index 'x' is no whole number"),
        ([row(1, answer="C")], "answer 'C' is no option of AB"),
        ([row(1, answer="a")], "answer 'a' is no option of AB"),
        ([row(1, answer="Yes")], "answer 'Yes' is no option of AB"),
        ([row(1, encoded()[:-3])], "broken base64"),
        ([row(1, base64.b64encode(b"no picture" * 20).decode())], "of no picture that is known"),
        ([row(1, "9")], "its image is that of index 9, which has no picture"),
        ([row(1, "dog.png")], "neither a picture in base64 nor the index"),
        ([], "has no questions"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path, rows, problem):
    with pytest.raises(UsageError, match=problem):
        read_questions(write(tmp_path / "t.tsv", rows))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_picture_that_is_cut_short_is_told_before_anything_is_asked(tmp_path, kind):
    buffer = io.BytesIO()
    Image.effect_noise((40, 40), 50).convert("RGB").save(buffer, kind)
    whole = buffer.getvalue()
    for data in (whole, whole + bytes(9)):
        read_questions(write(tmp_path / "t.tsv", [row(1, base64.b64encode(data).decode())]))
    cut = whole[: len(whole) // 2]
    with pytest.raises(UsageError, match="line 2: its picture is damaged"):
        read_questions(write(tmp_path / "t.tsv", [row(1, base64.b64encode(cut).decode())]))
    columns = ("index", "image_path", "question", "answer")
    table = write(tmp_path / "f.tsv", [(1, "a.bin", "?", "Yes")], columns)
    (tmp_path / "a.bin").write_bytes(whole)
    read_questions(table)
    (tmp_path / "a.bin").write_bytes(cut)
    with pytest.raises(UsageError, match=r"line 2: cannot decode image .*a\.bin"):
        read_questions(table)


def test_a_folder_is_no_picture(tmp_path):
    (tmp_path / "a.png").mkdir()
    columns = ("index", "image_path", "question", "answer")
    with pytest.raises(UsageError, match=r"a\.png is not a file"):
        read_questions(write(tmp_path / "t.tsv", [(1, "a.png", "?", "Yes")], columns))


def test_missing_columns_are_named(tmp_path):
    with pytest.raises(UsageError, match="no column `question` and no column `image`"):
        read_questions(write(tmp_path / "t.tsv", [(1, "x")], ("index", "text")))


def test_a_column_that_is_there_twice_is_named(tmp_path):
    path = write(
        tmp_path / "t.tsv", [(1, "?", "Yes", "No")], ("index", "question", "answer", "Answer")
    )
    with pytest.raises(UsageError, match="two columns `answer`"):
        read_questions(path, with_pictures=False)


def test_options_in_small_letters_are_told(tmp_path):
    path = write(tmp_path / "t.tsv", [(1, "?", "cat", "A")], ("index", "question", "a", "answer"))
    with pytest.raises(UsageError, match="options are named by capitals"):
        read_questions(path, with_pictures=False)


@pytest.mark.parametrize("second", [encoded("blue"), "1"], ids=["repeated", "referred to"])
@pytest.mark.parametrize("with_pictures", [True, False])
def test_questions_about_one_picture_are_a_pair_whoever_answers(tmp_path, second, with_pictures):
    columns = ("index", "image", "question", "answer")
    rows = [
        (1, encoded("blue"), "Is it a cat?", "Yes"),
        (2, second, "Is it a dog?", "No"),
        (3, encoded("red"), "Is it a cat?", "No"),
        (4, encoded("red") if second != "1" else "3", "Is it a dog?", "Yes"),
    ]
    path = write(tmp_path / "t.tsv", rows, columns)
    questions = read_questions(path, with_pictures=with_pictures)
    assert questions[0].picture == questions[1].picture != questions[2].picture
    assert detect_form(questions) == "yes/no pairs"


def test_all_faults_are_told_at_once(tmp_path):
    with pytest.raises(UsageError, match=r"answer 'C'.*index 1 is there twice"):
        read_questions(write(tmp_path / "t.tsv", [row(1), row(2, answer="C"), row(1)]))


def test_a_byte_order_mark_windows_line_ends_and_quotes_are_read(tmp_path):
    path = tmp_path / "t.tsv"
    text = '\ufeffindex\tquestion\tanswer\r\n1\t"What ""is""\tthis,\nplease?"\tYes\r\n2\tb\tNo\r\n'
    path.write_bytes(text.encode("utf-8"))
    questions = read_questions(path, with_pictures=False)
    assert [question.text for question in questions] == ['What "is"\tthis,\nplease?', "b"]
    assert questions[1].origin == "t.tsv:4"


CELLS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tsv") / "t.tsv"
    write(path, [("k", *cells) for cells in rows], ("key", "question", "hint"))
    read = [record.cells for record in read_records(path)]
    assert [(cells.get("question", ""), cells.get("hint", "")) for cells in read] == rows


def test_a_quotation_mark_that_is_not_closed_is_named_with_its_line(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(b'index\tquestion\n1\t"What\n2\tb\n')
    with pytest.raises(UsageError, match=r"t\.tsv:2: a quotation mark that is never closed"):
        read_questions(path, with_pictures=False)


def test_what_is_not_utf_8_is_named_with_its_line(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(b"index\tquestion\n1\tcaf\xe9\n")
    with pytest.raises(UsageError, match=r"t\.tsv:2: not UTF-8"):
        read_questions(path, with_pictures=False)


def test_a_table_of_large_pictures_costs_little_memory(tmp_path):
    cell = base64.b64encode(b"\x89PNG" + bytes(150_000) + b"IEND\xaeB`\x82").decode()
    path = write(tmp_path / "t.tsv", [row(index, cell) for index in range(100)])
    tracemalloc.start()
    questions = read_questions(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(questions) == 100
    assert peak < path.stat().st_size / 10


def test_the_toolkit_s_spelling_of_chinese_is_found_first(tmp_path):
    for name in ("MMMB_cn.tsv", "mmmb_tr.tsv"):
        (tmp_path / name).touch()
    found = find_tables(get_benchmark("mmmb"), tmp_path, languages=("zh", "tr"))
    assert [path.name for path in found.values()] == ["MMMB_cn.tsv", "mmmb_tr.tsv"]
    with pytest.raises(MissingError, match="no table of mmmb for ru"):
        find_tables(get_benchmark("mmmb"), tmp_path, languages=("ru",))


def test_the_tables_of_a_form_are_taken_where_it_is_asked_for(tmp_path):
    for name in ("mmmb_zh.tsv", "mmmb_yesno_cn.tsv", "mmmb_yesno_tr.tsv"):
        (tmp_path / name).touch()
    mmmb = get_benchmark("mmmb")

    def names(form):
        found = find_tables(mmmb, tmp_path, languages=("zh", "tr"), form=form)
        return [path.name for path in found.values()]

    assert names(None) == ["mmmb_zh.tsv", "mmmb_yesno_tr.tsv"]
    assert names("yes/no pairs") == ["mmmb_yesno_cn.tsv", "mmmb_yesno_tr.tsv"]


def test_an_unknown_benchmark_is_named_with_the_nearest():
    with pytest.raises(UsageError, match="unknown benchmark 'mmbm'") as caught:
        get_benchmark("mmbm")
    assert "Did you mean mmmb?" in (caught.value.hint or "")
