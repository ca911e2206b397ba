"""Packing: the samples of a batch in one row, one after the other, instead of rows with padding.

Shapes: B samples, N tokens of the longest, T tokens of all of them together, C hidden size.
"""

import torch
from torch import Tensor


def pack(embeddings: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Takes padding out of a batch.

    Args:
        embeddings: float[B, N, C].
        attention_mask: int[B, N], 0 on padding; None if there is none.

    Returns:
        What is left float[1, T, C], the positions int[1, T], which begin anew with every sample,
        and bool[B, N], what was taken.
    """
    if attention_mask is None:
        attention_mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
    mask = attention_mask.to(embeddings.device).bool()
    places = mask.flatten().nonzero().squeeze(1)
    positions = (mask.cumsum(dim=1) - 1).flatten()[places]
    packed = embeddings.flatten(0, 1).index_select(0, places)
    return packed.unsqueeze(0), positions.unsqueeze(0), mask
