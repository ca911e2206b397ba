"""Loading checkpoints: Parrot's own, and those that the paper's authors published."""

from collections.abc import Collection
from os import fspath
from typing import Any

import torch
from transformers import AutoProcessor, PreTrainedConfig
from transformers.image_processing_utils import BaseImageProcessor

from parrot_core.model.errors import CheckpointError
from parrot_core.model.join import (
    check_images,
    load_image_processor,
    make_room,
    prepare_tokenizer,
    set_stops,
    token_id,
)
from parrot_core.model.modeling import ParrotForConditionalGeneration
from parrot_core.model.processing import IMAGE_TOKEN, ParrotProcessor
from parrot_core.model.released import MODEL_TYPE, read_released
from parrot_core.model.sources import Source, load_part


def load_parrot(
    source: Source,
    *,
    vision_encoder: Source | None = None,
    image_processor: BaseImageProcessor | Source | None = None,
    dtype: torch.dtype | str = "auto",
    device_map: Any = None,  # noqa: ANN401 - the library's
    attn_implementation: str | None = None,
    quantization_config: Any = None,  # noqa: ANN401 - the library's
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """Loads a model and its processor, from safetensors only.

    Args:
        source: A folder or hub name of a Parrot checkpoint, or of one published by the authors.
        vision_encoder: For published checkpoints, a folder or hub name to take the encoder's config
            from, if not from where the checkpoint says; its weights are in the checkpoint.
        image_processor: For published checkpoints, if not from the same place.
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
    options = {
        "dtype": dtype,
        "device_map": device_map,
        "attn_implementation": attn_implementation,
        "quantization_config": quantization_config,
    }
    options = {name: value for name, value in options.items() if value is not None}
    config, _ = load_part(PreTrainedConfig.get_config_dict, source)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind == ParrotForConditionalGeneration.config_class.model_type:
        model = _load(source, source, **options)
        return model.eval(), load_part(AutoProcessor.from_pretrained, source, backend="pil")
    if kind == MODEL_TYPE:
        return _load_released(source, vision_encoder, image_processor, options)
    what = f"is a {kind!r}" if kind else "has no config.json that says what it is"
    raise CheckpointError(
        f"{fspath(source)} {what}, not a Parrot checkpoint",
        hint="`parrot train --stage 1` makes one of a language model, as join_parrot does.",
    )


def _load_released(
    source: Source,
    vision_encoder: Source | None,
    image_processor: BaseImageProcessor | Source | None,
    options: dict[str, Any],
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    vision_source = None if vision_encoder is None else fspath(vision_encoder)
    released = read_released(fspath(source), vision_source=vision_source)
    config = released.config
    tokenizer = prepare_tokenizer(released.folder, text_config=config.text_config)
    config.image_token_id = token_id(tokenizer, IMAGE_TOKEN)
    if options["dtype"] == "auto":
        options["dtype"] = released.dtype
    model = _load(source, None, config=config, state_dict=released.state, **options)
    added = make_room(model.language_model, tokenizer)
    processor = ParrotProcessor(
        load_image_processor(
            image_processor or released.vision_source, config=config.vision_config
        ),
        tokenizer,
        chat_template=tokenizer.chat_template,
        num_image_tokens=config.num_image_tokens,
        pad_to_square=released.pad_to_square,
    )
    check_images(processor, config)
    model.generation_config = released.generation_config
    set_stops(model, processor, unused=added)
    return model.eval(), processor


def _load(source: Source, place: Source | None, **options: Any) -> ParrotForConditionalGeneration:  # noqa: ANN401
    """Loads weights, from `place` or from a state given, and refuses any that do not fit."""
    model, report = load_part(
        ParrotForConditionalGeneration.from_pretrained,
        place,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # so that they are reported, and named here
        **options,
    )
    others = [f"{name} {list(found)}" for name, found, _ in report["mismatched_keys"]]
    check_weights(
        source,
        missing=report["missing_keys"],
        unexpected=report["unexpected_keys"],
        misshapen=others,
    )
    loaded: ParrotForConditionalGeneration = model
    return loaded


def check_weights(
    source: Source,
    *,
    missing: Collection[str],
    unexpected: Collection[str],
    misshapen: Collection[str] = (),
) -> None:
    """Refuses a checkpoint whose weights are not exactly the model's.

    Raises:
        CheckpointError: with the names.
    """
    faults = {
        "lacks": missing,
        "has weights of no use:": unexpected,
        "has weights of other shapes:": misshapen,
    }
    for what, names in faults.items():
        if names:
            some = ", ".join(sorted(names)[:5])
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise CheckpointError(
                f"{fspath(source)} {what} {some}{more}",
                hint="It was saved from another model, or its config.json was changed.",
            )
