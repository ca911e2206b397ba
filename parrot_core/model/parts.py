"""The parts that Parrot adds between the pretrained ones, and how they are drawn."""

import torch
from torch import nn
from transformers import initialization

from parrot_core.model.alignment import LanguageExperts
from parrot_core.model.config import ParrotConfig


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draws the weights of a projector's layer or of the experts.

    Every matrix is uniform within ±1/√(its inputs), whatever the language model's own habits, and
    biases are zero.
    """
    if isinstance(module, nn.Linear):
        matrices, biases = [(module.weight, module.in_features)], [module.bias]
    elif isinstance(module, LanguageExperts):
        hidden, size = module.up_proj.shape[1:]
        matrices = [(module.router, size), (module.up_proj, size), (module.down_proj, hidden)]
        if module.gate_proj is not None:
            matrices.append((module.gate_proj, size))
        biases = [module.up_bias, module.down_bias]
    else:
        return
    for weight, inputs in matrices:
        initialization.uniform_(weight, -(inputs**-0.5), inputs**-0.5, generator=generator)
    for bias in biases:
        if bias is not None:
            initialization.zeros_(bias)


def build_projector(config: ParrotConfig) -> nn.Sequential:
    """Linear layers with GELU between them (two in the paper), D_v to C."""
    size = config.text_config.hidden_size
    layers: list[nn.Module] = [nn.Linear(config.vision_row.hidden_size(config.vision_config), size)]
    for _ in range(config.projector_layers - 1):
        layers += [nn.GELU(), nn.Linear(size, size)]
    return nn.Sequential(*layers)


def build_experts(config: ParrotConfig) -> LanguageExperts:
    """Router and experts of the kind that the config names."""
    return LanguageExperts(
        config.text_config.hidden_size,
        config.expert_intermediate_size or config.text_config.hidden_size,
        num_experts=config.num_experts,
        num_experts_per_tok=config.num_experts_per_tok or config.num_experts,
        gated=config.expert_kind == "gated",
    )
