import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from parrot_cli.data import app
from parrot_core.errors import MissingError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.png")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]
    good = {"id": "1", "image": "a.png", "conversations": turns}
    (tmp_path / "good.json").write_text(json.dumps([good]))
    (tmp_path / "bad.json").write_text(json.dumps([good, good | {"image": "b.png"}], indent=0))
    return tmp_path


def run(*arguments: object):
    return CliRunner().invoke(app, ["check", *map(str, arguments), "--workers", "1"])


def test_good_data_exits_with_0(data: Path):
    result = run(data / "good.json", "--image-root", data / "images")
    assert result.exit_code == 0
    assert "1 records, 1 images: no faults" in result.stdout


def test_faults_are_a_table_with_places_and_exit_with_1(data: Path):
    result = run(data / "bad.json", "--image-root", data / "images")
    assert result.exit_code == 1
    assert "missing-image" in result.stdout
    assert "bad.json:16" in result.stdout
    assert "2 faults (1 missing-image, 1 duplicate-id)" in result.stdout


def test_json_holds_every_fault(data: Path):
    result = run(data / "bad.json", "--image-root", data / "images", "--json")
    report = json.loads(result.stdout)
    assert report["records"] == 2
    assert {fault["kind"] for fault in report["faults"]} == {"missing-image", "duplicate-id"}
    assert all(fault["line"] == 16 for fault in report["faults"])


def test_a_missing_file_is_an_error_of_its_own(data: Path):
    result = run(data / "none.json")
    assert isinstance(result.exception, MissingError)
