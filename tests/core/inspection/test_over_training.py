import json

import pytest

from parrot_core.errors import MissingError, UsageError
from parrot_core.inspection import read_routing_log

LINES = [
    {"step": 1, "loss": 2.0},
    {"step": 20, "loss": 1.0, "routing": {"en": [0.25, 0.75], "tr": [0.5, 0.5]}},
    {"step": 10, "loss": 1.5, "routing": {"en": [0.5, 0.5]}},
]


def write(folder, lines, end="\n"):
    path = folder / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + end, encoding="utf-8")
    return path


def test_lines_with_routing_are_read_in_the_order_of_steps(tmp_path):
    path = write(tmp_path, LINES)
    log = read_routing_log(tmp_path)
    assert [entry.step for entry in log] == [10, 20]
    assert log[1].routing == {"en": (0.25, 0.75), "tr": (0.5, 0.5)}
    assert read_routing_log(path) == log


def test_a_last_line_that_was_cut_off_is_passed_over(tmp_path):
    write(tmp_path, LINES, end='\n{"step": 30, "rou')
    assert len(read_routing_log(tmp_path)) == 2


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1, "routing": {"en": [0.5',
        '{"step": 1, "routing": {"en": [0.5, 0.1]}}',
        '{"step": 1, "routing": {"en": [0.5, 0.5], "tr": [1.0]}}',
        '{"step": 1, "routing": [0.5, 0.5]}',
        '{"routing": {"en": [0.5, 0.5]}}',
        '{"step": 1, "routing": {"en": 1}}',
    ],
)
def test_a_line_that_is_not_a_logs_is_named(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_text(f"{line}\n{json.dumps(LINES[1])}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"log.jsonl:1: "):
        read_routing_log(path)


def test_a_log_without_routing_and_no_log_are_said(tmp_path):
    with pytest.raises(MissingError, match="no log of a run"):
        read_routing_log(tmp_path)
    write(tmp_path, LINES[:1])
    with pytest.raises(UsageError, match="says nothing about routing"):
        read_routing_log(tmp_path)
