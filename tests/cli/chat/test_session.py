"""`parrot chat` as a program: single questions, conversations from a pipe, their mistakes."""

import io
import json
import os
import sys
from types import SimpleNamespace

import pytest
import torch

from parrot_cli.app import main
from parrot_cli.chat import session as session_module
from parrot_core.generation import answer, ask


@pytest.fixture(scope="module")
def saved(parrot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    for part in parrot:
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def run(monkeypatch, tmp_path, capsys, saved, tiny):
    """Runs the program with a text on stdin; returns its code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        tiny.image(number).save(tmp_path / f"{number}.png")

    def run(*arguments, stdin="", model=saved):
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        words = ["parrot", "chat", *map(str, arguments), "--model", str(model)]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return SimpleNamespace(code=caught.value.code or 0, out=said.out, err=said.err)

    return run


def test_several_questions_are_one_conversation_and_a_list_in_json(run, parrot, tiny):
    asked = ["0.png", "--max-tokens", "6", "--prompt", "What?", "--prompt", "Sure?"]
    result = run(*asked, "--json")
    assert result.code == 0, result.err
    replies = json.loads(result.out)
    first = ask("What?", images=[tiny.image(0)], language="en")
    (one,) = answer(*parrot, [first], max_new_tokens=6)
    history = [*first.messages, {"role": "assistant", "content": one.text}]
    second = ask("Sure?", language="en", history=history)
    second = type(second)(messages=second.messages, images=(tiny.image(0),))
    (two,) = answer(*parrot, [second], max_new_tokens=6)
    for reply, expected in zip(replies, (one, two), strict=True):
        assert set(reply) == {"answer", "language", "routing"}
        assert reply["answer"] == expected.text
        assert reply["routing"] == pytest.approx(expected.routing[0], abs=1e-5)
    assert run(*asked).out.splitlines() == [one.text, two.text]


def test_a_question_that_fails_loses_no_earlier_answer(run):
    asked = ["--max-tokens", "3", "--prompt", "What?"]
    result = run(*asked, "--prompt", "long " * 200, "--prompt", "Sure?", "--json")
    assert result.code == 2
    assert "the model takes 512" in result.err
    assert json.loads(result.out) == [json.loads(run(*asked, "--json").out)]


def test_a_full_gpu_costs_one_answer_and_no_conversation(run, parrot, monkeypatch):
    generate, asked = type(parrot[0]).generate, []

    def fill(self, **inputs):
        asked.append(inputs)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(self, **inputs)

    monkeypatch.setattr(type(parrot[0]), "generate", fill)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 24_000_000_000))
    result = run("--max-tokens", "3", stdin="What?\nSure?\n")
    assert result.code == 0
    assert "the GPU has 24 GB, 0.0 of them free, and this needs more" in result.err
    assert "Traceback" not in result.err
    assert len(asked) == 2
    assert result.out.strip()


def test_without_a_picture_there_is_no_routing(run):
    result = run("--prompt", "What?", "--max-tokens", "3", "--json")
    assert json.loads(result.out)["routing"] is None


def test_the_picture_comes_by_stdin(run, tmp_path):
    asked = ["--prompt", "What?", "--max-tokens", "5"]
    piped = run("-", *asked, stdin=(tmp_path / "1.png").read_bytes())
    assert piped.code == 0, piped.err
    assert piped.out == run("1.png", *asked).out
    assert run("-", *asked, stdin=b"no picture").code == 2
    assert "so no question can" in run("-", stdin=(tmp_path / "1.png").read_bytes()).err


def test_the_picture_comes_from_an_address(run, tmp_path, picture_server):
    (tmp_path / "a.png").write_bytes(picture_server.png)
    asked = ["--prompt", "What?", "--max-tokens", "5"]
    url = picture_server.url("/a.png")
    refused = run(url, *asked)
    assert refused.code == 2
    assert "an address on a private network" in refused.err
    assert run(url, *asked, "--allow-private-network").out == run("a.png", *asked).out
    assert run(picture_server.url("/missing"), *asked, "--allow-private-network").code == 4


def test_a_conversation_from_a_pipe_goes_on_after_every_mistake(run, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    lines = [
        "What?",
        "/lagn tr",
        "/lang xx",
        "/image broken.png",
        "/image none.png",
        "/lang tr",
        "/image 1.png",
        "Bu ne?",
        "/save talk.json",
        "/save talk.json",
        "/save talk.md",
        "/save talk.doc",
        "/quit",
        "never asked",
    ]
    result = run("0.png", "--max-tokens", "4", stdin="\n".join(lines))
    assert result.code == 0
    assert len(result.out.splitlines()) == 2
    for problem in (
        "error: no command /lagn\nhint: Did you mean /lang?",
        "error: unknown language 'xx'",
        "error: broken.png is not a picture",
        "error: no such image: none.png",
        "error: talk.json is there already",
        "error: no format for 'talk.doc'",
    ):
        assert problem in result.err
    talk = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    assert [turn["question"] for turn in talk["turns"]] == ["What?", "Bu ne?"]
    assert [turn["language"] for turn in talk["turns"]] == ["en", "tr"]
    assert [turn["images"] for turn in talk["turns"]] == [["0.png"], ["1.png"]]
    assert [turn["answer"] for turn in talk["turns"]] == result.out.splitlines()
    assert "**Bu ne?** (Turkish)" in (tmp_path / "talk.md").read_text(encoding="utf-8")


def test_a_line_that_is_no_text_is_refused_and_the_next_one_answered(run):
    result = run("--max-tokens", "3", stdin=b"\xff\xfe\nWhat?\n")
    assert result.code == 0
    assert "is no character" in result.err
    assert len(result.out.splitlines()) == 1


def test_commands_take_what_they_say_they_take_after_any_white_space(run):
    result = run("--max-tokens", "3", stdin="/lang\ttr\n/reset now\n/experts on\n")
    assert result.err.splitlines() == [
        "answers in Turkish",
        "error: /reset takes nothing after it",
        "hint: /help lists the commands.",
        "error: /experts takes nothing after it",
        "hint: /help lists the commands.",
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--prompt", " "], "a --prompt is empty"),
        (["--prompt", "What?", "--seed", "-1"], "Invalid value for '--seed'"),
        (["--prompt", "What?", "--seed", str(2**63)], "Invalid value for '--seed'"),
        (["--prompt", "<image> what?"], "<image> stands for a picture"),
        (["--prompt", "What? \udcff"], "is no character"),
    ],
)
def test_a_question_that_cannot_be_put_is_a_mistake(run, arguments, problem):
    result = run(*arguments)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert problem in result.err


def test_experts_that_a_checkpoint_lacks_are_not_drawn_in_silence(run, tiny, tmp_path):
    for part in tiny.parrot(experts_enabled=False):
        part.save_pretrained(tmp_path / "bare")
    result = run("--prompt", "What?", "--experts", model=tmp_path / "bare")
    assert result.code == 2
    assert "this checkpoint has no experts" in result.err


def test_commands_change_what_is_asked(run):
    said = ["What?", "/reset", "What?", "/system Sing.", "/reset", "What?", "/system", "/reset"]
    result = run("0.png", "--max-tokens", "6", stdin="\n".join([*said, "What?"]))
    first, second, sung, last = result.out.splitlines()
    assert first == second == last != sung


def test_a_retry_draws_another_answer_and_forgets_the_first(run, tmp_path):
    result = run("0.png", "--max-tokens", "12", stdin="What?\n/retry\n/save a.json\n")
    (turn,) = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["turns"]
    first = run("0.png", "--max-tokens", "12", "--prompt", "What?").out
    assert result.out == f"{first}{turn['answer']}\n"
    assert turn["answer"] != first.strip()
    assert turn["images"] == ["0.png"]


def test_a_retry_after_another_language_was_chosen_asks_in_it(run, parrot, tiny):
    question = "What is in this picture?"
    result = run("0.png", "--max-tokens", "6", stdin=f"{question}\n/lang tr\n/retry\n")
    asked = ask(question, images=[tiny.image(0)], language="tr")
    (expected,) = answer(*parrot, [asked], max_new_tokens=6)
    assert result.out.splitlines()[1] == expected.text


def test_experts_are_drawn_on_stderr_and_named(run):
    result = run("0.png", "--max-tokens", "3", "--prompt", "What?", "--experts")
    assert "█" in result.err
    shares = [float(word[:-1]) for word in result.err.split() if word.endswith("%")]
    assert len(shares) == 6
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert "█" not in result.out


def test_an_answer_in_another_language_is_remarked(run, monkeypatch):
    said = "There is a large butterfly with blue wings on the flower"

    def decode(model, processor, rows):
        rows[0].text, rows[0].ended = said, "stop"

    monkeypatch.setattr(session_module, "decode", decode)
    result = run("0.png", "--lang", "tr", "--prompt", "Bu ne?")
    assert "answered in English, not Turkish" in result.err
    assert "answered in" not in run("0.png", "--lang", "en", "--prompt", "What?").err
    said = "ok"  # too short to tell
    assert "answered in" not in run("0.png", "--lang", "tr", "--prompt", "Bu ne?").err


def test_an_interrupted_answer_ends_the_program_when_nobody_is_there(run, monkeypatch):
    pieces = []

    def interrupt(self, piece):
        pieces.append(piece)
        raise KeyboardInterrupt

    monkeypatch.setattr(session_module.AnswerWriter, "write", interrupt)
    result = run("0.png", "--prompt", "What?", "--max-tokens", "400")
    assert result.code == 130
    assert len(pieces) == 1


def test_draws_can_be_repeated(run):
    asked = ["0.png", "--prompt", "What?", "--max-tokens", "12", "--temperature", "1.5"]
    assert run(*asked, "--seed", "3").out == run(*asked, "--seed", "3").out
    assert run(*asked, "--seed", "3").out != run(*asked, "--seed", "4").out


def test_precision_and_device_are_checked(run):
    assert run("--prompt", "What?", "--dtype", "float99").code == 2
    assert run("--prompt", "What?", "--device", "nowhere").code == 2
    assert run("--prompt", "What?", "--max-tokens", "2", "--dtype", "bfloat16").code == 0


def test_a_reader_that_leaves_is_no_traceback(saved, tmp_path):
    import subprocess
    from pathlib import Path

    code = "from parrot_cli.app import main; main()"
    command = [sys.executable, "-c", code, "chat", "--model", str(saved), "--prompt", "What?"]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 1
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
