"""Tiny parts, samples and a recipe in a folder: what a training run needs, made in a second."""

import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from conftest import (  # noqa: E402
    byte_tokenizer,
    noise_image,
    tiny_image_processor,
    tiny_language_model,
    tiny_vision_encoder,
)

WORDS = {
    "en": ("What is this?", "A cat.", "What colour is it?", "Grey."),
    "tr": ("Bu nedir?", "Bir kedi.", "Ne renk?", "Gri."),
}

RECIPE = """
name = "small"
languages = ["en", "tr"]

[data]
folder = "{folder}/data"

[model]
language_model = "{folder}/speaker"
vision_encoder = "{folder}/viewer"

[model.experts]
count = 3
hidden_size = 8

[logging]
every = 1

[stage1]
data = ["one.json"]
learning_rate = 1e-2
global_batch_size = 4
device_batch_size = 4
epochs = 2
precision = "float32"
vision_feature_dropout = 0.5
gradient_checkpointing = false
save_every = 4

[stage2]
data = ["two.json"]
learning_rate = 1e-3
global_batch_size = 4
device_batch_size = 4
precision = "float32"
gradient_checkpointing = false
save_every = 4
"""


def make_workshop(folder: Path, *, samples: int = 45) -> Path:
    """Makes parts and data below a folder, and returns the recipe that names them."""
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    for number in range(8):
        noise_image(number, size=(30 + number, 28)).save(images / f"{number}.png")
    draw = random.Random(0)
    pictures = [_sample(draw, number, shown=True) for number in range(samples // 2)]
    mixed = [_sample(draw, number, shown=number % 3 > 0) for number in range(samples)]
    (folder / "data" / "one.json").write_text(json.dumps(pictures), encoding="utf-8")
    (folder / "data" / "two.json").write_text(json.dumps(mixed), encoding="utf-8")
    tiny_language_model().save_pretrained(folder / "speaker")
    byte_tokenizer().save_pretrained(folder / "speaker")
    tiny_vision_encoder().save_pretrained(folder / "viewer")
    tiny_image_processor().save_pretrained(folder / "viewer")
    recipe = folder / "small.toml"
    recipe.write_text(RECIPE.format(folder=folder.as_posix()), encoding="utf-8")
    return recipe


def _sample(draw: random.Random, number: int, *, shown: bool) -> dict[str, object]:
    language = ("en", "tr")[number % 2]
    question, answer, more, last = WORDS[language]
    turns = [
        ("human", ("<image>\n" if shown else "") + question * draw.randint(1, 4)),
        ("gpt", answer * draw.randint(1, 3)),
        ("human", more),
        ("gpt", last),
    ]
    return {
        "id": str(number),
        "language": language,
        **({"image": f"images/{number % 8}.png"} if shown else {}),
        "conversations": [{"from": role, "value": text} for role, text in turns],
    }
