"""Errors on their way out of a loader's worker process.

There torch makes a new exception of the old one's type, with a whole traceback for its message: a
user's mistake would be told as a crash.
"""

import json

from parrot_core.errors import ParrotError, UsageError


class SentError(UsageError):
    """An error that keeps its problem, hint and exit code however often it is made again.

    Args:
        text: What `pack` made of an error, or a text that ends with it.
    """

    def __init__(self, text: str) -> None:
        start = text.rfind(_MARK)
        problem, hint, exit_code = json.loads(text[start + len(_MARK) :])
        super().__init__(problem, hint=hint)
        self.exit_code = exit_code
        self.args = (text,)


_MARK = "as sent: "


def pack(error: ParrotError) -> SentError:
    """Makes an error fit to be sent."""
    return SentError(_MARK + json.dumps([error.problem, error.hint, error.exit_code]))
