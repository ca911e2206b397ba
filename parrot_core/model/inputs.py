"""What the model is given, checked: pixels, features, and the places of images in the text.

Shapes: B samples, M images of the batch in reading order, V visual tokens of an image in the text,
N tokens of a sample with those among them, S side of an image in pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from parrot_core.model.config import ParrotConfig
from parrot_core.model.errors import ImageError, PlaceholderError


def check_pixels(pixel_values: Tensor, config: ParrotConfig) -> None:
    """Checks prepared images.

    Raises:
        ImageError: if they are not float[M, 3, S, S] or not finite.
    """
    size = config.image_size
    if pixel_values.shape[1:] != (3, size, size):
        raise ImageError(
            f"pixel_values {list(pixel_values.shape)}, not [images, 3, {size}, {size}]",
            hint="Prepare images with the model's own ParrotProcessor.",
        )
    if not pixel_values.is_floating_point():
        raise ImageError(
            f"pixel_values are {pixel_values.dtype}, not floats",
            hint="Prepare images with the model's own ParrotProcessor, which scales them.",
        )
    if not torch.compiler.is_compiling() and not bool(torch.isfinite(pixel_values).all()):
        raise ImageError(
            "pixel_values hold NaN or infinite values", hint="Look at the image files."
        )


def check_features(vision_features: Tensor, config: ParrotConfig) -> None:
    """Checks features that were computed beforehand.

    Raises:
        ImageError: if they are not what the config's vision encoder makes.
    """
    row, viewer = config.vision_row, config.vision_config
    expected = (1 + row.num_patches(viewer), row.hidden_size(viewer))
    if vision_features.shape[1:] != expected:
        raise ImageError(
            f"vision_features {list(vision_features.shape)}, not [images, {expected[0]}, "
            f"{expected[1]}]",
            hint="Compute them with the vision_features of this very model.",
        )


def samples_of_images(is_image: Tensor, *, tokens: int, images: int) -> Tensor:
    """int[M]: which sample each image belongs to.

    Args:
        is_image: bool[B, N], true on placeholders.
        tokens: V.
        images: M.

    Raises:
        PlaceholderError: if the placeholders are not M runs of V.
    """
    counts = is_image.sum(dim=1)
    if not torch.compiler.is_compiling():
        _check_runs(is_image, counts, tokens=tokens)
        shown = int(counts.sum()) // tokens
        if shown != images:
            raise PlaceholderError(
                f"{shown} images in the text, {images} in pixel_values",
                hint="Give one image for each place of an image, in reading order.",
            )
    samples = torch.arange(len(counts), device=counts.device)
    return samples.repeat_interleave(counts // tokens, output_size=images)


def _check_runs(is_image: Tensor, counts: Tensor, *, tokens: int) -> None:
    ends = is_image & ~F.pad(is_image[:, 1:], (0, 1))
    broken = (ends & (is_image.cumsum(dim=1) % tokens != 0)).any(dim=1)
    if not bool(broken.any()):
        return
    sample = int(broken.int().argmax())
    count = int(counts[sample])
    how = f"{count} image placeholders" if count % tokens else "image placeholders out of place"
    raise PlaceholderError(
        f"sample {sample} has {how}, {tokens} in a row make an image",
        hint="Let ParrotProcessor expand them, keep their token out of ordinary text, and do not "
        "cut through an image.",
    )


def guiding_tokens(
    is_image: Tensor, attention_mask: Tensor | None, guidance_mask: Tensor | None
) -> Tensor:
    """bool[B, N], true on the text tokens that guide: all that no mask given excludes.

    Raises:
        ValueError: if a mask is of another shape than the ids.
    """
    mask = ~is_image
    for given in (attention_mask, guidance_mask):
        if given is not None:
            if given.shape != mask.shape:
                raise ValueError(f"a mask of {tuple(given.shape)} for ids {tuple(mask.shape)}")
            mask = mask & given.to(mask.device).bool()
    return mask
