"""The pictures of a request: in the request itself, or at a web address."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from PIL import Image

from parrot_core.data.images import MAX_PIXELS, image_size, open_image
from parrot_core.data.remote_images import FetchLimits, fetch_image_async, is_url
from parrot_core.errors import ParrotError
from parrot_core.serving.protocol import RequestError, read_data_url

Read = TypeVar("Read")


async def load_pictures(
    urls: Sequence[str], limits: FetchLimits, *, decoders: asyncio.Semaphore
) -> list[Image.Image]:
    """Loads the pictures of one request.

    Args:
        urls: `data:` URLs and web addresses, in order.
        limits: For web addresses.
        decoders: How many requests' pictures are decoded at once.

    Raises:
        RequestError: naming the picture, and what is wrong with it.
    """
    fetched = [await _fetch(url, number, limits) for number, url in enumerate(urls, start=1)]
    if not fetched:
        return []
    async with decoders:
        return await asyncio.to_thread(_decode, fetched)


async def _fetch(url: str, number: int, limits: FetchLimits) -> str | bytes:
    if url.startswith("data:"):
        return url
    if not is_url(url):
        raise RequestError(
            f"picture {number} is neither a data: URL nor a web address", code="invalid_image_url"
        )
    try:
        return await fetch_image_async(url, limits)
    except ParrotError as error:
        raise RequestError(
            f"picture {number}: {error.problem}", code="invalid_image_url"
        ) from error


def _decode(fetched: Sequence[str | bytes]) -> list[Image.Image]:
    """Decodes pictures; their headers first, so that nothing is decoded where it is too much."""
    files = [one if isinstance(one, bytes) else read_data_url(one) for one in fetched]
    pixels = 0
    for number, data in enumerate(files, start=1):
        width, height = _named(number, image_size, data)
        pixels += width * height
    if pixels > MAX_PIXELS:
        raise RequestError(
            f"the pictures have {pixels:,} pixels, at most {MAX_PIXELS:,} are decoded",
            code="invalid_image",
        )
    return [_named(number, open_image, data) for number, data in enumerate(files, start=1)]


def _named(number: int, read: Callable[[bytes], Read], data: bytes) -> Read:
    """Reads a picture; an error says which it is."""
    try:
        return read(data)
    except ParrotError as error:
        raise RequestError(f"picture {number}: {error.problem}", code="invalid_image") from error
