import io
import sys
from pathlib import Path

import pytest

from parrot_cli.output import loading, print_error


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


def test_an_error_cannot_command_the_terminal(capsys):
    print_error("no such image: a\x1b[2Jb.png", hint="Look\x07 again.")
    said = capsys.readouterr().err
    assert said == "error: no such image: a␛[2Jb.png\nhint: Look␇ again.\n"
