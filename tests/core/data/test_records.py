import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from parrot_core.data import records
from parrot_core.data.records import scan_records
from parrot_core.errors import MissingError, UsageError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(values=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 0, 2]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_array_reads_as_json_reads_it_however_small_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values, indent
):
    path = tmp_path / "data.json"
    path.write_text(
        json.dumps(values, indent=indent, ensure_ascii=indent is None), encoding="utf-8"
    )
    for block in (1, 7, 1 << 20):
        monkeypatch.setattr(records, "_BLOCK", block)
        found = list(scan_records(path))
        assert [record.value for record in found] == values
        assert [record.index for record in found] == list(range(len(values)))


def test_every_record_of_an_array_keeps_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "data.json"
    path.write_text('[\n{"a": 1,\n "b": 2},\n\n{"a": 3}, {"a": 4}\n]\n')
    for block in (3, 1 << 20):
        monkeypatch.setattr(records, "_BLOCK", block)
        assert [record.line for record in scan_records(path)] == [2, 5, 5]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[{"a": 1},\n{"a": }\n]', 2, "not JSON"),
        ('[{"a": 1}\n{"a": 2}]', 2, "expected ',' or ']'"),
        ('[{"a": 1},\n', 2, "not JSON"),
        ('[{"a": 1}]\ntrailing', 2, "text after the array"),
    ],
)
def test_a_broken_array_is_a_record_with_its_line(tmp_path: Path, text: str, line: int, words: str):
    path = tmp_path / "data.json"
    path.write_text(text)
    *_, last = scan_records(path)
    assert last.line == line
    assert words in last.problem


def test_a_broken_line_does_not_hide_the_next(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": \xff}\n{"a": 2\n{"a": 3}\n')
    found = list(scan_records(path))
    assert [record.line for record in found] == [1, 3, 4, 5]
    assert [record.problem is None for record in found] == [True, False, False, True]
    assert "not UTF-8" in found[1].problem


def test_a_byte_order_mark_is_no_fault(tmp_path: Path):
    for name, text in (("a.json", '[{"a": 1}]'), ("a.jsonl", '{"a": 1}')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert [record.value for record in scan_records(tmp_path / name)] == [{"a": 1}]


def test_what_is_no_list_is_refused_with_a_way_out(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"id": 1}')
    with pytest.raises(UsageError, match="not a JSON array") as caught:
        list(scan_records(tmp_path / "a.json"))
    assert "jsonl" in caught.value.hint
    with pytest.raises(MissingError, match="no such data file"):
        scan_records(tmp_path / "b.json")


def test_rows_of_parquet_are_records_and_are_counted_from_one(tmp_path: Path):
    rows = [
        {"id": number, "conversations": [{"from": "gpt", "value": f"{number} 猫"}], "image": None}
        for number in range(2500)
    ]
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=900)
    read = []
    found = list(scan_records(path, on_read=read.append))
    assert [record.value for record in found] == rows
    assert [record.line for record in found] == list(range(1, 2501))
    assert found[7].origin == f"{path}:[7]"
    assert read[-1] == path.stat().st_size


def test_parquet_that_is_not_whole_is_refused(tmp_path: Path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_pylist([{"id": 1}] * 100), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="not readable as Parquet"):
        list(scan_records(path))
