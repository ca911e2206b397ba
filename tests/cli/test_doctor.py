import json
import shutil
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

import parrot_core
from parrot_cli.app import main
from parrot_core import machine

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["parrot", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return run


def test_the_machine_is_described(run, monkeypatch):
    room = shutil.disk_usage(".")._replace(free=12_345_678_901)  # what others write moves it
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    code, out, _ = run("doctor", "--json")
    found = {entry["about"]: entry for entry in json.loads(out)["machine"]}
    assert code == 0
    assert found["parrot"]["detail"] == parrot_core.__version__
    assert "cores" in found["processor"]["detail"]
    assert found["torch"]["status"] == "fine"
    assert found["disk"]["detail"].startswith("12.3 GB free in ")


def test_a_package_that_is_not_installed_is_missing(run, monkeypatch):
    monkeypatch.setattr(machine, "NEEDED_PACKAGES", ("torch", "no-such-package"))
    code, out, _ = run("doctor")
    assert code == 3
    assert "pip install no-such-package" in out
    assert out.rstrip().endswith("1 missing")


def test_what_a_recipe_needs_and_this_machine_lacks_is_named(run):
    code, out, _ = run("doctor", "--recipe", ROOT / "recipes" / "qwen2-7b-qlora.toml", "--json")
    report = json.loads(out)
    found = {}
    for entry in report["qwen2-7b-qlora"]:
        found.setdefault(entry["about"], []).append(entry)
    assert code == 3
    assert report["missing"] >= 10
    (language_model,) = found["language model"]
    assert language_model["status"] == "missing"
    assert "hf download Qwen/Qwen2-7B-Instruct" in language_model["hint"]
    assert len(found["stage2 data"]) == 6
    assert all("https://" in entry["hint"] for entry in found["stage2 data"])
    assert found["package peft"][0]["status"] == "fine"
    (memory,) = found["stage2 memory"]
    assert "of 24 GB (RTX4090-24GB)" in memory["detail"]


def test_a_recipe_whose_parts_and_data_are_there_lacks_nothing(run, tmp_path, tiny):
    (tmp_path / "data").mkdir()
    tiny.image(0).save(tmp_path / "data" / "a.png")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat"}]
    row = {"id": "a", "image": "a.png", "language": "en", "conversations": turns}
    (tmp_path / "data" / "one.json").write_text(json.dumps([row]), encoding="utf-8")
    tiny.language_model().save_pretrained(tmp_path / "speaker")
    tiny.tokenizer().save_pretrained(tmp_path / "speaker")
    tiny.vision_encoder().save_pretrained(tmp_path / "viewer")
    (tmp_path / "small.toml").write_text(
        'name = "small"\n[data]\nfolder = "data"\n'
        '[model]\nlanguage_model = "speaker"\nvision_encoder = "viewer"\n'
        '[stage1]\ndata = ["one.json"]\n[stage2]\ndata = ["one.json"]\n',
        encoding="utf-8",
    )
    code, out, err = run("doctor", "--recipe", "small.toml")
    assert code == 0, out + err
    assert out.rstrip().endswith("nothing is missing")
    (tmp_path / "viewer" / "model.safetensors").unlink()
    code, out, _ = run("doctor", "--recipe", "small.toml")
    assert code == 3
    assert "viewer has no weights in safetensors" in out


def test_a_faulty_recipe_is_a_usage_error(run, tmp_path):
    (tmp_path / "bad.toml").write_text('name = "bad"\n', encoding="utf-8")
    code, _, err = run("doctor", "--recipe", "bad.toml")
    assert code == 2
    assert "stage1: this section is missing" in err
