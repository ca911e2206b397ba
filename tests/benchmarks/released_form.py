"""The computation of the released code, rewritten over a Parrot's own weights, to time beside it.

What is done so here because it is done so there: guidance in a loop over samples, experts in a
loop, image tokens spliced sample by sample, logits at every position, of a prompt too (as in the
version of transformers that it needs), all layers of the vision encoder, and generation of one
question at a time. Vision encoder and language model are the same modules.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from parrot_core.model import ParrotForConditionalGeneration


def embed(
    model: ParrotForConditionalGeneration, batch: dict[str, Tensor], guides: Tensor
) -> Tensor:
    """Word embeddings float[B, N, C] with one image a sample spliced in; guides is bool[B, N]."""
    table = model.get_input_embeddings()
    image_token, tokens = model.config.image_token_id, model.config.num_image_tokens
    with torch.no_grad():
        states = model.vision_encoder(batch["pixel_values"], output_hidden_states=True)
    visual = model.projector(states.hidden_states[model.config.vision_feature_layer])
    guided = []
    for image, ids, guiding in zip(visual, batch["input_ids"], guides, strict=True):
        text = table(ids[guiding & (ids != image_token)])
        attention = (image[:1] @ text.T / text.shape[1] ** 0.5).softmax(dim=-1)
        guided.append(attention @ text)
    experts = model.experts
    routing = F.linear(torch.cat(guided), experts.router).softmax(dim=-1)
    mixture = torch.zeros_like(visual)
    # There each expert is a module of its own: to index the stacked matrices would cost more.
    matrices = (experts.gate_proj.unbind(), experts.up_proj.unbind(), experts.down_proj.unbind())
    for weights, gate_proj, up_proj, down_proj in zip(routing.T, *matrices, strict=True):
        hidden = F.silu(F.linear(visual, gate_proj)) * F.linear(visual, up_proj)
        mixture = mixture + weights[:, None, None] * (hidden @ down_proj)
    specific = mixture + model.config.alpha * visual
    rows = []
    for image, ids in zip(specific, batch["input_ids"], strict=True):
        first = int((ids == image_token).nonzero()[0])
        rows.append(torch.cat([table(ids[:first]), image, table(ids[first + tokens :])]))
    return torch.stack(rows)


def loss(
    model: ParrotForConditionalGeneration,
    batch: dict[str, Tensor],
    labels: Tensor,
) -> Tensor:
    """The training loss, from the logits of all positions; what is not supervised guides."""
    embeddings = embed(model, batch, labels == -100)
    output = model.language_model(
        inputs_embeds=embeddings, attention_mask=batch["attention_mask"], use_cache=False
    )
    logits = output.logits.float()[:, :-1].flatten(0, 1)
    return F.cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=-100)


@torch.no_grad()
def generate(
    model: ParrotForConditionalGeneration, batch: dict[str, Tensor], **options: object
) -> Tensor:
    """New tokens of one question."""
    embeddings = embed(model, batch, torch.ones_like(batch["input_ids"], dtype=torch.bool))
    new: Tensor = model.language_model.generate(
        inputs_embeds=embeddings,
        attention_mask=batch["attention_mask"],
        logits_to_keep=0,
        **options,
    )
    return new
