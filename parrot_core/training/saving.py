"""What is left of a stage: an ordinary checkpoint, whatever it was trained with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor, load_parrot
from parrot_core.recipe import LoraRecipe
from parrot_core.training.lora import merge_adapters


def saver(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    *,
    weights: Mapping[str, Tensor] | None,
    dtype: torch.dtype,
    lora: LoraRecipe | None,
    base: str | None,
) -> Callable[[Path], None]:
    """What writes the model that was trained: whole, without adapters, and as it was read.

    Args:
        model: It, or as much of it as this process holds.
        processor: Its processor.
        weights: All of its weights, where the model itself holds only a share.
        dtype: Precision in which it was read.
        lora: Its adapters.
        base: Where its own weights are, if here they are quantised.
    """

    def save(folder: Path) -> None:
        saved, own = model, weights
        if lora is not None:
            trained = own if own is not None else model.state_dict()
            if base is not None:
                saved, _ = load_parrot(base)
                saved.config = model.config
                saved.config.quantization_config = None
                saved.experts = model.experts
            own = merge_adapters(
                trained, lora, base=saved.state_dict() if base is not None else None
            )
        if own is None:
            whole: Any = model
            whole.to(dtype)
        else:
            own = {name: value.to(dtype) for name, value in own.items()}
        # By the model's own names, however it came into being.
        saved.save_pretrained(folder, state_dict=own, save_original_format=False)
        processor.save_pretrained(folder)

    return save
