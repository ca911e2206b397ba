import json
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from parrot_cli.app import main
from parrot_core import machine
from parrot_core.machine import FoundGpu

ROOT = Path(__file__).parents[2]
QWEN2 = ROOT / "recipes" / "qwen2-7b.toml"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        command = ["parrot", "train", "--recipe", QWEN2, *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return run


def test_the_estimate_shows_parameters_memory_steps_and_hours(run, tmp_path):
    code, out, err = run("--stage", "2", "--estimate")
    assert code == 0
    for words in (
        "7,615,616,512",
        "optimiser steps",
        "6,196",
        "zero 3",
        "A100-80GB",
        "shipped facts",
    ):
        assert words in out
    assert "hours assume 18.3% of the peak" in err
    assert list(tmp_path.iterdir()) == []  # nothing was trained, nothing written


def test_a_stage_that_does_not_fit_is_a_finding(run):
    arguments = ("--stage", "2", "--estimate", "--processes", "1", "--set", "launch.nodes=1")
    code, out, _ = run(*arguments, "--gpu", "RTX4090-24GB", "--json")
    report = json.loads(out)
    assert code == 1
    assert report["fits"] is False
    assert report["engine"]["processes"] == 1
    assert report["memory"]["gpu"] > 24e9


def test_an_unknown_gpu_is_named_with_the_nearest(run):
    code, out, err = run("--stage", "2", "--estimate", "--gpu", "A100")
    assert (code, out) == (2, "")
    assert "error: --gpu: unknown GPU 'A100'; did you mean A100-" in err


def test_the_language_models_stage_has_no_estimate(run):
    code, _, err = run("--stage", "language-model", "--estimate")
    assert code == 2
    assert "there is no estimate" in err


def test_training_on_gpus_that_are_too_small_is_refused_before_it_begins(run, monkeypatch):
    small = FoundGpu(name="Small GPU", memory_bytes=24 * 10**9, bfloat16=True)
    monkeypatch.setattr(machine, "find_gpus", lambda: [small])
    code, out, err = run("--stage", "2", "--processes", "1", "--set", "launch.nodes=1")
    assert (code, out) == (3, "")
    assert "on each of 1 × Small GPU, which has 24.0 GB" in err
    assert "hint: It fits with --set stage2." in err
