"""What the model returns.

Shapes: B samples, M images of the batch in reading order, V visual tokens of an image, N tokens of
a sample, C hidden size, E experts, T supervised tokens.
"""

from dataclasses import dataclass

from torch import Tensor
from transformers import Cache
from transformers.utils.generic import ModelOutput


@dataclass
class ParrotOutput(ModelOutput):
    """What a Parrot model returns.

    Attributes:
        loss: Mean cross-entropy over supervised tokens, or their sum over `num_items_in_batch`.
        logits: float[B, N, vocabulary]; None in training with labels, where only the supervised
            positions meet the language-model head.
        past_key_values: The language model's cache.
        hidden_states: The language model's, where asked for.
        attentions: The language model's, where asked for.
        routing_weights: float32[M, E], P of equation 3; None without images or experts.
        token_losses: float32[T], the cross-entropy of each supervised token in reading order over
            the batch, without gradient; None without labels.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    routing_weights: Tensor | None = None
    token_losses: Tensor | None = None


@dataclass
class ParrotImageFeatures(ModelOutput):
    """Images as the language model sees them.

    Attributes:
        pooler_output: M tensors float[V, C], G_v of equation 5 (the library's name for the field);
            H_v itself where experts are bypassed.
        visual_tokens: float[M, 1 + patches, C], H_v before the experts, with the [CLS] token.
        routing_weights: float32[M, E], P of equation 3.
        guidance_weights: float32[M, N], the attention of equation 2 that each token of an image's
            sample gets; None where the text does not guide.
    """

    pooler_output: list[Tensor] | None = None
    visual_tokens: Tensor | None = None
    routing_weights: Tensor | None = None
    guidance_weights: Tensor | None = None
