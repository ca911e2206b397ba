"""Faster kernels of other packages, where they are installed and the device runs them."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils.import_utils import (
    is_flash_attn_2_available,
    is_flash_attn_3_available,
    is_flash_attn_4_available,
)

from parrot_core.errors import MissingError, UsageError
from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.model.backbones import language_model_row
from parrot_core.model.packing import is_flash_attention
from parrot_core.recipe import Packing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FlashAttention:
    """A generation of flash attention.

    Attributes:
        package: Which has its kernels.
        is_installed: Whether they are there.
        capability: CUDA's compute capability of the oldest GPUs that it is made for: 8 are
            Ampere's, 9 Hopper's.
        released: Whether more than betas of it have been published; `auto` takes no beta.
    """

    package: str
    is_installed: Callable[[], bool]
    capability: int
    released: bool = True


FLASH_ATTENTION = {
    "flash_attention_2": FlashAttention(
        package="flash-attn", is_installed=is_flash_attn_2_available, capability=8
    ),
    "flash_attention_3": FlashAttention(
        package="flash-attn-3", is_installed=is_flash_attn_3_available, capability=9
    ),
    "flash_attention_4": FlashAttention(
        package="flash-attn-4",
        is_installed=is_flash_attn_4_available,
        capability=9,
        released=False,
    ),
}
"""By the library's names; `auto` takes the first released that is installed and the GPU runs."""

_LIGER = {"fused_linear_cross_entropy": False, "cross_entropy": False, "rope": False}
"""The loss is Parrot's: it meets the head at supervised positions only. Rotary embeddings are a
function that all models of a family look up, on whatever device they are."""


def choose_attention(wanted: str, *, bfloat16: bool) -> str | None:
    """Which attention the language model computes with; None is its own choice.

    Args:
        wanted: `auto` or a name of the library's.
        bfloat16: Whether it computes in bfloat16; flash attention knows no float32.

    Raises:
        UsageError: if flash attention is asked for, and not bfloat16.
        MissingError: if flash attention is asked for and is not installed, or needs another GPU.
    """
    if wanted == "auto":
        released = ((name, flash) for name, flash in FLASH_ATTENTION.items() if flash.released)
        runs = (name for name, flash in released if not _lacking(name, flash))
        return next(runs, None) if bfloat16 else None
    if wanted in FLASH_ATTENTION and not bfloat16:
        raise UsageError(
            f"{wanted} computes in bfloat16, and the stage's precision is float32",
            hint='Set its precision = "bfloat16", or model.attention = "auto".',
        )
    if wanted in FLASH_ATTENTION and (lacking := _lacking(wanted, FLASH_ATTENTION[wanted])):
        raise MissingError(lacking, hint='Install it, or set model.attention = "auto".')
    return wanted


def _lacking(name: str, flash: FlashAttention) -> str | None:
    """What flash attention of this generation needs and this machine has not; None if all is."""
    if not torch.cuda.is_available() or not flash.is_installed():
        return f"{name} needs a GPU and the package {flash.package}"
    if torch.cuda.get_device_capability()[0] < flash.capability:
        gpu = torch.cuda.get_device_name()
        return f"{name} needs a GPU of compute capability {flash.capability}, unlike the {gpu}"
    return None


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
    return wanted == "on" or (wanted == "auto" and is_flash_attention(config))


def use_fused_kernels(model: ParrotForConditionalGeneration) -> bool:
    """Lets Liger's kernels take the place of the language model's, if that can be done here.

    Returns:
        Whether they do.
    """
    # The library says that Liger is available where only triton, which it needs, is not.
    if not torch.cuda.is_available() or not find_spec("triton") or not find_spec("liger_kernel"):
        return False
    from transformers.integrations.liger import apply_liger_kernel

    # Liger also replaces what models are made of, where its kernels run on a GPU and nothing else:
    # a model made later, or one made of shapes to estimate memory, is to be the library's own.
    family = vars(sys.modules[type(model.language_model).__module__])
    before = dict(family)
    apply: Any = apply_liger_kernel
    try:
        apply(model.language_model, _LIGER)
    finally:
        family.update(before)
    logger.info("the language model computes with Liger's kernels")
    return True
