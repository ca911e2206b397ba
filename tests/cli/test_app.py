"""The whole program: exit codes, and one line and a hint for every mistake of a user's."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import parrot_core
from parrot_cli import app
from parrot_cli.app import main
from parrot_core.errors import MissingError, RemoteError, UsageError

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes" / "tiny.toml"
HEAVY = ("torch", "transformers", "deepspeed", "PIL", "matplotlib", "numpy")
REPORT_MODULES = (
    "import sys, atexit;"
    "atexit.register(lambda: sys.stderr.write('\\nmodules ' + ' '.join(sys.modules)));"
    "from parrot_cli.app import main; main()"
)


def program(
    *arguments, folder, code="from parrot_cli.app import main; main()", launcher=(), **environment
):
    """Runs the program as a shell would, in a process of its own."""
    fixed = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=fixed | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def assert_is_one_error(stderr, *, problem):
    """One line that begins with `error:`, then one with the hint, and no traceback."""
    assert "Traceback" not in stderr
    lines = stderr.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("error: "))
    assert problem in lines[at]
    assert lines[at + 1].startswith("hint: ")
    assert lines[at + 2 :] == []


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "-h"], ["chat", "--help"], ["serve", "--help"], ["--version"]],
    ids=" ".join,
)
def test_help_is_quick_for_it_loads_no_heavy_library(arguments, tmp_path):
    result = program(*arguments, folder=tmp_path, code=REPORT_MODULES)
    assert result.returncode == 0
    _, _, modules = result.stderr.partition("modules ")
    loaded = set(modules.split())
    assert "parrot_cli.app" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_help_names_every_command_and_says_what_it_does(tmp_path):
    result = program("--help", folder=tmp_path)
    for command in (
        "train",
        "eval",
        "chat",
        "inspect-experts",
        "data",
        "demo",
        "convert",
        "serve",
        "recipe",
        "doctor",
    ):
        assert re.search(rf"^\W*{command}\s+\w+", result.stdout, re.MULTILINE), command
    assert result.stderr == ""


@pytest.mark.parametrize("command", ["", "data", "data review", "eval", "recipe"])
def test_help_is_whole_on_a_narrow_terminal(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    app.app([*command.split(), "--help"], standalone_mode=False)
    said = capsys.readouterr().out
    _, _, commands = said.partition("Commands:\n")
    assert commands
    assert not re.search(r"\.\.\.$", commands, re.MULTILINE)
    if not command:
        assert "such as [qu] with name" in " ".join(said.split())


def test_the_version_is_the_packages(tmp_path):
    result = program("--version", folder=tmp_path)
    assert result.stdout == f"parrot {parrot_core.__version__}\n"


@pytest.mark.parametrize("stream", ["<", ">", "2>"])
def test_a_stream_that_is_closed_is_an_empty_one(stream, tmp_path):
    launcher = ["/bin/sh", "-c", f'exec "$0" "$@" {stream}&-']
    listing = ["recipe", "list", "--folder", ROOT / "recipes"]
    result = program(*listing, folder=tmp_path, launcher=launcher)
    assert "Traceback" not in result.stderr
    assert (result.returncode, bool(result.stdout)) == (0, stream != ">")


def test_what_the_output_cannot_encode_is_spelled_out(tmp_path):
    (tmp_path / "a.json").write_text('[{"id": "ёж", "conversations": 3}]', encoding="utf-8")
    check = ["data", "check", "a.json", "--json"]
    result = program(*check, folder=tmp_path, PYTHONIOENCODING="ascii")
    assert result.returncode == 1, result.stderr
    assert json.loads(result.stdout) == json.loads(program(*check, folder=tmp_path).stdout)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["trian"], "No such command 'trian'"),
        (["train", "--stage", "2", "--recipe", TINY, "--epochs", "3"], "No such option: --epochs"),
        (["train", "--recipe", TINY], "Missing option '--stage'"),
        (["convert"], "Missing argument"),
        (["chat", "--right-to-left", "yes"], "--right-to-left 'yes' is unknown"),
        (["serve", "--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines"),
        (["train", "--stage", "3", "--recipe", TINY], "unknown stage '3'"),
        (
            ["train", "--stage", "2", "--recipe", TINY, "--set", "stage2.learnin_rate=1e-5"],
            "--set stage2.learnin_rate: unknown key; did you mean learning_rate?",
        ),
        (
            ["train", "--stage", "1", "--recipe", TINY, "--set", 'stage1.learning_rate="1e-5"'],
            "expected a number, not '1e-5'; write the number without quotes",
        ),
        (["chat", "text.jpg", "--lang", "tr", "--prompt", "Bu ne?"], "text.jpg"),
        (["chat", "text.jpg", "--lang", "xx"], "unknown language 'xx'"),
        (["chat", "text.jpg", "--json"], "--json needs --prompt"),
        (["inspect-experts", "--lang", "xx"], "xx"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_a_hint_and_exit_code_2(arguments, problem, tmp_path):
    (tmp_path / "text.jpg").write_text("This is no picture.", encoding="utf-8")
    result = program(*arguments, folder=tmp_path)
    assert_is_one_error(result.stderr, problem=problem)
    assert result.returncode == 2
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["train", "--stage", "1", "--recipe", "no.toml"], "no such recipe: no.toml"),
        (["chat", "no.jpg", "--prompt", "What?"], "no.jpg"),
        (["chat"], "no trained checkpoint below runs/"),
        (["serve", "--port", "0"], "no trained checkpoint below runs/"),
    ],
    ids=["recipe", "picture", "model", "served model"],
)
def test_what_is_missing_has_exit_code_3(arguments, problem, tmp_path):
    result = program(*arguments, folder=tmp_path)
    assert_is_one_error(result.stderr, problem=problem)
    assert result.returncode == 3


def test_a_path_that_cannot_be_used_is_one_line_and_a_hint(tmp_path):
    turns = [{"from": "human", "value": "A house."}, {"from": "gpt", "value": "A car."}]
    source = tmp_path / "in.json"
    source.write_text(json.dumps([{"id": "1", "conversations": turns}]))
    result = program("data", "split", source, "--to", "tr=1", "--out", source, folder=tmp_path)
    assert result.returncode == 3
    assert result.stderr.splitlines() == [
        f"error: File exists: {source}",
        "hint: Check the path, its permissions and the disk.",
    ]


def test_debug_shows_the_traceback(tmp_path):
    arguments = ["--debug", "train", "--stage", "1", "--recipe", "no.toml"]
    result = program(*arguments, folder=tmp_path)
    assert "Traceback" in result.stderr
    assert "MissingError" in result.stderr
    assert result.returncode != 0


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs the program in this process: what needs torch, which takes seconds to load."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["parrot", *map(str, arguments)])
        capsys.readouterr()  # what the fixtures' libraries said
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return caught.value.code or 0, said.out, said.err

    return run


def test_a_language_of_ones_own_is_as_good_as_any(tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[qu]\nname = "Quechua"\nnative_name = "Runasimi"\nyes = "Arí"\nno = "Manam"\n'
        'answer_request = "Runasimipi kutichiy."\n',
        encoding="utf-8",
    )
    recipe = TINY.read_text(encoding="utf-8").replace('"ru"]', '"ru", "qu"]')
    (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
    result = program("recipe", "check", "recipe.toml", folder=tmp_path)
    assert result.returncode == 1
    assert "unknown language 'qu'" in result.stdout
    result = program("--languages", "mine.toml", "recipe", "check", "recipe.toml", folder=tmp_path)
    assert "unknown language" not in result.stdout + result.stderr


@pytest.fixture
def recipe(tmp_path, tiny):
    """A recipe of tiny parts, whose sample file names one picture that is not there."""
    (tmp_path / "data").mkdir()
    tiny.image(0).save(tmp_path / "data" / "a.png")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat"}]
    rows = [
        {"id": name, "image": name, "language": "en", "conversations": turns}
        for name in ("a.png", "b.png")
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "data" / "broken.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "data" / "sound.jsonl").write_text(lines.split("\n")[0], encoding="utf-8")
    tiny.language_model().save_pretrained(tmp_path / "speaker")
    tiny.tokenizer().save_pretrained(tmp_path / "speaker")
    tiny.vision_encoder().save_pretrained(tmp_path / "viewer")
    tiny.image_processor().save_pretrained(tmp_path / "viewer")
    stage = 'learning_rate = 1e-3\nglobal_batch_size = 1\nsteps = 1\nprecision = "float32"\n'
    (tmp_path / "small.toml").write_text(
        'name = "small"\n[data]\nfolder = "data"\n'
        '[model]\nlanguage_model = "./speaker"\nvision_encoder = "viewer"\n'
        f'[stage1]\ndata = ["broken.jsonl"]\ntrains = ["projector"]\n{stage}'
        f'[stage2]\ndata = ["sound.jsonl"]\ntrains = ["experts"]\n{stage}',
        encoding="utf-8",
    )
    return tmp_path / "small.toml"


def test_a_missing_picture_names_the_sample(run, recipe):
    code, out, err = run("train", "--stage", "1", "--recipe", recipe)
    assert_is_one_error(err, problem="data/broken.jsonl:2: no such image: 'b.png'")
    assert (code, out) == (3, "")


def test_an_output_that_cannot_be_written_is_missing(run, recipe):
    (recipe.parent / "file").write_text("", encoding="utf-8")
    code, out, err = run("train", "--stage", "1", "--recipe", recipe, "--output", "file/run")
    assert_is_one_error(err, problem="cannot write to file/run")
    assert (code, out) == (3, "")


def test_more_processes_than_gpus_are_refused_before_any_is_started(run, recipe, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    said = ("train", "--stage", "1", "--recipe", recipe, "--set", "stage1.global_batch_size=2")
    code, _, err = run(*said, "--processes", "2")
    assert_is_one_error(err, problem="2 processes want a GPU each, and this machine has 1")
    assert code == 2


def test_stage_2_without_stage_1_is_missing(run, recipe):
    code, _, err = run("train", "--stage", "2", "--recipe", recipe)
    assert_is_one_error(err, problem="no output of stage 1 in runs/small")
    assert code == 3


def test_a_dry_run_that_fails_leaves_no_folder(run, recipe):
    code, _, err = run("train", "--stage", "2", "--recipe", recipe, "--dry-run")
    assert_is_one_error(err, problem="no output of stage 1 in runs/small")
    assert code == 3
    assert not (recipe.parent / "runs").exists()


def test_training_prints_the_folder_alone(run, recipe):
    code, out, err = run(
        "train", "--stage", "1", "--recipe", recipe, "--set", 'stage1.data=["sound.jsonl"]'
    )
    assert (code, out) == (0, "runs/small/stage1\n"), err
    assert (recipe.parent / "runs" / "small" / "stage1" / "model.safetensors").is_file()
    assert re.search(r"projector: +[\d,]+ parameters, learns", err)
    assert re.search(r"vision_encoder: +[\d,]+ parameters, frozen", err)


@pytest.mark.parametrize("command", [["chat", "a.png", "--prompt", "What?"], ["inspect-experts"]])
def test_a_folder_that_is_no_checkpoint_is_missing(run, tmp_path, tiny, command):
    tiny.image(0).save(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    for folder, reason in (("folder", "has no config.json"), ("nowhere", "does not exist")):
        code, out, err = run(*command, "--model", folder)
        assert_is_one_error(err, problem=reason)
        assert (code, out) == (3, "")


def test_a_checkpoint_of_another_model_is_missing(run, tmp_path, tiny):
    tiny.image(0).save(tmp_path / "a.png")
    tiny.language_model().save_pretrained(tmp_path / "qwen")
    code, _, err = run("chat", "a.png", "--prompt", "What?", "--model", "qwen")
    assert_is_one_error(err, problem="not a Parrot checkpoint")
    assert code == 3


def test_without_any_checkpoint_the_user_is_told_how_to_get_one(run, tmp_path, tiny):
    tiny.image(0).save(tmp_path / "a.png")
    code, _, err = run("chat", "a.png", "--prompt", "What?")
    assert_is_one_error(err, problem="no trained checkpoint below runs/")
    assert "parrot demo" in err
    assert "parrot convert" in err
    assert code == 3


def test_the_newest_checkpoint_is_used_and_said_so(run, parrot, tmp_path, tiny):
    tiny.image(0).save(tmp_path / "a.png")
    for name, finished in (("old", "2026-01-01T00:00:00Z"), ("new", "2026-02-01T00:00:00Z")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        facts = json.dumps({"stage": "2", "finished": finished})
        (folder / "run.json").write_text(facts, encoding="utf-8")
    (tmp_path / "runs" / "run.json").write_text("{", encoding="utf-8")  # cut off
    for part in parrot:
        part.save_pretrained(tmp_path / "runs" / "new")
    code, _, err = run("chat", "a.png", "--prompt", "What?", "--max-tokens", "1")
    assert code == 0, err
    assert "uses runs/new, the newest trained checkpoint" in err
    assert "runs/run.json is not readable and is passed over" in err


@pytest.fixture
def saved(parrot, tmp_path):
    for part in parrot:
        part.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_chat_answers_once_as_json(run, saved, tmp_path, tiny):
    tiny.image(0).save(tmp_path / "a.png")
    question = ["chat", "a.png", "--lang", "tr", "--prompt", "Bu ne?", "--max-tokens", "4"]
    code, out, err = run(*question, "--model", saved, "--json")
    assert code == 0, err
    reply = json.loads(out)
    assert reply["language"] == "tr"
    assert sum(reply["routing"]) == pytest.approx(1, abs=1e-5)
    code, out, _ = run(*question, "--model", saved)
    assert out.strip() == reply["answer"]


def test_inspection_prints_weights_of_each_language_as_json(run, saved, tmp_path, tiny):
    tiny.image(0).save(tmp_path / "a.png")
    shown = ["inspect-experts", "--image", "a.png", "--lang", "en,tr", "--model", saved]
    code, out, err = run(*shown, "--json")
    assert code == 0, err
    means = json.loads(out)
    assert list(means) == ["en", "tr"]
    for weights in means.values():
        assert sum(weights) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("wrong", hint="mend it"), 2),
        (MissingError("gone", hint="mend it"), 3),
        (RemoteError("down", hint="mend it"), 4),
    ],
)
def test_every_kind_of_error_has_its_exit_code(run, monkeypatch, error, code):
    def fail(**_):
        raise error

    monkeypatch.setattr(app, "app", fail)
    found, _, err = run("chat")
    assert_is_one_error(err, problem=error.problem)
    assert found == code


def test_ctrl_c_has_an_exit_code_of_its_own(run, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("parrot_core.recipe.load_recipe", stop)
    code, _, err = run("recipe", "check", TINY)
    assert (code, err) == (130, "error: stopped\n")
