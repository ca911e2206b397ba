"""Kernels of other packages are used where they can be, and asked for in vain with a reason."""

import dataclasses
import typing

import pytest
import torch
from transformers.integrations import liger
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from parrot_core.errors import MissingError, UsageError
from parrot_core.model.backbones import LANGUAGE_MODELS, LanguageModel
from parrot_core.recipe.schema import ModelRecipe
from parrot_core.training import kernels
from parrot_core.training.kernels import (
    FLASH_ATTENTION,
    choose_attention,
    choose_packing,
    use_fused_kernels,
)


@pytest.fixture
def machine(monkeypatch):
    """Lets a machine have a GPU of a compute capability, and packages of flash attention."""

    def has(capability: int, *installed: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (capability, 0))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old One")
        for name, flash in FLASH_ATTENTION.items():
            there = dataclasses.replace(flash, is_installed=lambda name=name: name in installed)
            monkeypatch.setitem(FLASH_ATTENTION, name, there)

    return has


def test_a_name_of_the_librarys_is_taken_as_it_is():
    assert choose_attention("eager", bfloat16=True) == "eager"
    assert choose_attention("sdpa", bfloat16=False) == "sdpa"


def test_auto_leaves_the_choice_where_flash_attention_cannot_compute():
    assert choose_attention("auto", bfloat16=False) is None


def test_the_recipe_can_name_every_flash_attention():
    allowed = typing.get_args(typing.get_type_hints(ModelRecipe)["attention"])
    assert [name for name in allowed if name.startswith("flash")] == list(FLASH_ATTENTION)


@pytest.mark.parametrize("name", FLASH_ATTENTION)
def test_auto_takes_the_flash_attention_that_is_installed_unless_it_is_a_beta(name, machine):
    machine(9, name)
    released = name if FLASH_ATTENTION[name].released else None
    assert choose_attention("auto", bfloat16=True) == released
    assert choose_attention("auto", bfloat16=False) is None
    assert choose_attention(name, bfloat16=True) == name


def test_auto_takes_the_older_of_two_and_passes_by_what_the_gpu_does_not_run(machine):
    machine(9, "flash_attention_3", "flash_attention_2")
    assert choose_attention("auto", bfloat16=True) == "flash_attention_2"
    machine(8, "flash_attention_3")
    assert choose_attention("auto", bfloat16=True) is None


@pytest.mark.parametrize("name", FLASH_ATTENTION)
def test_flash_attention_in_float32_is_refused(name, machine):
    machine(9, name)
    with pytest.raises(UsageError, match="computes in bfloat16"):
        choose_attention(name, bfloat16=False)


def test_flash_attention_that_the_gpu_does_not_run_is_refused_with_the_reason(machine):
    machine(8, "flash_attention_3")
    with pytest.raises(MissingError, match="needs a GPU of compute capability 9, unlike the Old"):
        choose_attention("flash_attention_3", bfloat16=True)
    with pytest.raises(MissingError, match="needs a GPU and the package flash-attn-4"):
        choose_attention("flash_attention_4", bfloat16=True)


def test_samples_are_packed_on_request_and_by_themselves_where_flash_attention_computes(tiny):
    model = tiny.language_model()
    assert choose_packing("on", model)
    assert not choose_packing("auto", model)
    model.config._attn_implementation_internal = "flash_attention_2"
    assert choose_packing("auto", model)
    assert not choose_packing("off", model)


def test_packing_is_refused_where_samples_would_run_into_each_other(tiny, monkeypatch):
    monkeypatch.setitem(LANGUAGE_MODELS, "qwen2", LanguageModel(members="of another kind"))
    model = tiny.language_model()
    assert not choose_packing("auto", model)
    with pytest.raises(UsageError, match="packed samples run into each other in a qwen2"):
        choose_packing("on", model)


def test_fused_kernels_stay_with_the_model_that_they_were_given_to(tiny, monkeypatch):
    """As Liger's do, the kernels replace what all models of the family are made of."""
    model, _ = tiny.parrot()

    class FusedNorm(torch.nn.Module):
        pass

    def fuse(language_model, settings):
        assert settings["rope"] is False
        monkeypatch.setattr(modeling_qwen2, "Qwen2RMSNorm", FusedNorm)
        language_model.model.norm.forward = lambda states: states

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(kernels, "find_spec", lambda _: True)
    monkeypatch.setattr(liger, "apply_liger_kernel", fuse)
    assert use_fused_kernels(model)
    states = torch.randn(1, 2, 32)
    assert model.language_model.model.norm(states) is states
    another = tiny.language_model()
    assert type(another.model.norm) is Qwen2RMSNorm
    assert another.model.norm(states) is not states


def test_without_a_gpu_there_is_neither_flash_attention_nor_liger(tiny):
    assert choose_attention("auto", bfloat16=True) is None
    for name in FLASH_ATTENTION:
        with pytest.raises(MissingError, match="needs a GPU"):
            choose_attention(name, bfloat16=True)
    model, _ = tiny.parrot()
    before = type(model.language_model.model.norm).forward
    assert not use_fused_kernels(model)
    assert type(model.language_model.model.norm).forward is before
