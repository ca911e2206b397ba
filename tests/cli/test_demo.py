"""`parrot demo`, all of it: made-up pictures and few steps, but every part that it goes through."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from parrot_cli.demo import demo
from parrot_core.data.emoji import settings
from parrot_core.data.emoji.settings import ConceptSettings, DemoSettings
from parrot_core.languages import PAPER_LANGUAGES

ROOT = Path(__file__).parents[2]
SMALL = {
    "concepts": ConceptSettings(limit=16),
    "stage2_samples": {"naming": 2, "yes_no": 2},
    "naming_questions": 8,
    "yes_no_pairs": 8,
}
FEW_STEPS = ("stage1.steps=2", "stage2.steps=2", "seed=3")


def test_one_command_trains_scores_asks_and_inspects(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "DemoSettings", partial(DemoSettings, **SMALL))
    folder = tmp_path / "demo"
    app = typer.Typer()
    app.command()(demo)
    overrides = [part for setting in FEW_STEPS for part in ("--set", setting)]
    recipe = ROOT / "recipes" / "tiny.toml"
    done = CliRunner().invoke(app, ["--recipe", str(recipe), "--output", str(folder), *overrides])
    assert done.exit_code == 0, (done.output, done.exception)

    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["seed"] == 3
    assert report["held_out_style"] == "noto"
    assert set(report["accuracy"]) == set(PAPER_LANGUAGES)
    for figures in report["accuracy"].values():
        for form in ("naming", "yes_no_pairs"):
            assert figures[form]["n"] == 8
            assert 0 <= figures[form]["low"] <= figures[form]["value"] <= figures[form]["high"] <= 1
    for weights in report["routing"].values():
        assert len(weights) == 6
        assert sum(weights) == pytest.approx(1, abs=1e-5)
    assert {"data", "stage 1", "stage 2", "evaluation"} <= set(report["seconds"])
    assert len(report["free_answers"]) == 12
    assert set(report["free_answers"][0]["answers"]) == set(PAPER_LANGUAGES)
    for file in ("report.md", "routing.png", "stage1/model.safetensors", "stage2/log.jsonl"):
        assert (folder / file).stat().st_size > 0
    for said in ("never seen in training", "Turkish", "minutes:", "report.json"):
        assert said in done.stdout
    assert "── stage 2" in done.stderr

    written = (folder / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", written)
    assert len(pictures) == 12 + 1  # and the histogram
    assert all((folder / picture).is_file() for picture in pictures)
