"""Answers from a Parrot checkpoint: many at once for evaluation, word by word for chat."""

from parrot_core.generation.answers import Answer, answer, routing
from parrot_core.generation.conversations import Conversation, ask
from parrot_core.generation.decoding import Row, Sampling, decode
from parrot_core.generation.dialogue import Dialogue, Turn
from parrot_core.generation.loading import load_for_use
from parrot_core.generation.prompts import Prompt, encode_prompt
from parrot_core.generation.weighing import weigh

__all__ = [
    "Answer",
    "Conversation",
    "Dialogue",
    "Prompt",
    "Row",
    "Sampling",
    "Turn",
    "answer",
    "ask",
    "decode",
    "encode_prompt",
    "load_for_use",
    "routing",
    "weigh",
]
