"""Loading checkpoints: Parrot's own, and those that the paper's authors published."""

import logging
from os import fspath
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoProcessor, PreTrainedConfig, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from parrot_core.model.errors import CheckpointError
from parrot_core.model.join import Source, load_part
from parrot_core.model.modeling import ParrotForConditionalGeneration
from parrot_core.model.processing import ParrotProcessor

logger = logging.getLogger(__name__)


def load_parrot(  # noqa: PLR0913 - what a user may want to say about loading
    source: Source,
    *,
    vision_encoder: PreTrainedModel | Source | None = None,
    image_processor: BaseImageProcessor | Source | None = None,
    dtype: torch.dtype | str = "auto",
    device_map: Any = None,  # noqa: ANN401 - the library's
    attn_implementation: str | None = None,
    quantization_config: Any = None,  # noqa: ANN401 - the library's
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """Loads a model and its processor, from safetensors only.

    Args:
        source: A folder or hub name of a Parrot checkpoint, or of one published by the authors.
        vision_encoder: For published checkpoints, where the encoder's config comes from if not from
            where the checkpoint says.
        image_processor: Likewise.
        dtype: Precision; by default that of the checkpoint.
        device_map: As in the library, for instance `auto`.
        attn_implementation: As in the library.
        quantization_config: As in the library; 4-bit and 8-bit loading.

    Returns:
        The model, in evaluation mode, and its processor.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, incomplete, has weights that do not
            belong to it, or is not in safetensors; names the file or the weights.
    """
    kind = _model_type(source)
    if kind != "parrot":
        raise CheckpointError(
            f"{fspath(source)} is a {kind!r}, not a Parrot checkpoint",
            hint="To build a Parrot from a language model, use join_parrot.",
        )
    options = {
        "dtype": dtype,
        "device_map": device_map,
        "attn_implementation": attn_implementation,
        "quantization_config": quantization_config,
    }
    options = {name: value for name, value in options.items() if value is not None}
    try:
        model, report = load_part(
            ParrotForConditionalGeneration.from_pretrained,
            source,
            output_loading_info=True,
            **options,
        )
    except SafetensorError as error:
        raise CheckpointError(
            f"{fspath(source)} holds a damaged safetensors file: {error}",
            hint="It may be cut short; copy or download it again.",
        ) from error
    check_weights(source, missing=report["missing_keys"], unexpected=report["unexpected_keys"])
    return model.eval(), load_part(AutoProcessor.from_pretrained, source, backend="pil")


def check_weights(source: Source, *, missing: Any, unexpected: Any) -> None:  # noqa: ANN401 - sets or lists
    """Refuses a checkpoint whose weights are not exactly the model's.

    Raises:
        CheckpointError: with the names.
    """
    for names, what in ((missing, "lacks"), (unexpected, "has weights of no use:")):
        if names:
            some = ", ".join(sorted(names)[:5])
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise CheckpointError(
                f"{fspath(source)} {what} {some}{more}",
                hint="It was saved from another model, or its config.json was changed.",
            )


def _model_type(source: Source) -> str:
    config, _ = load_part(PreTrainedConfig.get_config_dict, source)
    return str(config.get("model_type"))
