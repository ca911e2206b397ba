from pathlib import Path

import pytest

from parrot_core.errors import UsageError
from parrot_core.translation.glossary import read_glossary
from parrot_core.translation.tables import read_table


def read(path: Path, *, delimiters: str = ",;\t") -> list[tuple[int, list[str]]]:
    return list(read_table(path, delimiters=delimiters, needed=("id", "text"), hint="Mend it."))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_however_a_spreadsheet_wrote_it(
    tmp_path: Path, delimiter: str, encoding: str, end: str
):
    path = tmp_path / "table.csv"
    rows = [("id ", "text", "note"), ("1", f'"ağaç{delimiter} ""{end}b"', ""), ("", "", ""), ("2",)]
    path.write_text(end.join(map(delimiter.join, rows)), encoding=encoding, newline="")
    assert read(path) == [
        (1, ["id", "text", "note"]),
        (2, ["1", f'ağaç{delimiter} "{end}b', ""]),
        (5, ["2", "", ""]),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'id,text\n1,a\n2,"b\n3,c\n', ":3: not a table"),
        (b"id,text\n\n1,one, two\n", ":3: more cells than columns"),
        (b"id,text,text\n1,a,b\n", ":1: two columns text"),
        (b"id;words\n1;a\n", ":1: no column text"),
        (b"", ":1: no column id, text"),
        ("id,text\n1,ağaç\n".encode("cp1254"), "is not UTF-8"),
    ],
)
def test_a_table_in_which_cells_cannot_be_told_apart_is_not_read(
    tmp_path: Path, content: bytes, words: str
):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("en,tr\ncar,araba\ncar,oto\n", ":3: 'car' stands on line 2 already"),
        ("en,tr\n,araba\n", ":2: no term"),
        ("tr,ru\na,b\n", "no one column 'en'"),
        ("en,tr,Turkish\ncar,araba,oto\n", "or two of one"),
    ],
)
def test_a_glossary_in_which_a_term_has_no_one_translation_is_refused(
    tmp_path: Path, content: str, words: str
):
    path = tmp_path / "glossary.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        read_glossary(path, source_language="en")


def test_a_glossary_may_come_from_a_spreadsheet_that_sets_semicolons(tmp_path: Path):
    path = tmp_path / "glossary.csv"
    path.write_text("en;tr\ncar;araba\nParrot;=\n", encoding="utf-8-sig")
    terms = read_glossary(path, source_language="en").terms
    assert terms == {"tr": {"car": "araba", "Parrot": "Parrot"}}
