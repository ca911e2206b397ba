"""Counting on tensors without data, held against real models."""

import dataclasses

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from parrot_core.errors import UsageError
from parrot_core.model import ParrotConfig, ParrotForConditionalGeneration
from parrot_core.recipe import DataUse, LoraRecipe, Stage2Recipe
from parrot_core.training.estimate.blueprint import Blueprint
from parrot_core.training.estimate.configs import model_config

STAGE = Stage2Recipe(data=(DataUse(file="a.json"),), precision="float32")

# Parameters as the makers state them, on the models' pages.
PUBLISHED = {
    "Qwen/Qwen2-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen1.5-7B-Chat": 7_721_324_544,
    "Qwen/Qwen1.5-14B-Chat": 14_167_290_880,
    "Qwen/Qwen1.5-32B-Chat": 32_512_218_112,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_the_papers_language_models_are_exact(papers_recipe, name):
    config, origins = model_config(papers_recipe(name), experts=True)
    assert origins["language_model"] == "shipped facts"
    parts = Blueprint(config, STAGE).parts
    assert parts["language_model"].parameters == PUBLISHED[name]
    assert parts["vision_encoder"].parameters == 303_507_456  # CLIP ViT-L/14-336
    size = config.text_config.hidden_size
    assert parts["projector"].parameters == (1024 + 1) * size + (size + 1) * size
    assert parts["experts"].parameters == 6 * (size + 2 * (size + 1) * size)


def test_parameters_are_those_of_the_real_model(small_config):
    model = ParrotForConditionalGeneration(small_config)
    parts = Blueprint(small_config, STAGE).parts
    for name, size in parts.items():
        real = sum(parameter.numel() for parameter in getattr(model, name).parameters())
        assert size.parameters == real
        assert size.trainable == (real if name in STAGE.trains else 0)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapters_are_counted_as_peft_makes_them(small_config):
    lora = LoraRecipe(rank=4, target_modules=("q_proj", "down_proj"))
    counted = Blueprint(small_config, dataclasses.replace(STAGE, lora=lora)).parts
    model = ParrotForConditionalGeneration(small_config)
    adapted = get_peft_model(
        model.language_model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    )
    real = sum(p.numel() for name, p in adapted.named_parameters() if "lora_" in name)
    assert counted["language_model"].trainable == real


def test_adapters_on_layers_that_are_not_there_are_refused(small_config):
    lora = LoraRecipe(target_modules=("q_proj", "w_qkv"))
    with pytest.raises(UsageError, match="no linear layer w_qkv") as caught:
        Blueprint(small_config, dataclasses.replace(STAGE, lora=lora))
    assert "q_proj" in caught.value.hint


def test_four_bits_shrink_linear_layers_and_nothing_else(small_config):
    whole, quantised = (
        Blueprint(
            small_config,
            dataclasses.replace(STAGE, lora=LoraRecipe(quantisation=kind), precision="bfloat16"),
        ).parts["language_model"]
        for kind in ("none", "4bit")
    )
    text = small_config.text_config
    rows = 2 * text.vocab_size * text.hidden_size  # embeddings and head
    assert whole.stored_bytes == 2 * whole.parameters
    assert 2 * rows < quantised.stored_bytes < 2 * rows + 0.3 * (whole.stored_bytes - 2 * rows)


def test_operations_are_those_of_a_real_pass(small_config):
    model = ParrotForConditionalGeneration(small_config).eval()
    costs = Blueprint(small_config, STAGE).measure(40)
    words = torch.zeros(1, 40, small_config.text_config.hidden_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.language_model(inputs_embeds=words, use_cache=False)
    assert costs.decoder_operations + 40 * costs.head_operations == counter.get_total_flops()
    pixels = torch.zeros(1, 3, small_config.image_size, small_config.image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        features = model.vision_features(pixels)
    assert costs.vision_operations == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        visual = model.projector(features)
        model.experts(visual, visual[:, 0])
    assert costs.bridge_operations == counter.get_total_flops()


def test_nothing_is_allocated(papers_recipe):
    """A model of 32 billion parameters would not fit: counting it takes no memory."""
    config, _ = model_config(papers_recipe("Qwen/Qwen1.5-32B-Chat"), experts=True)
    blueprint = Blueprint(config, dataclasses.replace(STAGE, precision="bfloat16"))
    assert blueprint.largest_layer == 152_064 * 5120  # the head
    assert isinstance(config, ParrotConfig)
