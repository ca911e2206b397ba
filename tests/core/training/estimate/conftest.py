"""Recipes of the paper's backbones, and a model small enough to be measured."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import CLIPVisionConfig, Qwen2Config

from parrot_core.model import ParrotConfig
from parrot_core.recipe import load_recipe

RECIPES = Path(__file__).parents[4] / "recipes"


@pytest.fixture(autouse=True)
def _without_hub(monkeypatch, tmp_path):
    """Nothing here may depend on what this machine has fetched before."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def papers_recipe():
    def make(language_model):
        recipe = load_recipe(RECIPES / "qwen2-7b.toml")
        return replace(recipe, model=replace(recipe.model, language_model=language_model))

    return make


@pytest.fixture
def shipped():
    return lambda name, **options: load_recipe(RECIPES / f"{name}.toml", **options)


@pytest.fixture
def small_config():
    return ParrotConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=56,
            patch_size=14,
            projection_dim=32,
        ),
        text_config=Qwen2Config(
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=4,
            vocab_size=2048,
        ),
        image_token_id=2047,
        num_experts=4,
    )
