"""Packing: the samples of a batch in one row, one after the other, instead of rows with padding.

Shapes: B samples, N tokens of the longest, T tokens of all of them together, C hidden size.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A batch in one row.

    Attributes:
        embeddings: float[1, T, C], what is left without padding.
        positions: int[1, T], which begin anew with every sample.
        kept: bool[B, N], what was taken.
    """

    embeddings: Tensor
    positions: Tensor
    kept: Tensor

    def bounds(self) -> dict[str, Any]:
        """Where samples begin and how long the longest is, as flash attention wants to be told.

        The library would find both by the positions, anew in every layer and waiting for the GPU,
        and not in the types that all generations of flash attention take.
        """
        lengths = self.kept.sum(dim=1)
        ends = F.pad(lengths.cumsum(dim=0), (1, 0)).int()
        longest = int(lengths.max())
        return {
            "cu_seq_lens_q": ends,
            "cu_seq_lens_k": ends,
            "max_length_q": longest,
            "max_length_k": longest,
        }


def pack(embeddings: Tensor, attention_mask: Tensor | None) -> Packed:
    """Takes padding out of a batch.

    Args:
        embeddings: float[B, N, C].
        attention_mask: int[B, N], 0 on padding; None if there is none.
    """
    if attention_mask is None:
        attention_mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
    mask = attention_mask.to(embeddings.device).bool()
    places = mask.flatten().nonzero().squeeze(1)
    positions = (mask.cumsum(dim=1) - 1).flatten()[places]
    packed = embeddings.flatten(0, 1).index_select(0, places)
    return Packed(embeddings=packed.unsqueeze(0), positions=positions.unsqueeze(0), kept=mask)


def is_flash_attention(config: PreTrainedConfig) -> bool:
    """Whether a model computes with flash attention, to which padding is no work."""
    return (config._attn_implementation or "").startswith("flash_attention")
