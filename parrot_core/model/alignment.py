"""Textual guidance and the language experts: equations 2 to 5 of the paper as pure functions.

Shapes: M images, V visual tokens of an image (the [CLS] token first), N text tokens, C hidden size
of the language model, E experts, I hidden units of an expert.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def guide(query: Tensor, text: Tensor, *, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 2: each image's [CLS] token attends to the words that guide it.

    softmax(H_v^cls · H_tᵀ / √C) · H_t, with keys and values both the word embeddings. The query is
    scaled first, lest products overflow in float16, and the softmax is taken in float32.

    Args:
        query: float[M, C], the projected [CLS] tokens H_v^cls.
        text: float[M, N, C], the word embeddings H_t of each image's sample.
        mask: bool[M, N], true where a token guides; at least one per row.

    Returns:
        H'_v float[M, C], and the attention float32[M, N] that the words get: rows sum to 1, and
        what does not guide has 0.
    """
    scaled = query * query.shape[-1] ** -0.5
    scores = torch.einsum("mc,mnc->mn", scaled, text).float()
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    return torch.einsum("mn,mnc->mc", weights.to(text.dtype), text), weights


def route(guided: Tensor, weight: Tensor) -> Tensor:
    """Equation 3: P = softmax(linear(H'_v)), in float32 whatever the model's precision.

    Args:
        guided: float[M, C], H'_v.
        weight: float[E, C], the router's matrix (no bias).

    Returns:
        float32[M, E], rows that sum to 1.
    """
    with torch.autocast(guided.device.type, enabled=False):
        return F.linear(guided.float(), weight.float()).softmax(dim=-1)


class ExpertMatrices(NamedTuple):
    """The weights of E experts, one tensor for each matrix of all.

    Attributes:
        up_proj: float[E, I, C], first linear layers.
        down_proj: float[E, I, C], second linear layers, transposed.
        gate_proj: float[E, I, C], of gated experts only.
        up_bias: float[E, I], of two-layer experts only.
        down_bias: float[E, C], likewise.
    """

    up_proj: Tensor
    down_proj: Tensor
    gate_proj: Tensor | None
    up_bias: Tensor | None
    down_bias: Tensor | None


def mix(
    visual: Tensor,
    routing_weights: Tensor,
    experts: ExpertMatrices,
    *,
    k: int,
    active: Tensor | None = None,
) -> Tensor:
    """Equation 4: MoE(H_v) = Σ_i P_i · E_i(H_v) over the k most probable experts of each image.

    E_i(h) = W_down · SiLU(W_up · h), with biases; of gated experts W_down · (SiLU(W_gate · h) *
    W_up · h), without. The weighted sum is moved inside: hidden units are scaled by their expert's
    P_i, and one product with the stacked second matrices sums over experts.

    Args:
        visual: float[M, V, C], H_v; all V tokens of an image share what it is routed to.
        routing_weights: float[M, E], P.
        experts: Their matrices.
        k: Experts that take part, 1 to E; fewer than E skip the others' work.
        active: bool[E], false for experts whose term of the sum is left out (ablation): the others
            keep their P_i. Left out, all take part.

    Returns:
        float[M, V, C].
    """
    weights = routing_weights if active is None else routing_weights * active
    if k < weights.shape[1]:
        chosen = routing_weights.topk(k, dim=-1).indices
        shares = weights.gather(1, chosen)
        if not torch.compiler.is_compiling():
            return _mix_chosen(visual, shares.to(visual.dtype), chosen, experts)
        # Grouped products cannot be traced: all experts work, and those not chosen weigh nothing.
        weights = torch.zeros_like(weights).scatter(1, chosen, shares)
    return _mix_all(visual, weights.to(visual.dtype), experts)


def _mix_all(visual: Tensor, weights: Tensor, experts: ExpertMatrices) -> Tensor:
    images, tokens, _ = visual.shape
    bias = None if experts.up_bias is None else experts.up_bias.flatten()
    hidden = F.linear(visual, experts.up_proj.flatten(0, 1), bias)
    if experts.gate_proj is None:
        hidden = F.silu(hidden)
    else:
        hidden = F.silu(F.linear(visual, experts.gate_proj.flatten(0, 1))) * hidden
    hidden = hidden.view(images, tokens, weights.shape[1], -1) * weights[:, None, :, None]
    mixture = hidden.flatten(2) @ experts.down_proj.flatten(0, 1).to(hidden.dtype)
    if experts.down_bias is None:
        return mixture
    return mixture + (weights @ experts.down_bias.to(weights.dtype))[:, None, :]


