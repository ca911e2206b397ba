"""How many tokens a conversation has, without making a batch of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from parrot_core.model.conversations import check_conversation, render_with_spans
from parrot_core.model.errors import NothingSupervisedError

Conversation = Sequence[Mapping[str, str]]


def measure_conversations(
    conversations: Sequence[Conversation],
    *,
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    image_token: str,
    num_image_tokens: int,
) -> list[tuple[int, int]]:
    """Measures conversations as the processor encodes them to learn from.

    Returns:
        For each its tokens, and how many of them suffice: those up to the last image and the first
        supervised token, whichever is later.

    Raises:
        UsageError: if one cannot be encoded or has nothing to learn from.
    """
    rendered = []
    for number, messages in enumerate(conversations):
        check_conversation(messages, place=f"conversation {number}")
        text, spans = render_with_spans(messages, tokenizer=tokenizer, template=template)
        if not spans:
            raise NothingSupervisedError(
                f"conversation {number} has no assistant to learn from",
                hint="Give it an answer, or leave it out.",
            )
        rendered.append((text, spans[0]))
    if not rendered:
        return []
    encoded = tokenizer([text for text, _ in rendered], add_special_tokens=False)
    image_token_id = tokenizer.convert_tokens_to_ids(image_token)
    measured = []
    for (text, (first, last)), encoding in zip(rendered, encoded.encodings or (), strict=True):
        ids = encoding.ids
        more = num_image_tokens - 1  # tokens that a placeholder is not yet
        tokens = len(ids) + more * ids.count(image_token_id)
        # White space before the first word may be nobody's token.
        begins = (encoding.char_to_token(at) for at in range(first, last))
        answer = next((token for token in begins if token is not None), len(ids) - 1)
        needed = answer + 1 + more * ids[:answer].count(image_token_id)
        image = text.rfind(image_token)
        if image >= 0:
            shown = encoding.char_to_token(image) + 1
            needed = max(needed, shown + more * ids[:shown].count(image_token_id))
        measured.append((tokens, needed))
    return measured


def measurement_key(
    *,
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    image_token: str,
    num_image_tokens: int,
) -> str:
    """Tells apart all that lengths depend on, as hexadecimal digits."""
    tokenizer("", padding=False, truncation=False)  # a call's settings would be written down too
    parts = [tokenizer.backend_tokenizer.to_str(), template, image_token, num_image_tokens]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
