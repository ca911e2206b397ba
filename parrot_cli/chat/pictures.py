"""The picture of a conversation: a file, an address, or what comes in by stdin."""

import sys
from typing import TYPE_CHECKING

from parrot_core.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

    from parrot_core.data.remote_images import FetchLimits

STDIN = "-"


def load_picture(source: str, limits: "FetchLimits") -> "tuple[str, Image.Image]":
    """Loads the picture that a user named.

    Args:
        source: A path, a web address, or `-`.
        limits: For web addresses.

    Returns:
        What to call it, and the picture, upright and in RGB.

    Raises:
        ParrotError: what is wrong with it, or why it cannot be had.
    """
    from pathlib import Path

    from parrot_core.data.images import MAX_FILE_BYTES, open_image
    from parrot_core.data.remote_images import fetch_image, is_url

    if source == STDIN:
        if sys.stdin.isatty():
            raise UsageError(
                "no picture comes in by stdin", hint="Pipe one: cat a.png | parrot chat -"
            )
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise UsageError(
                f"the picture on stdin has more than {MAX_FILE_BYTES:,} bytes",
                hint="Save it smaller.",
            )
        return "stdin", open_image(data)
    if is_url(source):
        return source, open_image(fetch_image(source, limits))
    path = Path(source).expanduser()
    return path.name, open_image(path)
