import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from parrot_cli.convert import convert
from parrot_core.errors import UsageError
from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.model.errors import CheckpointError

RELEASED = Path(__file__).parents[1] / "data" / "released"


@pytest.fixture
def run():
    """Runs the command; an error of ours comes through as it is."""
    app = typer.Typer()
    app.command()(convert)

    def invoke(*arguments: object):
        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)

    return invoke


def test_a_published_checkpoint_becomes_one_of_parrots_own(run, tmp_path) -> None:
    result = run(RELEASED / "model", tmp_path / "own", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["max_difference"] <= 1e-4
    assert report["logits"] % 384 == 0
    assert report["dtype"] == "float32"
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    assert config["model_type"] == "parrot"
    assert (tmp_path / "own" / "model.safetensors").is_file()


def test_the_result_is_one_line(run, tmp_path) -> None:
    result = run(RELEASED / "model", tmp_path / "own")
    assert "largest difference" in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_a_vision_encoder_that_moved_can_be_named(run, tmp_path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(RELEASED / "model", moved)
    with pytest.raises(CheckpointError, match="clip-vit-tiny"):
        run(moved, tmp_path / "own")
    result = run(moved, tmp_path / "own", "--vision-encoder", RELEASED / "clip-vit-tiny")
    assert result.exit_code == 0


def test_a_folder_with_files_is_not_written_to(run, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not an empty folder"):
        run(RELEASED / "model", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_copy_that_computes_something_else_is_an_error(run, tmp_path, monkeypatch) -> None:
    save = ParrotForConditionalGeneration.save_pretrained

    def lossy(self, *args, **kwargs):
        self.experts.router.data.mul_(1.5)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(ParrotForConditionalGeneration, "save_pretrained", lossy)
    with pytest.raises(CheckpointError, match="computes other logits"):
        run(RELEASED / "model", tmp_path / "own")
