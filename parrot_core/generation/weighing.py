"""How likely a model finds answers that are given to it."""

from collections.abc import Sequence

import torch

from parrot_core.generation.conversations import Conversation
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor
from parrot_core.model.supervision import IGNORED_LABEL


def weigh(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversations: Sequence[Conversation],
    candidates: Sequence[Sequence[str]],
) -> list[list[float]]:
    """Returns log P(candidate | conversation) in nats: the sum over its tokens and its end.

    Args:
        model: In evaluation mode.
        processor: The model's.
        conversations: Each ends with a user's turn.
        candidates: For each conversation the answers to weigh; images are encoded once for all.
    """
    rows = [number for number, texts in enumerate(candidates) for _ in texts]
    answered = [
        [*conversations[number].messages, {"role": "assistant", "content": text}]
        for number, texts in enumerate(candidates)
        for text in texts
    ]
    batch = processor.encode_conversations(answered, images=None, supervise=True)
    asked = processor.encode_conversations(
        [conversation.messages for conversation in conversations],
        images=None,
        add_generation_prompt=True,
    )
    labels = batch.pop("labels")
    for row, number in enumerate(rows):  # earlier answers are given, not weighed
        labels[row, : int(asked["attention_mask"][number].sum())] = IGNORED_LABEL
    inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
    images = [image for conversation in conversations for image in conversation.images]
    with torch.no_grad():
        if images:
            features = model.vision_features(processor.prepare_images(images).to(model.device))
            inputs["vision_features"] = features[_images_of_rows(conversations, rows)]
        logits = model(**inputs).logits[:, :-1]
    labels = labels[:, 1:].to(logits.device)
    chosen = logits.float().log_softmax(dim=-1).gather(2, labels.clamp_min(0).unsqueeze(-1))
    weights = chosen.squeeze(-1).masked_fill(labels == IGNORED_LABEL, 0.0).sum(dim=1).tolist()
    found = iter(weights)
    return [[next(found) for _ in texts] for texts in candidates]


def _images_of_rows(conversations: Sequence[Conversation], rows: Sequence[int]) -> list[int]:
    """Indices of each row's images among those of all conversations."""
    first = [0]
    for conversation in conversations:
        first.append(first[-1] + len(conversation.images))
    return [image for number in rows for image in range(first[number], first[number + 1])]
