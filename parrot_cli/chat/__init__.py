"""`parrot chat`: a conversation about a picture, or answers to single questions."""

from parrot_cli.chat.command import chat

__all__ = ["chat"]
