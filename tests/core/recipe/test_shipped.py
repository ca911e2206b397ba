import re
from pathlib import Path

import pytest

from parrot_core.benchmarks.published import published_rows
from parrot_core.recipe import chosen_data, load_recipe
from parrot_core.recipe.datasets import table_3

FOLDER = Path(__file__).parents[3] / "recipes"
SHIPPED = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
PAPERS = ("qwen2-7b", "qwen1.5-7b", "qwen1.5-14b", "qwen1.5-32b")


def test_these_recipes_are_shipped():
    assert set(SHIPPED) >= {
        *PAPERS,
        "qwen2-7b-lora",
        "qwen2-7b-qlora",
        "llava-qwen1.5-7b",
        "qwen1.5-7b-chinese-clip",
        "tiny",
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_every_recipe_loads_under_its_own_name(name):
    recipe = load_recipe(SHIPPED[name])
    assert recipe.name == name
    assert chosen_data(recipe, 1)
    assert chosen_data(recipe, 2)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_recipe_opens_with_its_commands_its_hardware_and_its_hours(name):
    text = SHIPPED[name].read_text(encoding="utf-8")
    opening, _, _ = text.partition("\nname = ")
    for stage in (1, 2):
        assert f"parrot train --stage {stage} --recipe recipes/{name}.toml" in opening
    about = load_recipe(SHIPPED[name]).about
    assert about.summary
    assert about.hardware
    assert about.hours is not None
    assert about.hours.reference


@pytest.mark.parametrize("name", SHIPPED)
def test_published_scores_are_those_of_the_papers_tables(name):
    recipe = load_recipe(SHIPPED[name])
    for scores in recipe.about.scores:
        if scores.source != "published":
            continue
        languages = scores.languages or recipe.languages
        expected = dict(zip(languages, scores.values, strict=True))
        published = [
            {language: round(100 * value, 2) for language, value in row.values.items()}
            for row in published_rows(scores.benchmark)
            if row.source == scores.reference
        ]
        assert expected in published


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_recipes_train_as_table_13_says_on_table_3s_data(name):
    recipe = load_recipe(SHIPPED[name])
    first, second = recipe.stage1, recipe.stage2
    assert (first.learning_rate, second.learning_rate) == (1e-3, 2e-5)
    assert (first.global_batch_size, second.global_batch_size) == (256, 128)
    assert first.trains == ("projector",)
    assert set(second.trains) == {"projector", "experts", "language_model"}
    assert second.zero == 3
    assert recipe.launch.processes * recipe.launch.nodes == 16
    assert recipe.model.experts.count == 6
    used = [data.name for stage in (1, 2) for data in chosen_data(recipe, stage)]
    assert used == list(table_3())


def test_variants_differ_in_what_their_names_say():
    baseline = load_recipe(SHIPPED["llava-qwen1.5-7b"])
    assert not baseline.model.experts.enabled
    assert [data.name for data in chosen_data(baseline, 2)] == ["llava-1.5-finetune"]
    adapted = load_recipe(SHIPPED["qwen2-7b-lora"])
    assert adapted.stage2.lora.quantisation == "none"
    assert adapted.launch.processes == adapted.launch.nodes == 1
    assert load_recipe(SHIPPED["qwen2-7b-qlora"]).stage2.lora.quantisation == "4bit"
    chinese = load_recipe(SHIPPED["qwen1.5-7b-chinese-clip"])
    assert re.search("chinese-clip", chinese.model.vision_encoder)
