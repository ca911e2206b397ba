"""Pictures from disk to RGB: one way for training, chat and evaluation, and it never guesses.

Whatever the file holds (palette, CMYK, 16 bits, alpha, several frames, a rotation in its EXIF), the
result is one upright 8-bit RGB picture; what cannot be read is an `ImageError` that names the file.
"""

import io
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from parrot_core.errors import UsageError

MAX_PIXELS = 89_478_485
"""Pixels (width × height) of the largest picture that is decoded: 256 MiB in RGB."""

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Bytes of the largest picture file that is opened."""

MIN_SIDE = 2
"""Pixels of the shortest side that a picture may have: of fewer no encoder makes anything."""

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's readers that are used. Left out are those that start another program (EPS) and those
that nobody's data needs, each of which would be one more parser for hostile files."""

_DECODING_ERRORS = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG chunk
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
)


class ImageError(UsageError):
    """A picture that cannot be used.

    Attributes:
        kind: `missing`, `outside`, `unreadable`, `truncated` or `oversized`.
    """

    def __init__(self, problem: str, *, kind: str = "unreadable", hint: str | None = None) -> None:
        """Keeps what is wrong, its kind, and what to do."""
        super().__init__(problem, hint=hint)
        self.kind = kind
        self.exit_code = 3 if kind == "missing" else 2


def load_image(path: str, *, root: Path) -> Image.Image:
    """Opens a picture of a data set.

    Args:
        path: The path that the record gives, relative to the image root.
        root: The image root; nothing outside it is read, whatever `..` and links say.

    Returns:
        An upright RGB picture of 8 bits a channel.

    Raises:
        ImageError: with the file, if it is missing, outside the root or not a readable picture.
    """
    return open_image(resolve_image(path, root=root))


def resolve_image(path: str, *, root: Path) -> Path:
    """Returns the file that a record's image path means, links followed, if it lies in the root.

    Raises:
        ImageError: `outside` if it does not, `missing` if there is no such file.
    """
    relative = PurePosixPath(path)
    if relative.is_absolute() or PureWindowsPath(path).anchor or ".." in relative.parts:
        raise ImageError(
            f"image path {path!r} leaves the image root {root}",
            kind="outside",
            hint="Image paths are relative to the image root and have no `..`.",
        )
    try:
        folder = root.resolve(strict=True)
    except OSError as error:
        raise ImageError(
            f"no such image root: {root}", kind="missing", hint="Check --image-root."
        ) from error
    try:
        real = (folder / relative).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a null byte in the path
        raise ImageError(
            f"no such image: {path!r} in {root}",
            kind="missing",
            hint="Check the image root, or remove the sample.",
        ) from error
    if not real.is_relative_to(folder):
        raise ImageError(
            f"image {path!r} is a link that leaves the image root {root}",
            kind="outside",
            hint="Copy the picture into the root, or choose a root that holds the link's target.",
        )
    return real


def open_image(source: Path | str | bytes) -> Image.Image:
    """Opens one picture: the user's own file, wherever it lies, or the bytes of one.

    Returns:
        An upright RGB picture of 8 bits a channel: the first frame of an animation, transparent
        parts on white.

    Raises:
        ImageError: with the file, if it is missing or not a readable picture.
    """
    name = f"picture of {len(source)} bytes" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read(Path(source))
    image = _identify(data, name=name)
    try:
        with image:
            image.seek(0)
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _to_rgb(upright)
    except ImageError:
        raise
    except _DECODING_ERRORS as error:
        truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise ImageError(
            f"cannot decode image {name}: {str(error) or type(error).__name__}",
            kind="truncated" if truncated else "unreadable",
            hint="The file is damaged: fetch it again, or remove the sample.",
        ) from error


def image_size(source: Path | str | bytes) -> tuple[int, int]:
    """Returns (width, height) in pixels from a picture's header, before any rotation by EXIF.

    Raises:
        ImageError: as `open_image`, but for damage that only decoding finds.
    """
    name = f"picture of {len(source)} bytes" if isinstance(source, bytes) else str(source)
    with _identify(
        source if isinstance(source, bytes) else _read(Path(source)), name=name
    ) as image:
        return image.size


def _read(path: Path) -> bytes:
    """Reads a regular file of bounded size; a pipe or device of that name is never opened."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES:
            return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(
            f"no such image: {path}", kind="missing", hint="Check the path."
        ) from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"cannot read image {path}: {os.strerror(getattr(error, 'errno', None) or 5)}",
            kind="unreadable",
            hint="Check the file and its permissions.",
        ) from error
    if stat.S_ISREG(status.st_mode):
        raise ImageError(
            f"image {path} has {status.st_size:,} bytes, more than {MAX_FILE_BYTES:,}",
            kind="oversized",
            hint="Save it smaller.",
        )
    raise ImageError(f"{path} is not a file", kind="unreadable", hint="Give a picture's file.")


def _identify(data: bytes, *, name: str) -> Image.Image:
    """Reads the header only, and refuses what would take too much memory to decode."""
    Image.init()  # Pillow loads its rarer readers only then; quick from the second call on
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _oversized(name, str(error).split(",")[0].removeprefix("Image size ")) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture ({_resemblance(data)})",
            kind="unreadable",
            hint=f"Formats read: {', '.join(FORMATS)}.",
        ) from error
    except _DECODING_ERRORS as error:
        raise ImageError(
            f"cannot decode image {name}: {str(error) or type(error).__name__}",
            kind="unreadable",
            hint="The file is damaged: fetch it again, or remove the sample.",
        ) from error
    if image.width * image.height > MAX_PIXELS:
        raise _oversized(name, f"({image.width} × {image.height} pixels)")
    if min(image.size) < MIN_SIDE:
        raise ImageError(
            f"image {name} has {image.width} × {image.height} pixels: too small to show anything",
            hint=f"Give pictures of at least {MIN_SIDE} pixels a side.",
        )
    return image


def _oversized(name: str, size: str) -> ImageError:
    return ImageError(
        f"image {name} is too large to decode {size}",
        kind="oversized",
        hint=f"At most {MAX_PIXELS:,} pixels are decoded: save it smaller.",
    )


def _resemblance(data: bytes) -> str:
    """Says what a file that is no picture looks like, because that is the cause to be found."""
    if not data:
        return "it is empty"
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page, perhaps an error page saved by a downloader"
    if head.startswith((b"<svg", b"<?xml")):
        return "it is XML or SVG"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: fetch the file itself"
    if b"\0" not in data[:512]:
        return "it is text"
    return "its format is not known"


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode to 8-bit RGB, what is transparent shown on white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_grey(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey to 8 bits; Pillow's own conversion would clip it to white."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"grey values of mode {image.mode!r} have no known range")
    grey = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")
