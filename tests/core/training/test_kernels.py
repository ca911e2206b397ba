"""Kernels of other packages are used where they can be, and asked for in vain with a reason."""

import pytest
import torch

from parrot_core.errors import MissingError, UsageError
from parrot_core.model.backbones import LANGUAGE_MODELS, LanguageModel
from parrot_core.training.kernels import choose_attention, choose_packing, use_fused_kernels


def test_a_name_of_the_librarys_is_taken_as_it_is():
    assert choose_attention("eager", bfloat16=True) == "eager"
    assert choose_attention("sdpa", bfloat16=False) == "sdpa"


def test_auto_leaves_the_choice_where_flash_attention_cannot_compute():
    assert choose_attention("auto", bfloat16=False) is None


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_neither_flash_attention_nor_liger(tiny):
    assert choose_attention("auto", bfloat16=True) is None
    with pytest.raises(MissingError, match="needs a GPU"):
        choose_attention("flash_attention_2", bfloat16=True)
    model, _ = tiny.parrot()
    before = type(model.language_model.model.norm).forward
    assert not use_fused_kernels(model)
    assert type(model.language_model.model.norm).forward is before
