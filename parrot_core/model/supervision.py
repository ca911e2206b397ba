"""What is learnt from: which positions are supervised, and the loss over them.

Shapes: B samples, N tokens of a sample, T supervised tokens of the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from parrot_core.model.errors import NothingSupervisedError, PlaceholderError

IGNORED_LABEL = -100
"""The label of a token that is not supervised."""


def find_supervised(
    labels: Tensor, image_token_id: int, input_ids: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Which positions predict a supervised token, bool[B, N], and those tokens, in order.

    Raises:
        ValueError: if labels are of another shape than the ids.
        NothingSupervisedError: if no token is supervised.
        PlaceholderError: if an image's place is.
    """
    if input_ids is not None and labels.shape != input_ids.shape:
        raise ValueError(f"labels of {tuple(labels.shape)} for ids {tuple(input_ids.shape)}")
    targets = F.pad(labels, (0, 1), value=IGNORED_LABEL)[:, 1:]
    mask = targets != IGNORED_LABEL
    if not torch.compiler.is_compiling():
        if not bool(mask.any()):
            raise NothingSupervisedError(
                f"nothing is supervised in a batch of {len(labels)} samples",
                hint="Every batch needs an answer to learn; see whether long samples were cut.",
            )
        if input_ids is not None:
            placeholders = labels.masked_fill(input_ids != image_token_id, IGNORED_LABEL)
            if bool((placeholders != IGNORED_LABEL).any()):
                raise PlaceholderError(
                    "labels supervise an image placeholder", hint="Label images with -100."
                )
    return mask, targets[mask]


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Of logits float[T, vocabulary] and targets int[T], float32[T]."""
    return F.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")


def reduce_loss(token_losses: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
    """The mean of float32[T], or where the tokens of a whole step are known, their share of it."""
    if num_items_in_batch is None:
        return token_losses.mean()
    if isinstance(num_items_in_batch, Tensor):
        num_items_in_batch = num_items_in_batch.to(token_losses.device)
    return token_losses.sum() / num_items_in_batch
