"""A small recipe, as a file that tests change and as an object."""

import pytest

from parrot_core.recipe import load_recipe

WRITTEN = """\
name = "small"
languages = ["en", "tr"]

[data]
folder = "somewhere"

[model]
language_model = "./speaker"
vision_encoder = "openai/clip-vit-large-patch14-336"

[model.experts]
count = 4
active = 2

[stage1]
data = ["one.json"]
trains = ["projector"]
learning_rate = 1e-3
global_batch_size = 256

[stage2]
data = ["two.json"]
trains = ["projector", "experts", "language_model"]
learning_rate = 2e-5
global_batch_size = 128
"""


@pytest.fixture
def write(tmp_path):
    def write(*changes):
        text = WRITTEN
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is in the recipe {text.count(old)} times"
            text = text.replace(old, new)
        path = tmp_path / "small.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def recipe(write):
    return load_recipe(write())
