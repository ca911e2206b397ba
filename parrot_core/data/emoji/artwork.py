"""Emoji drawings as pictures: square, on white, filling the same box in every style."""

import io

from PIL import Image

from parrot_core.errors import MissingError

PICTURE_SIZE = 128
"""Side of a picture, in pixels."""

MARGIN = 8
"""White border on the longer side of every drawing, in pixels."""

_OVERSAMPLING = 1.5  # a drawing that leaves a third of its canvas empty is still not enlarged


def render(svg: str) -> Image.Image:
    """Draws an SVG text, crops it to its ink, and centres it on white.

    Styles leave margins of their own round their drawings; without the crop a model could tell
    styles apart by size and would meet another size in the style it never saw.

    Returns:
        RGB image of `PICTURE_SIZE` × `PICTURE_SIZE`; the ink's longer side fills all but margins.

    Raises:
        MissingError: if the renderer is not installed.
        ValueError: if the text is not SVG or draws nothing.
    """
    try:
        import resvg_py
    except ModuleNotFoundError as error:
        raise MissingError(
            "the SVG renderer resvg-py is not installed", hint="Run: pip install resvg-py"
        ) from error
    side = round(PICTURE_SIZE * _OVERSAMPLING)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    drawn = Image.open(io.BytesIO(png)).convert("RGBA")
    ink = drawn.getchannel("A").getbbox()
    if ink is None:
        raise ValueError("the drawing is empty")
    drawn = drawn.crop(ink)
    box = PICTURE_SIZE - 2 * MARGIN
    scale = box / max(drawn.size)
    width, height = (max(1, round(length * scale)) for length in drawn.size)
    drawn = drawn.resize((width, height), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (PICTURE_SIZE, PICTURE_SIZE), "white")
    corner = ((PICTURE_SIZE - width) // 2, (PICTURE_SIZE - height) // 2)
    picture.paste(drawn, corner, mask=drawn)
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """Returns a picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
