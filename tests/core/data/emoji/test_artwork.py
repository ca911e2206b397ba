import io
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from parrot_core.data.emoji.artwork import MARGIN, PICTURE_SIZE, png_bytes, render
from parrot_core.errors import MissingError


def rectangle(x=0, y=0, width=72, height=72, *, fill="#123456", opacity=1.0):
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}" '
        f'fill-opacity="{opacity}"/></svg>'
    )


def ink_box(picture):
    white = Image.new("RGB", picture.size, "white")
    return ImageChops.difference(picture, white).getbbox()


@settings(max_examples=25, deadline=None)
@given(
    x=st.integers(0, 30), y=st.integers(0, 30), width=st.integers(3, 42), height=st.integers(3, 42)
)
def test_ink_fills_the_same_box_wherever_a_style_draws_it(x, y, width, height):
    picture = render(rectangle(x, y, width, height))
    left, upper, right, lower = ink_box(picture)
    assert max(right - left, lower - upper) == PICTURE_SIZE - 2 * MARGIN
    assert abs(left - (PICTURE_SIZE - right)) <= 1
    assert abs(upper - (PICTURE_SIZE - lower)) <= 1


def test_proportions_are_kept():
    left, upper, right, lower = ink_box(render(rectangle(10, 20, 40, 20)))
    assert (right - left) / (lower - upper) == pytest.approx(2, abs=0.05)


def test_a_picture_is_rgb_on_white():
    picture = render(rectangle())
    assert (picture.mode, picture.size) == ("RGB", (PICTURE_SIZE, PICTURE_SIZE))
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert picture.getpixel((PICTURE_SIZE // 2, PICTURE_SIZE // 2)) == (0x12, 0x34, 0x56)


def test_half_transparent_ink_is_half_white():
    middle = render(rectangle(fill="#000000", opacity=0.5)).getpixel((64, 64))
    assert all(abs(level - 127) <= 1 for level in middle)


def test_a_png_holds_the_same_pixels():
    picture = render(rectangle(5, 5, 30, 60))
    read = Image.open(io.BytesIO(png_bytes(picture)))
    assert ImageChops.difference(read, picture).getbbox() is None


@pytest.mark.parametrize("svg", ["no drawing", rectangle(opacity=0)])
def test_what_draws_nothing_is_an_error(svg):
    with pytest.raises(ValueError, match=r"empty|unknown token"):
        render(svg)


def test_without_the_renderer_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingError, match="resvg-py is not installed") as caught:
        render(rectangle())
    assert caught.value.hint == "Run: pip install resvg-py"