def _mix_chosen(visual: Tensor, weights: Tensor, chosen: Tensor, experts: ExpertMatrices) -> Tensor:
    """Work for the chosen pairs of image and expert only: `weights` and `chosen` are [M, k].

    Pairs are sorted by expert, and each group of rows meets its expert's matrix. An expert that
    nobody chose has an empty group: its gradient is zero, not absent.
    """
    _, tokens, size = visual.shape
    expert_of_pair, order = chosen.flatten().sort()
    image_of_pair = order // weights.shape[1]
    counts = torch.bincount(expert_of_pair, minlength=len(experts.up_proj))
    ends = (counts.cumsum(0) * tokens).to(torch.int32)
    rows = visual[image_of_pair].flatten(0, 1)  # [M·k·V, C]

    hidden = F.grouped_mm(rows, experts.up_proj.to(rows.dtype).transpose(1, 2), offs=ends)
    expert_of_row = expert_of_pair.repeat_interleave(tokens)
    if experts.up_bias is not None:
        hidden = hidden + experts.up_bias[expert_of_row]
    if experts.gate_proj is None:
        hidden = F.silu(hidden)
    else:
        gate = F.grouped_mm(rows, experts.gate_proj.to(rows.dtype).transpose(1, 2), offs=ends)
        hidden = F.silu(gate) * hidden
    output = F.grouped_mm(hidden, experts.down_proj.to(hidden.dtype), offs=ends)
    if experts.down_bias is not None:
        output = output + experts.down_bias[expert_of_row]
    weighted = output.view(-1, tokens, size) * weights.flatten()[order][:, None, None]
    return torch.zeros_like(visual).index_add(0, image_of_pair, weighted.to(visual.dtype))


def reweight(visual: Tensor, mixture: Tensor, *, alpha: float, kind: str) -> Tensor:
    """Equation 5: G_v = H_v + α · MoE(H_v); or, as the released checkpoints have it, the converse.

    The authors' code computes MoE(H_v) + w · H_v, which is not the paper's equation at any other
    weight than 1; checkpoints trained so must be run so.

    Args:
        visual: float[M, V, C], H_v.
        mixture: float[M, V, C], MoE(H_v).
        alpha: α of the paper; for `experts_plus_weighted_input` the released code's w.
        kind: `input_plus_experts` (paper) or `experts_plus_weighted_input` (released checkpoints).

    Raises:
        ValueError: if `kind` is neither.
    """
    if kind == "input_plus_experts":
        return visual + alpha * mixture
    if kind == "experts_plus_weighted_input":
        return mixture + alpha * visual
    raise ValueError(f"unknown kind of reweighting {kind!r}")


class LanguageExperts(nn.Module):
    """The router and the language experts (sections 3.3 and D.1), as stacked matrices.

    One parameter holds one matrix of all experts, so that all parameters take part in every step
    on every rank, whichever experts the images of a batch are sent to.

    Args:
        hidden_size: C.
        intermediate_size: I.
        num_experts: E.
        num_experts_per_tok: k of equation 4.
        gated: Gated three-matrix experts without biases (released checkpoints) in place of the
            paper's two linear layers with SiLU.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        num_experts: int,
        num_experts_per_tok: int,
        gated: bool,
    ) -> None:
        super().__init__()
        self.num_experts_per_tok = num_experts_per_tok
        # A bare parameter, so that everything here is gathered together when weights are sharded.
        self.router = nn.Parameter(torch.empty(num_experts, hidden_size))
        shape = (num_experts, intermediate_size, hidden_size)
        self.up_proj = nn.Parameter(torch.empty(shape))
        self.down_proj = nn.Parameter(torch.empty(shape))
        if gated:
            self.gate_proj = nn.Parameter(torch.empty(shape))
            self.register_parameter("up_bias", None)
            self.register_parameter("down_bias", None)
        else:
            self.register_parameter("gate_proj", None)
            self.up_bias = nn.Parameter(torch.empty(num_experts, intermediate_size))
            self.down_bias = nn.Parameter(torch.empty(num_experts, hidden_size))

    def forward(
        self, visual: Tensor, guided: Tensor, *, active: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Equations 3 and 4: routes images, and mixes what the experts make of them.

        Args:
            visual: float[M, V, C], H_v.
            guided: float[M, C], H'_v.
            active: bool[E], as in `mix`.

        Returns:
            MoE(H_v) float[M, V, C], and P float32[M, E] before the selection.
        """
        routing_weights = route(guided, self.router)
        matrices = ExpertMatrices(
            self.up_proj, self.down_proj, self.gate_proj, self.up_bias, self.down_bias
        )
        k = self.num_experts_per_tok
        return mix(visual, routing_weights, matrices, k=k, active=active), routing_weights
