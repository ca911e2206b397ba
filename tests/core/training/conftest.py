"""Parts in folders, a few samples of each kind, and a recipe of them that trains in a second."""

import json
from types import SimpleNamespace

import pytest

from parrot_core.recipe import (
    DataRecipe,
    DataUse,
    ExpertsRecipe,
    ModelRecipe,
    Recipe,
    Stage1Recipe,
    Stage2Recipe,
)

WORDS = {
    "en": ("What is this?", "A cat.", "What colour is it?", "Grey."),
    "tr": ("Bu nedir?", "Bir kedi.", "Ne renk?", "Gri."),
}


def sample(identity, language, *, image):
    question, answer, more, last = WORDS[language]
    shown = {"image": image} if image else {}
    placeholder = "<image>\n" if image else ""
    return {
        "id": identity,
        "language": language,
        **shown,
        "conversations": [
            {"from": "human", "value": f"{placeholder}{question}"},
            {"from": "gpt", "value": answer},
            {"from": "human", "value": more},
            {"from": "gpt", "value": last},
        ],
    }


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, tiny):
    """A folder with `data/`, `speaker/`, `viewer/`, and the recipe that joins them."""
    folder = tmp_path_factory.mktemp("workshop")
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    for number in range(3):
        tiny.image(number, size=(30 + number, 28)).save(data / "images" / f"{number}.png")
    pictures = [
        sample(f"{language}{number}", language, image=f"images/{number}.png")
        for language in WORDS
        for number in range(3)
    ]
    texts = [sample(f"text-{language}", language, image=None) for language in WORDS]
    (data / "one.json").write_text(json.dumps(pictures[:4]), encoding="utf-8")
    (data / "two.json").write_text(json.dumps([*pictures, *texts]), encoding="utf-8")
    tiny.language_model().save_pretrained(folder / "speaker")
    tiny.tokenizer().save_pretrained(folder / "speaker")
    tiny.vision_encoder().save_pretrained(folder / "viewer")
    tiny.image_processor().save_pretrained(folder / "viewer")
    stage = {"precision": "float32", "steps": 2, "global_batch_size": 2, "warmup_ratio": 0.0}
    recipe = Recipe(
        name="small",
        languages=("en", "tr"),
        model=ModelRecipe(
            language_model=str(folder / "speaker"),
            vision_encoder=str(folder / "viewer"),
            experts=ExpertsRecipe(count=3, hidden_size=8),
        ),
        data=DataRecipe(folder=str(data)),
        stage1=Stage1Recipe(data=(DataUse(file="one.json"),), learning_rate=1e-2, **stage),
        stage2=Stage2Recipe(data=(DataUse(file="two.json"),), learning_rate=1e-2, **stage),
    )
    return SimpleNamespace(folder=folder, data=data, recipe=recipe)
