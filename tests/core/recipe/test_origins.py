from pathlib import Path

import pytest

from parrot_core.recipe import as_toml, load_recipe, read_recipe, settings

SHIPPED = sorted((Path(__file__).parents[3] / "recipes").glob("*.toml"))


def test_each_value_says_where_it_came_from(write):
    path = write()
    loaded = read_recipe(path, overrides=["stage2.epochs=2", "model.experts.kind=gated"])
    found = {setting.name: setting for setting in settings(loaded)}
    line = path.read_text(encoding="utf-8").splitlines().index("count = 4") + 1
    assert (found["model.experts.count"].origin, found["model.experts.count"].line) == (
        "file",
        line,
    )
    assert (found["stage2.epochs"].origin, found["stage2.epochs"].value) == ("--set", 2.0)
    assert found["model.experts.kind"].origin == "--set"
    assert found["stage1.epochs"].origin == "default"
    assert found["stage2.steps"].value is None


def test_a_section_given_as_an_inline_table_comes_from_the_file(write):
    loaded = read_recipe(write(("active = 2\n", "active = 2\n[launch]\nnodes = 2\n")))
    found = {setting.name: setting.origin for setting in settings(loaded)}
    assert (found["launch.nodes"], found["launch.processes"]) == ("file", "default")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shown_is_itself_the_same_recipe(path, tmp_path):
    shown = tmp_path / "shown.toml"
    shown.write_text(as_toml(read_recipe(path)), encoding="utf-8")
    assert load_recipe(shown) == load_recipe(path)


def test_weights_counts_and_own_data_sets_survive_being_shown(write, tmp_path):
    path = write(
        ('data = ["one.json"]', 'data = [{ name = "my set.1", weight = 0.5 }, "one.json"]'),
        ('data = ["two.json"]', 'data = [{ file = "two.json", samples = 7 }]'),
        ("[stage1]", '[datasets."my set.1"]\nfile = "a.json"\n\n[stage1]'),
    )
    shown = tmp_path / "shown.toml"
    shown.write_text(as_toml(read_recipe(path)), encoding="utf-8")
    assert load_recipe(shown) == load_recipe(path)
