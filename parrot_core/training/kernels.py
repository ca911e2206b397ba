"""Faster kernels of other packages, where they are installed and the device runs them."""

import logging
from importlib.util import find_spec
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils.import_utils import is_flash_attn_2_available

from parrot_core.errors import MissingError, UsageError
from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.model.backbones import language_model_row
from parrot_core.recipe import Packing

logger = logging.getLogger(__name__)

_LIGER = {"fused_linear_cross_entropy": False, "cross_entropy": False}
"""The loss is Parrot's: it meets the head at supervised positions only."""


def choose_attention(wanted: str, *, bfloat16: bool) -> str | None:
    """Which attention the language model computes with; None is its own choice.

    Args:
        wanted: `auto` or a name of the library's.
        bfloat16: Whether it computes in bfloat16; flash attention knows no float32.

    Raises:
        MissingError: if flash attention is asked for and not installed.
    """
    installed = torch.cuda.is_available() and bool(is_flash_attn_2_available())
    if wanted == "auto":
        return "flash_attention_2" if installed and bfloat16 else None
    if wanted == "flash_attention_2" and not installed:
        raise MissingError(
            "flash_attention_2 needs a GPU and the package flash-attn",
            hint='Install it, or set model.attention = "auto".',
        )
    return wanted


def choose_packing(wanted: Packing, language_model: PreTrainedModel) -> bool:
    """Whether the samples of a pass are packed into one row without padding.

    Other attention than flash attention computes, and then masks, every pair of tokens in the row:
    only on request.

    Args:
        wanted: What the recipe says.
        language_model: With the attention that it computes with.

    Raises:
        UsageError: if it is asked for and samples would run into each other.
    """
    config = language_model.config
    if not language_model_row(config).packs:
        if wanted == "on":
            raise UsageError(
                f"packed samples run into each other in a {config.model_type}",
                hint='Set packing = "off": batches are padded then.',
            )
        return False
    flash = (config._attn_implementation or "").startswith("flash_attention")
    return wanted == "on" or (wanted == "auto" and flash)


def use_fused_kernels(model: ParrotForConditionalGeneration) -> bool:
    """Lets Liger's kernels take the place of the language model's, if that can be done here.

    Returns:
        Whether they do.
    """
    # The library says that Liger is available where only triton, which it needs, is not.
    if not torch.cuda.is_available() or not find_spec("triton") or not find_spec("liger_kernel"):
        return False
    from transformers.integrations.liger import apply_liger_kernel

    apply: Any = apply_liger_kernel
    apply(model.language_model, _LIGER)
    logger.info("the language model computes with Liger's kernels")
    return True
