"""The committed language model of the tiny recipe is what its command makes.

The whole training takes a quarter of an hour, so its beginning is compared: the tokenizer byte for
byte, and the losses of the first steps, which no other data, order, start or schedule would give.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from parrot_cli.data_demo import default_cache
from parrot_core.data.emoji.build import build_demo
from parrot_core.data.emoji.settings import DemoSettings
from parrot_core.errors import MissingError
from parrot_core.recipe import load_recipe
from parrot_core.training.language_model import train_language_model
from parrot_core.training.runs import LOG_FILE

RECIPE = Path(__file__).parents[3] / "recipes" / "tiny.toml"
STEPS = 21  # three lines of the log; all lie within the warm-up, which does not know the last step


def losses(folder):
    lines = (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    return {line["step"]: line["loss"] for line in logged if line["step"] < STEPS}


@pytest.mark.slow
def test_the_committed_language_model_begins_as_its_command_does(tmp_path):
    recipe = load_recipe(RECIPE)
    committed = Path(recipe.model.language_model)
    # The text is the same whatever the pictures are; one style is soon drawn.
    settings = DemoSettings(training_styles=("twemoji",), test_style="openmoji")
    try:
        made = build_demo(tmp_path / "data", cache=default_cache(), settings=settings)
    except MissingError as error:
        pytest.skip(f"the data's packages are not to be had: {error.problem}")
    recipe = replace(
        recipe,
        data=replace(recipe.data, folder=str(made.folder)),
        language_model=replace(recipe.language_model, steps=STEPS),
    )
    assert recipe.language_model.warmup_steps > STEPS
    rebuilt = train_language_model(recipe, output=tmp_path / "run")
    assert (rebuilt / "tokenizer.json").read_bytes() == (committed / "tokenizer.json").read_bytes()
    assert (rebuilt / "config.json").read_bytes() == (committed / "config.json").read_bytes()
    expected = losses(committed)
    assert len(expected) == 3
    for step, loss in losses(rebuilt).items():
        if step in expected:
            assert loss == pytest.approx(expected[step], rel=2e-3)
