"""What a terminal is sent: rows from right to left, bars, pictures; and what it sends: keys."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from parrot_cli.chat import reading
from parrot_cli.chat.right_to_left import (
    AnswerWriter,
    arrange,
    arrange_lines,
    terminal_arranges,
)
from parrot_cli.chat.routing_bar import routing_bar
from parrot_cli.chat.thumbnails import read_protocol, thumbnail
from parrot_core.languages import LANGUAGES

ARABIC = "هذه فراشة زرقاء كبيرة على زهرة"


def screen(text, width):
    """What a terminal shows that draws letters where they come: rows of cells."""
    rows, column = [[]], 0
    for part in re.split(r"(\x1b\[2K|\r|\n)", text):
        if part == "\x1b[2K":
            rows[-1] = []
        elif part == "\r":
            column = 0
        elif part == "\n":
            rows.append([])
            column = 0
        else:
            for letter in part:
                if column == width:
                    rows.append([])
                    column = 0
                rows[-1] += [" "] * (column + 1 - len(rows[-1]))
                rows[-1][column] = letter
                column += 1
    return ["".join(row).rstrip() for row in rows]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def write(pieces, *, width=40, arranges=True, out=None):
    out = out or io.StringIO()
    writer = AnswerWriter(out, arranges=arranges, width=lambda: width)
    for piece in pieces:
        writer.write(piece)
    writer.end()
    return screen(out.getvalue(), width)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_arabic_ends_up_arranged_whatever_pieces_it_comes_in(size):
    pieces = [ARABIC[i : i + size] for i in range(0, len(ARABIC), size)]
    (row, *rest) = write(pieces)
    assert not any(rest)
    assert row == arrange(ARABIC, from_right=True, width=39)
    assert row[-1] not in ARABIC  # joined forms, the first letter at the right
    assert row.endswith(arrange("هذه", from_right=True, width=0))


def test_long_arabic_is_folded_between_words_into_rows_from_the_top():
    rows = [row for row in write(list(ARABIC), width=16) if row]
    assert len(rows) > 1
    assert all(len(row) <= 15 for row in rows)
    assert [word for row in rows for word in reversed(row.split())] == [
        arrange(word, from_right=True, width=0) for word in ARABIC.split()
    ]


def test_a_row_that_begins_with_a_foreign_word_runs_as_its_paragraph_does():
    text = "هذه فراشة كبيرة butterfly جميلة"
    rows = [row for row in write(list(text), width=20) if row]
    assert len(rows) == 2
    assert rows[1].endswith("butterfly")  # the row's first word, at the right
    assert rows[1].startswith(" ")


def test_each_line_of_a_question_is_arranged_by_itself():
    arranged = arrange(ARABIC, from_right=True, width=0)
    assert arrange_lines(f"What is it?\n{ARABIC}") == f"What is it?\n{arranged}"


def test_left_to_right_text_is_written_as_it_comes():
    text = "A large butterfly\nwith blue wings, and much more to be said of it than fits"
    assert "".join(write([text[:9], text[9:]], arranges=True)) == text.replace("\n", "")
    assert write(list(ARABIC), arranges=False) == [ARABIC, ""]


@pytest.mark.parametrize("arranges", [True, False])
def test_an_answer_cannot_command_the_terminal_but_goes_into_a_pipe_as_it_is(arranges):
    answer = "a\x1b[2Jb\r\n\x9b1mc\x07\td"
    drawn = "".join(write(list(answer), arranges=arranges, out=Terminal()))
    assert drawn == "a␛[2Jb�1mc␇    d"
    piped = io.StringIO()
    write(list(answer), arranges=False, out=piped)
    assert piped.getvalue() == f"{answer}\n"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VTE_VERSION": "7200"}, True),
        ({"VTE_VERSION": "5202"}, False),
        ({"KONSOLE_VERSION": "230804"}, True),
        ({"TERM_PROGRAM": "Apple_Terminal"}, True),
        ({"TERM": "xterm-kitty"}, False),
    ],
)
def test_terminals_that_arrange_are_known(environment, expected):
    assert terminal_arranges(environment) is expected


@pytest.mark.parametrize("colours", ["truecolor", None])
def test_a_bar_is_as_long_as_its_weights_and_legible_without_colour(colours):
    console = Console(
        file=io.StringIO(),
        width=60,
        color_system=colours,
        force_terminal=True,
        no_color=not colours,
    )
    console.print(routing_bar([0.5, 0.25, 0.2, 0.05], ["Turkish", None, "Arabic"], width=60))
    text = re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())
    bar, *legend = text.splitlines()
    assert len(bar) == 59
    assert [len(part) + 1 for part in re.findall(r"\d(█*)", bar)] == [29, 15, 12, 3]
    joined = "   ".join(legend)
    for entry in ("1 Turkish 50.0%", "2 shared 25.0%", "3 Arabic 20.0%", "4 shared 5.0%"):
        assert entry in joined


def test_a_bar_of_no_weight_has_no_cell():
    assert str(routing_bar([1.0, 0.0], [], width=11)).startswith("1█████████\n")


@pytest.mark.parametrize(
    ("reply", "protocol"),
    [
        (b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c", "kitty"),
        (b"\x1b[?62;4;22c", "sixel"),
        (b"\x1b[?4c", None),  # the first number is the terminal's class
        (b"\x1b[?1;2c", None),
        (b"x\x1b[?62;4c", "sixel"),  # something was typed
        (b"", None),
    ],
)
def test_what_a_terminal_replies_tells_its_protocol(reply, protocol):
    assert read_protocol(reply) == protocol


@pytest.fixture
def picture():
    """Four areas of plain colours, which no palette changes."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, 30:] = (255, 0, 0)
    pixels[20:, :30] = (0, 255, 0)
    pixels[20:, 30:] = (0, 0, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("protocol", ["kitty", "iterm2"])
def test_a_png_within_the_protocol_is_the_picture(picture, protocol):
    noise = Image.effect_noise((150, 150), 90).convert("RGB")  # more than one message
    for one in (picture, noise):
        sent = thumbnail(one, protocol)
        if protocol == "kitty":
            messages = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", sent)
            assert messages[0][0].startswith("a=T,f=100,r=8")
            assert [m[0][-3:] for m in messages] == ["m=1"] * (len(messages) - 1) + ["m=0"]
            data = "".join(payload for _, payload in messages)
        else:
            data = re.fullmatch(r"\x1b\]1337;File=inline=1;[^:]*:(.*)\a", sent)[1]
        shown = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        assert np.array_equal(np.asarray(shown), np.asarray(one))


def decode_sixel(text):
    """Draws what a terminal would, as the VT340's manual has it."""
    body = re.fullmatch(r'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    width, height = int(body[1]), int(body[2])
    pixels = np.full((height + 6, width, 3), 127, np.uint8)
    colours, colour, x, y = {}, 0, 0, 0
    pattern = r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|([?-~])"
    for found in re.finditer(pattern, body[3]):
        if found[1]:
            colours[int(found[1])] = [round(int(found[i]) * 2.55) for i in (2, 3, 4)]
        elif found[5]:
            colour = int(found[5])
        elif found[8]:
            x, y = 0, y + (6 if found[8] == "-" else 0)
        else:
            count, sign = (int(found[6]), found[7]) if found[6] else (1, found[9])
            for row in range(6):
                if (ord(sign) - 63) >> row & 1:
                    pixels[y + row, x : x + count] = colours[colour]
            x += count
    return pixels[:height]


def test_sixel_draws_the_picture(picture):
    assert np.array_equal(decode_sixel(thumbnail(picture, "sixel")), np.asarray(picture))


@pytest.fixture
def reminded():
    """What the user was told while typing."""
    return []


@pytest.fixture
def enter(monkeypatch, tmp_path, reminded):
    """Types keys, further ones after each question, and returns the questions."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def enter(*typed):
        with create_pipe_input() as source, create_app_session(source, DummyOutput()):
            monkeypatch.setattr(reading, "create_input", lambda **_: source)
            monkeypatch.setattr(reading.os, "isatty", lambda _: True)
            questions = []
            waiting = list(typed)
            source.send_text(waiting.pop(0))
            commands = ("/lang", "/image", "/retry")
            for question in reading.questions_from_terminal(
                commands, status=lambda: "status", remind=reminded.append
            ):
                questions.append(question)
                if waiting:
                    source.send_text(waiting.pop(0))
            return questions

    return enter


LEAVE = "\x04"
UP = "\x1b[A"


def test_enter_sends_and_alt_enter_or_a_backslash_begins_a_line(enter):
    assert enter("one\rtwo\x1b\rthree\rfour\\\rfive\r" + LEAVE) == [
        "one",
        "two\nthree",
        "four\nfive",
    ]


def test_lines_are_edited_and_earlier_ones_come_back(enter):
    asked = enter("wat?\x1b[D\x1b[D\x1b[Dh\r", UP + "!\r", LEAVE)
    assert asked == ["what?", "what?!"]
    # The newest first, in another session too.
    assert list(reading.earlier_lines().load_history_strings()) == ["what?!", "what?"]


def test_ctrl_c_clears_the_line_and_stays(enter, reminded):
    assert enter("half a\x03whole\r" + LEAVE) == ["whole"]
    assert reminded == ["Ctrl-D or /quit leaves"]


def test_pasted_lines_stay_together(enter):
    assert enter("\x1b[200~one\ntwo\x1b[201~\r" + LEAVE) == ["one\ntwo"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/re", ["try", "set"]),
        ("/lang i", ["d", "t"]),
        ("/lang ", list(LANGUAGES)),
        ("/image {folder}/butt", ["erfly.png"]),
        ("", []),
        ("a question", []),
        ("/retry ", []),
    ],
)
def test_what_tab_completes(tmp_path, text, expected):
    (tmp_path / "butterfly.png").write_bytes(b"")
    document = Document(text.format(folder=tmp_path))
    completer = reading.LineCompleter(("/lang", "/image", "/retry", "/reset"))
    found = completer.get_completions(document, CompleteEvent(completion_requested=True))
    typed = document.text_before_cursor
    become = [typed[: len(typed) + one.start_position] + one.text for one in found]
    assert become == [typed + rest for rest in expected]


def test_earlier_lines_are_for_the_user_alone(enter, tmp_path):
    enter("secret\r" + LEAVE)
    path = tmp_path / "parrot" / "chat-history"
    assert path.stat().st_mode & 0o077 == 0
    assert "secret" in path.read_text(encoding="utf-8")
