"""Low-rank adapters on the language model in place of its own weights (LoRA, Hu et al., 2022).

Only the language model gets adapters; projector and experts, which are new, learn as they are. What
is saved in the end is an ordinary checkpoint: W + (alpha / rank) · B · A stands where W stood.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from parrot_core.errors import MissingError, UsageError
from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.recipe import LoraRecipe

_ADAPTER = "default"
_BASE = ".base_layer."


def add_adapters(model: ParrotForConditionalGeneration, settings: LoraRecipe, *, seed: int) -> int:
    """Puts adapters into a language model, lets them learn and freezes the rest of it.

    Args:
        model: Its language model gets them.
        settings: Rank, scale and places.
        seed: Of their first values.

    Returns:
        How many numbers they hold.

    Raises:
        MissingError: if peft is not installed.
        UsageError: if the language model has no such places.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingError(
            "LoRA needs the package peft, which is not installed",
            hint="pip install 'parrot-multilingual[lora]'",
        ) from error
    layers = {
        name
        for layer in model.language_model.get_decoder().layers
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    }
    for target in settings.target_modules:
        if not any(f".{name}".endswith(f".{target}") for name in layers):
            known = sorted({name.rpartition(".")[2] for name in layers})
            raise UsageError(
                f"lora.target_modules: no linear layer of the language model is called {target}",
                hint=f"There are {', '.join(known)}.",
            )
    scale: Any = settings.alpha  # any number will do
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=scale,
        lora_dropout=settings.dropout,
        target_modules=list(settings.target_modules),
    )
    whole: Any = model
    if getattr(whole, "is_quantized", False):
        # Else the library, which knows only adapters that it put in itself, refuses to train.
        whole._hf_peft_config_loaded = True
    torch.manual_seed(seed)
    inject_adapter_in_model(config, model.language_model, adapter_name=_ADAPTER)
    count = 0
    for name, parameter in model.language_model.named_parameters():
        learns = ".lora_" in name
        parameter.requires_grad_(learns)
        count += parameter.numel() * learns
    return count


def merge_adapters(
    weights: Mapping[str, Tensor], settings: LoraRecipe, *, base: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The weights of the model without adapters that computes what the one with them does.

    Args:
        weights: Of the model with adapters.
        settings: Rank and scale.
        base: The language model's own weights, where those beside the adapters are quantised.
    """
    merged: dict[str, Tensor] = {}
    scale = settings.alpha / settings.rank
    for name, value in weights.items():
        if ".lora_" in name:
            continue
        own = name.replace(_BASE, ".")
        if base is not None and own.startswith("language_model."):
            if own not in base:
                continue  # how the quantised weight is packed
            value = base[own]
        down = weights.get(name.replace(f"{_BASE}weight", f".lora_A.{_ADAPTER}.weight"))
        if down is not None and name.endswith(f"{_BASE}weight"):
            up = weights[name.replace(f"{_BASE}weight", f".lora_B.{_ADAPTER}.weight")]
            delta = scale * (up.cpu().double() @ down.cpu().double())
            value = (value.cpu().double() + delta).to(value.dtype)
        merged[own] = value
    return merged


def quantised_loading(settings: LoraRecipe | None) -> Any:  # noqa: ANN401 - the library's
    """How the library is to load a model whose frozen weights are held in four bits, or None.

    Raises:
        MissingError: if bitsandbytes is not installed.
    """
    if settings is None or settings.quantisation == "none":
        return None
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise MissingError(
            "QLoRA needs the package bitsandbytes, which is not installed",
            hint="pip install 'parrot-multilingual[qlora]', or set lora.quantisation to \"none\".",
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
