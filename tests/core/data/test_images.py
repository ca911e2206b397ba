import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from parrot_core.data.images import ImageError, image_size, load_image, open_image

RED_LEFT = np.zeros((4, 8, 3), np.uint8)
RED_LEFT[:, :4, 0] = 255


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_a_picture_in_the_root_opens_as_rgb(tmp_path: Path):
    (tmp_path / "a").mkdir()
    Image.fromarray(RED_LEFT).save(tmp_path / "a" / "b.png")
    image = load_image("a/b.png", root=tmp_path)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), RED_LEFT)


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "a/../../secret.png", "/etc/passwd", "C:\\secret.png", "\\\\host\\x.png"],
)
def test_a_path_out_of_the_root_is_refused_unread(tmp_path: Path, path: str):
    root = tmp_path / "root"
    root.mkdir()
    Image.fromarray(RED_LEFT).save(tmp_path / "secret.png")
    with pytest.raises(ImageError, match="leaves the image root") as caught:
        load_image(path, root=root)
    assert caught.value.kind == "outside"


def test_a_link_out_of_the_root_is_refused_and_one_inside_is_followed(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    Image.fromarray(RED_LEFT).save(tmp_path / "secret.png")
    Image.fromarray(RED_LEFT).save(root / "real.png")
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    (root / "in.png").symlink_to(root / "real.png")
    assert load_image("in.png", root=root).size == (8, 4)
    for path in ("out.png", "folder/secret.png"):
        with pytest.raises(ImageError, match="link that leaves"):
            load_image(path, root=root)


def test_a_root_that_is_itself_a_link_works(tmp_path: Path):
    real = tmp_path / "real"
    real.mkdir()
    Image.fromarray(RED_LEFT).save(real / "a.png")
    (tmp_path / "link").symlink_to(real)
    assert load_image("a.png", root=tmp_path / "link").size == (8, 4)


@pytest.mark.parametrize(
    ("content", "words", "kind"),
    [
        (b"", "it is empty", "unreadable"),
        (b"just words", "it is text", "unreadable"),
        (b"<!DOCTYPE html><title>404</title>", "HTML page", "unreadable"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer", "unreadable"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\0", "cannot decode|not a picture", "unreadable"),
        (png_header(100_000, 100_000), "too large to decode", "oversized"),
        (png_header(10_000, 9_000), "too large to decode", "oversized"),
        (png_header(500, 500), "truncated", "truncated"),
        (png_header(1, 500), "1 × 500 pixels: too small to show anything", "unreadable"),
    ],
)
def test_what_is_no_picture_is_one_line_with_the_file(tmp_path: Path, content, words, kind):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=words) as caught:
        load_image("x.jpg", root=tmp_path)
    assert caught.value.kind == kind
    assert "x.jpg" in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_half_a_file_is_an_error_in_every_format(kind: str):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(ImageError):
        open_image(data[: len(data) // 2])


def test_a_missing_file_says_so_and_exits_with_3(tmp_path: Path):
    with pytest.raises(ImageError, match=r"no such image: 'a\.png'") as caught:
        load_image("a.png", root=tmp_path)
    assert caught.value.exit_code == 3
    with pytest.raises(ImageError, match="no such image"):
        open_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match="no such image root"):
        load_image("a.png", root=tmp_path / "nowhere")
    with pytest.raises(ImageError, match="no such image"):
        load_image("a\0.png", root=tmp_path)


def test_a_pipe_or_folder_is_refused_without_waiting_for_it(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "folder.png"):
        with pytest.raises(ImageError, match="is not a file"):
            load_image(name, root=tmp_path)


def test_exif_orientation_turns_the_picture_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: what is stored left is shown on top
    image = open_image(encoded(Image.fromarray(RED_LEFT), "PNG", exif=exif))
    assert image.size == (4, 8)
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert image.getpixel((0, 7)) == (0, 0, 0)


def test_transparency_is_shown_on_white_in_every_way_of_storing_it():
    clear = np.zeros((2, 2, 4), np.uint8)
    for source in (
        encoded(Image.fromarray(clear)),
        encoded(Image.new("LA", (2, 2), (0, 0))),
        encoded(Image.new("L", (2, 2), 7), transparency=7),
        encoded(Image.new("RGB", (2, 2), (1, 2, 3)), transparency=(1, 2, 3)),
        encoded(Image.new("P", (2, 2), 0), transparency=0),
        encoded(Image.new("P", (2, 2), 0), "GIF", transparency=0),
        encoded(Image.fromarray(np.full((2, 2), 7, np.uint16)), transparency=7),
        encoded(Image.fromarray(clear), "WEBP", lossless=True, exact=True),
    ):
        assert open_image(source).getpixel((0, 0)) == (255, 255, 255)
    half = encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128)))
    assert open_image(half).getpixel((0, 0)) == (127, 127, 127)


@given(value=st.integers(0, 65535))
@settings(max_examples=30, deadline=None)
def test_sixteen_bit_grey_is_scaled_and_not_clipped(value: int):
    image = open_image(encoded(Image.fromarray(np.full((2, 2), value, np.uint16))))
    assert image.getpixel((0, 0)) == (round(value / 257),) * 3


def test_grey_without_a_known_range_is_refused_rather_than_guessed():
    for values in (np.full((2, 2), 0.5, np.float32), np.full((2, 2), 70_000, np.int32)):
        with pytest.raises(ImageError, match="no known range"):
            open_image(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("1", "PNG"), ("L", "JPEG")]
)
def test_other_colour_modes_become_rgb(mode: str, kind: str):
    image = open_image(encoded(Image.new("RGB", (8, 8), "white").convert(mode), kind))
    assert (image.mode, image.getpixel((3, 3))) == ("RGB", (255, 255, 255))


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        red, _, blue = open_image(data).getpixel((1, 1))
        assert red > 200 > blue


def test_the_size_comes_from_the_header(tmp_path: Path):
    Image.fromarray(RED_LEFT).save(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == (8, 4)
    assert image_size(png_header(30, 20)) == (30, 20)


@given(
    data=st.binary(max_size=300),
    head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a"]),
)
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_anything_but_an_image_error(data: bytes, head: bytes):
    with contextlib.suppress(ImageError):
        assert open_image(head + data).mode == "RGB"
