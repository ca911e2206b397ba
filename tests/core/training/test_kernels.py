"""Kernels of other packages are used where they can be, and asked for in vain with a reason."""

import pytest
import torch

from parrot_core.errors import MissingError
from parrot_core.training.kernels import choose_attention, use_fused_kernels


def test_a_name_of_the_librarys_is_taken_as_it_is():
    assert choose_attention("eager", bfloat16=True) == "eager"
    assert choose_attention("sdpa", bfloat16=False) == "sdpa"


def test_auto_leaves_the_choice_where_flash_attention_cannot_compute():
    assert choose_attention("auto", bfloat16=False) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_neither_flash_attention_nor_liger(tiny):
    assert choose_attention("auto", bfloat16=True) is None
    with pytest.raises(MissingError, match="needs a GPU"):
        choose_attention("flash_attention_2", bfloat16=True)
    model, _ = tiny.parrot()
    before = type(model.language_model.model.norm).forward
    assert not use_fused_kernels(model)
    assert type(model.language_model.model.norm).forward is before
