"""Joining pretrained parts into a model: where stage 1 begins."""

import copy
from os import fspath
from typing import Any

import torch
import transformers
from PIL import Image
from torch import nn
from transformers import (
    AddedToken,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.image_processing_utils import BaseImageProcessor

from parrot_core.errors import UsageError
from parrot_core.model.backbones import VISION_ENCODERS, language_model_row, vision_encoder_row
from parrot_core.model.config import SETTINGS, ParrotConfig
from parrot_core.model.errors import CheckpointError, ImageError
from parrot_core.model.modeling import ParrotForConditionalGeneration
from parrot_core.model.parts import initialise
from parrot_core.model.processing import IMAGE_TOKEN, ParrotProcessor
from parrot_core.model.sources import Source, check_safetensors, load_part


def join_parrot(
    *,
    language_model: PreTrainedModel | Source,
    vision_encoder: PreTrainedModel | Source,
    tokenizer: PreTrainedTokenizerBase | Source | None = None,
    image_processor: BaseImageProcessor | Source | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    chat_template: str | None = None,
    pad_to_square: bool = True,
    **settings: Any,  # noqa: ANN401 - the fields of ParrotConfig
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """Joins a language model and a vision encoder with a fresh projector and fresh experts.

    Args:
        language_model: A causal language model, or where to load it from.
        vision_encoder: A vision encoder of a family in the table, or where to load it from.
        tokenizer: The language model's; needed if the model is given as an object.
        image_processor: The encoder's; needed if the encoder is given as an object.
        generator: Draws the projector and the experts; a CPU generator.
        dtype: Precision of all parts; by default the language model's own.
        chat_template: Used in place of the tokenizer's own.
        pad_to_square: As in `ParrotProcessor`.
        **settings: As in `ParrotConfig`: `alpha`, `num_experts`, `expert_kind` and so on.

    Returns:
        The model, in evaluation mode, and its processor.

    Raises:
        UsageError: if a setting, a family or the parts do not fit together.
        CheckpointError: if a part cannot be loaded.
    """
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise TypeError(f"unknown settings {unknown}; known are {', '.join(SETTINGS)}")
    if tokenizer is None:
        tokenizer = _beside(language_model, "tokenizer")
    if image_processor is None:
        image_processor = _beside(vision_encoder, "image_processor")
    speaker = load_language_model(language_model, dtype=dtype)
    viewer = load_vision_encoder(vision_encoder, dtype=speaker.dtype)
    words = prepare_tokenizer(tokenizer, text_config=speaker.config, chat_template=chat_template)
    pictures = load_image_processor(image_processor, config=viewer.config)
    _fit_image_size(viewer.config, pictures)
    attention = [part.config._attn_implementation for part in (viewer, speaker)]
    config = ParrotConfig(
        vision_config=viewer.config,
        text_config=speaker.config,
        image_token_id=token_id(words, IMAGE_TOKEN),
        **settings,
    )
    added = make_room(speaker, words)
    for part, implementation in zip((viewer, speaker), attention, strict=True):
        part.config._attn_implementation = implementation  # the composite config has reset it
        for module in part.modules():
            module._is_hf_initialized = True  # the library's mark: weights to be left alone
    model = ParrotForConditionalGeneration(config, viewer, speaker)
    fresh: list[nn.Module] = [*model.projector]
    if model.experts is not None:
        fresh.append(model.experts)
    for module in fresh:
        initialise(module, generator)
        module.to(device=speaker.device, dtype=speaker.dtype)
    viewer.to(device=speaker.device, dtype=speaker.dtype)
    processor = ParrotProcessor(
        pictures,
        words,
        chat_template=words.chat_template,
        num_image_tokens=config.num_image_tokens,
        pad_to_square=pad_to_square,
    )
    check_images(processor, config)
    model.generation_config = copy.deepcopy(speaker.generation_config)
    set_stops(model, processor, unused=added)
    return model.eval(), processor


def token_id(tokenizer: Any, token: str) -> int:  # noqa: ANN401 - typed in the library only in part
    """The id of one token."""
    return int(tokenizer.convert_tokens_to_ids(token))


def load_language_model(source: PreTrainedModel | Source, *, dtype: torch.dtype | None) -> Any:  # noqa: ANN401
    """The language model itself, or loaded from a folder or hub name (safetensors only)."""
    if isinstance(source, PreTrainedModel):
        return source if dtype is None else nn.Module.to(source, dtype)
    check_safetensors(source)
    return load_part(
        AutoModelForCausalLM.from_pretrained, source, dtype=dtype or "auto", use_safetensors=True
    )


def load_vision_encoder(source: PreTrainedModel | Source, *, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """The encoder itself, or loaded alone from where there may be text parts, too."""
    if isinstance(source, PreTrainedModel):
        return source
    kind = load_part(AutoConfig.from_pretrained, source).model_type
    row = VISION_ENCODERS.get(kind) or VISION_ENCODERS.get(f"{kind}_vision_model")
    if row is None:
        raise UsageError(
            f"{fspath(source)} is a {kind!r}, not a vision encoder that Parrot knows",
            hint=f"Parrot knows {', '.join(VISION_ENCODERS)}.",
        )
    check_safetensors(source)
    loader = getattr(transformers, row.model_class).from_pretrained
    return load_part(loader, source, dtype=dtype, use_safetensors=True)


def load_image_processor(
    source: BaseImageProcessor | Source, *, config: PreTrainedConfig
) -> BaseImageProcessor:
    """The image processor itself, or loaded; always the Pillow one, equal on every machine."""
    if isinstance(source, BaseImageProcessor):
        return source
    make = vision_encoder_row(config).image_processor
    if make is not None:
        return make(config)
    return load_part(AutoImageProcessor.from_pretrained, source, backend="pil")


def prepare_tokenizer(
    source: PreTrainedTokenizerBase | Source,
    *,
    text_config: PreTrainedConfig,
    chat_template: str | None = None,
) -> PreTrainedTokenizerBase:
    """A copy of the tokenizer with an image token, a padding token and a chat template.

    Raises:
        CheckpointError: if there is none to load.
    """
    if isinstance(source, PreTrainedTokenizerBase):
        tokenizer = copy.deepcopy(source)
    else:
        # The config is given, lest the library guess from one that it does not know.
        tokenizer = load_part(AutoTokenizer.from_pretrained, source, config=text_config)
        if len(tokenizer) <= len(
            tokenizer.added_tokens_decoder
        ):  # the library makes up an empty one
            raise CheckpointError(
                f"{source} holds no tokenizer", hint="Copy or download its tokenizer files."
            )
    if IMAGE_TOKEN not in tokenizer.get_vocab():
        token = AddedToken(IMAGE_TOKEN, special=True, normalized=False)
        tokenizer.add_tokens([token], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # masks come from lengths, never from this id
    tokenizer.padding_side = "left"
    template = chat_template or tokenizer.chat_template
    tokenizer.chat_template = template or language_model_row(text_config).chat_template
    return tokenizer


def set_stops(
    model: ParrotForConditionalGeneration, processor: ParrotProcessor, *, unused: range
) -> None:
    """Lets generation end at the chat template's end of turn, and never write an image token.

    Args:
        model: Its `generation_config` is changed.
        processor: Its template and tokenizer decide.
        unused: Rows of the vocabulary that stand for nothing, which `make_room` added.
    """
    settings: Any = model.generation_config
    turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]
    turn_end = int(processor.encode_conversations([turn], images=[[]])["input_ids"][0, -1])
    stops = settings.eos_token_id
    stops = [] if stops is None else stops if isinstance(stops, list) else [stops]
    settings.eos_token_id = list(dict.fromkeys([*stops, turn_end]))
    settings.pad_token_id = processor.tokenizer.pad_token_id
    image = token_id(processor.tokenizer, IMAGE_TOKEN)
    settings.suppress_tokens = sorted({image, *unused})


def check_images(processor: ParrotProcessor, config: ParrotConfig) -> None:
    """Checks that the image processor makes images of the size that the encoder takes.

    Raises:
        ImageError: with both sizes, if it does not.
    """
    shape = tuple(processor.prepare_images([Image.new("RGB", (48, 32))]).shape[1:])
    if shape != (3, config.image_size, config.image_size):
        raise ImageError(
            f"the image processor makes images of {shape}, the encoder takes {config.image_size}",
            hint="Give the image processor that belongs to the encoder.",
        )


def _beside(part: PreTrainedModel | Source, name: str) -> Source:
    if isinstance(part, PreTrainedModel):
        raise TypeError(f"{name} is needed beside a {type(part).__name__} given as an object")
    return part


def _fit_image_size(config: PreTrainedConfig, image_processor: BaseImageProcessor) -> None:
    """Tells the config of an encoder that takes images of every size which are given."""
    if vision_encoder_row(config).takes_any_size:
        image = Image.new("RGB", (64, 64))
        config.image_size = image_processor([image], return_tensors="pt")["pixel_values"].shape[-1]


def make_room(language_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> range:
    """Gives the image token a row in the embeddings, where the vocabulary has none to spare.

    Its embedding is never used, but logits processors look its score up. New rows hold the mean.

    Returns:
        The ids of the new rows.
    """
    before = _rows(language_model)
    if len(tokenizer) <= before:
        return range(before, before)
    language_model.resize_token_embeddings(
        len(tokenizer), pad_to_multiple_of=64, mean_resizing=False
    )
    heads: list[Any] = [language_model.get_input_embeddings()]
    if not language_model.config.tie_word_embeddings:
        heads.append(language_model.get_output_embeddings())
    with torch.no_grad():
        for head in heads:
            head.weight[before:] = head.weight[:before].float().mean(dim=0).to(head.weight.dtype)
    return range(before, _rows(language_model))


def _rows(model: Any) -> int:  # noqa: ANN401 - typed in the library only in part
    return int(model.get_input_embeddings().num_embeddings)
