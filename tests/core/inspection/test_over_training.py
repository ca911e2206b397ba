import json

import pytest
import torch

from parrot_core.errors import MissingError, UsageError
from parrot_core.inspection import LoggedRouting, read_routing_log
from parrot_core.training.tally import Tally
from parrot_core.training.world import World

LINES = [
    {"step": 1, "loss": 2.0},
    {"step": 20, "loss": 1.0, "routing_by_language": {"en": [0.25, 0.75], "tr": [0.5, 0.5]}},
    {"step": 10, "loss": 1.5, "routing_by_language": {"en": [0.5, 0.5]}},
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


def test_what_training_logs_is_read(tmp_path):
    tally = Tally(("en", "tr"), experts=2, device=torch.device("cpu"))
    tally.count_output(
        loss=torch.tensor(1.0),
        labels=torch.tensor([[-100, 5], [-100, 6]]),
        languages=torch.tensor([0, 1]),
        token_losses=None,
        routing_weights=torch.tensor([[0.25, 0.75], [0.5, 0.5]]),
        images=torch.tensor([1, 1]),
    )
    write(tmp_path, [{"step": 7, **tally.drain(World())}])
    (entry,) = read_routing_log(tmp_path)
    assert entry == LoggedRouting(step=7, routing={"en": (0.25, 0.75), "tr": (0.5, 0.5)})


def test_a_last_line_that_was_cut_off_is_passed_over(tmp_path):
    write(tmp_path, LINES, end='\n{"step": 30, "rou')
    assert len(read_routing_log(tmp_path)) == 2


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1, "routing_by_language": {"en": [0.5',
        '{"step": 1, "routing_by_language": {"en": [0.5, 0.1]}}',
        '{"step": 1, "routing_by_language": {"en": [0.5, 0.5], "tr": [1.0]}}',
        '{"step": 1, "routing_by_language": [0.5, 0.5]}',
        '{"routing_by_language": {"en": [0.5, 0.5]}}',
        '{"step": 1, "routing_by_language": {"en": 1}}',
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
