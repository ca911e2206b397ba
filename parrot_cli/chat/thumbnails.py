"""A small view of the picture, in terminals that can show one: Kitty's way, iTerm2's, or Sixel."""

import base64
import io
import os
import re
import select
import sys
import time
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_ROWS = 8
_CELL_HEIGHT = 20  # pixels, where the terminal does not say: that of the first with Sixel
_SECONDS = 1.0  # for an answer over a slow line; nearly every terminal answers
_UNASKED = ("", "dumb", "linux")  # terminals that must not be asked what they can do
_CHUNK = 4096  # bytes of base64 in one of Kitty's messages
_SIXEL_COLOURS = 64

# A picture of one pixel that is only checked, then "what are you?", which all terminals answer: by
# the time that the second answer is there, a first one would be.
_QUESTION = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
_IDENTITY = re.compile(rb"\x1b\[\?([\d;]*)c")


def find_protocol() -> str | None:
    """Asks the terminal how it shows pictures; to be called before anything is typed.

    Returns:
        `kitty`, `iterm2` or `sixel`; None where pictures cannot be shown.
    """
    if not (sys.stdout.isatty() and sys.stdin.isatty()) or os.environ.get("TERM", "") in _UNASKED:
        return None
    if _is_iterm2(os.environ):
        return "iterm2"
    return read_protocol(_ask_terminal())


def read_protocol(reply: bytes) -> str | None:
    """Reads the protocol out of a terminal's reply."""
    if b"\x1b_Gi=31;OK" in reply:
        return "kitty"
    identity = _IDENTITY.search(reply)
    return "sixel" if identity and b"4" in identity[1].split(b";")[1:] else None


def _is_iterm2(environment: Mapping[str, str]) -> bool:
    named = (environment.get("TERM_PROGRAM"), environment.get("LC_TERMINAL"))
    return "TMUX" not in environment and ("iTerm.app" in named or "iTerm2" in named)


def _ask_terminal() -> bytes:
    try:
        import termios
        import tty
    except ImportError:  # not a POSIX system
        return b""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    reply = b""
    try:
        tty.setcbreak(keyboard)
        sys.stdout.write(_QUESTION)
        sys.stdout.flush()
        deadline = time.monotonic() + _SECONDS
        while _IDENTITY.search(reply) is None and (left := deadline - time.monotonic()) > 0:
            if not select.select([keyboard], [], [], left)[0]:
                break
            reply += os.read(keyboard, 1024)
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
    return reply


def thumbnail(picture: "Image.Image", protocol: str) -> str:
    """Encodes a picture, eight rows of text high, for a terminal.

    Args:
        picture: In RGB.
        protocol: What `find_protocol` found.
    """
    small = picture.copy()
    height = _ROWS * _cell_height()
    small.thumbnail((4 * height, height))
    if protocol == "sixel":
        return as_sixel(small)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    if protocol == "iterm2":
        size = len(buffer.getvalue())
        return f"\x1b]1337;File=inline=1;size={size};height={_ROWS}:{data}\a"
    chunks = [data[i : i + _CHUNK] for i in range(0, len(data), _CHUNK)]
    messages = []
    for number, chunk in enumerate(chunks):
        first = f"a=T,f=100,r={_ROWS},q=2," if number == 0 else ""
        more = int(number < len(chunks) - 1)
        messages.append(f"\x1b_G{first}m={more};{chunk}\x1b\\")
    return "".join(messages)


def as_sixel(picture: "Image.Image") -> str:
    """Encodes a picture as Sixel: bands of six rows, in each a run of signs per colour."""
    import numpy as np

    palette = picture.quantize(_SIXEL_COLOURS)
    colours = np.asarray(palette.getpalette()).reshape(-1, 3) * 100 // 255
    pixels = np.asarray(palette)
    height, width = pixels.shape
    parts = [f'\x1bPq"1;1;{width};{height}']
    parts += [f"#{i};2;{r};{g};{b}" for i, (r, g, b) in enumerate(colours)]
    for top in range(0, height, 6):
        band = pixels[top : top + 6]
        weights = 1 << np.arange(len(band))[:, None]
        for colour in np.unique(band):
            signs = ((band == colour) * weights).sum(axis=0) + 63
            parts.append(f"#{colour}{_runs(bytes(signs.astype(np.uint8)))}$")
        parts.append("-")
    return "".join(parts) + "\x1b\\"


def _runs(signs: bytes) -> str:
    encoded = []
    for sign, run in groupby(signs):
        count = len(list(run))
        encoded.append(f"!{count}{chr(sign)}" if count > 3 else chr(sign) * count)
    return "".join(encoded)


def _cell_height() -> int:
    """Height of a row of text in pixels, if the terminal's driver knows."""
    try:
        import fcntl
        import struct
        import termios

        size = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
    except (ImportError, OSError, ValueError):
        return _CELL_HEIGHT
    rows, _, _, height = struct.unpack("HHHH", size)
    return height // rows if rows and height else _CELL_HEIGHT
