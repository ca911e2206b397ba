import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from parrot_cli.app import main
from parrot_core.recipe import load_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["parrot", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return run


@pytest.fixture
def faulty(tmp_path):
    path = tmp_path / "faulty.toml"
    text = (ROOT / "recipes" / "qwen2-7b.toml").read_text(encoding="utf-8")
    text = text.replace('name = "qwen2-7b"', 'name = "faulty"\nseed = "1"\nlangauges = []')
    path.write_text(text, encoding="utf-8")
    return path


def test_list_shows_every_recipe_with_hardware_hours_and_scores(run):
    code, out, err = run("recipe", "list")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    for path in (ROOT / "recipes").glob("*.toml"):
        assert path.stem in rows
    assert re.search(r"2 nodes of 8 × A100-80GB +21 \(published\) +mmmb 78\.5", rows["qwen2-7b"])
    assert "(estimated)" in rows["qwen1.5-14b"]


def test_list_as_json_has_the_scores_by_language(run):
    code, out, _ = run("recipe", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["qwen2-7b"]["hours"]["source"] == "published"
    assert rows["qwen2-7b"]["scores"][0]["by_language"]["tr"] == 75.02
    assert list(rows["llava-qwen1.5-7b"]["scores"][0]["by_language"]) == ["en", "zh"]


def test_list_marks_a_recipe_that_is_not_right(run, faulty):
    code, out, _ = run("recipe", "list", "--folder", faulty.parent)
    assert code == 1
    assert "not right: `parrot recipe check" in out


def test_a_folder_without_recipes_is_missing(run, tmp_path):
    code, _, err = run("recipe", "list", "--folder", tmp_path)
    assert code == 3
    assert err.startswith("error: no recipe in")


def test_show_prints_a_recipe_with_where_each_value_came_from(run, tmp_path):
    code, out, _ = run("recipe", "show", "qwen2-7b", "--set", "seed=3")
    assert code == 0
    assert re.search(r"^seed = 3 +# --set$", out, re.MULTILINE)
    assert re.search(r"^learning_rate = 2e-05 +# default$", out, re.MULTILINE)
    assert re.search(r"^gpu = \"A100-80GB\" +# line \d+$", out, re.MULTILINE)
    assert tomllib.loads(out)["stage2"]["zero"] == 3
    shown = tmp_path / "shown.toml"
    shown.write_text(out, encoding="utf-8")
    overridden = load_recipe(ROOT / "recipes" / "qwen2-7b.toml", overrides=["seed=3"])
    assert load_recipe(shown) == overridden


def test_show_as_json_has_key_value_origin_and_line(run):
    _, out, _ = run("recipe", "show", "recipes/tiny.toml", "--json")
    found = {entry["key"]: entry for entry in json.loads(out)["settings"]}
    assert found["stage1.trains"]["origin"] == "file"
    assert found["stage1.trains"]["line"] > 1
    assert found["stage1.data"]["value"][0]["file"].endswith("stage1.json")
    assert found["launch.nodes"] == {
        "key": "launch.nodes",
        "value": 1,
        "origin": "default",
        "line": None,
    }


def test_check_is_content_with_what_is_shipped(run):
    paths = sorted(Path("recipes").glob("*.toml"))
    code, out, err = run("recipe", "check", *paths)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{path}: fine" for path in paths]


def test_check_tells_every_mistake_with_its_line(run, faulty):
    code, out, _ = run("recipe", "check", faulty, "tiny")
    assert code == 1
    seed, languages, tiny = out.splitlines()
    assert re.search(r"faulty\.toml:\d+: seed: expected a whole number, not '1'", seed)
    assert languages.endswith("langauges: unknown key; did you mean languages?")
    assert tiny.endswith("recipes/tiny.toml: fine")
    code, out, _ = run("recipe", "check", faulty, "--json")
    assert len(json.loads(out)[str(faulty)]) == 2


def test_a_recipe_that_is_not_there_is_missing_and_the_nearest_is_named(run):
    code, out, err = run("recipe", "show", "qwen-7b")
    assert (code, out) == (3, "")
    assert "error: no such recipe: qwen-7b\nhint: Did you mean qwen" in err
