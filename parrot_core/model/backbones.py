"""The families of vision encoders and language models that Parrot is built from: one row each.

A vision encoder is added by a row in `VISION_ENCODERS`, a language model family by one in
`LANGUAGE_MODELS`; nothing else in the package asks which family it deals with.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, SiglipImageProcessorPil
from transformers.image_processing_utils import BaseImageProcessor

from parrot_core.errors import UsageError
from parrot_core.model.unread import first_layers

CLS_TOKEN, POOLED, MEAN_PATCH = "cls_token", "pooled", "mean_patch"
IMAGE_QUERIES = (CLS_TOKEN, POOLED, MEAN_PATCH)
"""Where the query of equation 2 comes from: a [CLS] token, the pooled output, or the mean patch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionEncoder:
    """What Parrot must know of a family of vision encoders.

    Attributes:
        model_class: Name of the class in transformers that loads the encoder alone, also from a
            checkpoint in which a text encoder lies beside it.
        queries: What can serve as the query of equation 2, the default first.
        feature_layer: The hidden states that are read by default; the paper's is -2.
        hidden_states: How many there are to choose from, from the encoder's config.
        prefix_tokens: Tokens before the patches, [CLS] and registers; from the encoder's config.
        image_size: Side of the images in pixels, from the encoder's config.
        num_patches: Patches of an image, from the encoder's config.
        hidden_size: D_v, from the encoder's config.
        encode: float[M, 3, S, S] and a layer, counted from 0, the embeddings, to tokens
            float[M, T, D_v] and the pooled output.
        layers: Path of the list of layers in the encoder, of which only those up to the one that is
            read are run; none where there is no such list.
        image_processor: Makes what prepares images, from the encoder's config, where the family's
            own processor makes something else than squares of that size.
        takes_any_size: Whether images of every size are taken (convolutions): the config is then
            told which size the image processor makes.
    """

    model_class: str
    queries: tuple[str, ...]
    feature_layer: int = -2
    hidden_states: Callable[[PreTrainedConfig], int] = lambda config: config.num_hidden_layers + 1
    prefix_tokens: Callable[[PreTrainedConfig], int] = lambda _: 0
    image_size: Callable[[PreTrainedConfig], int]
    num_patches: Callable[[PreTrainedConfig], int]
    hidden_size: Callable[[PreTrainedConfig], int] = lambda config: config.hidden_size
    encode: Callable[[PreTrainedModel, Tensor, int], tuple[Tensor, Tensor | None]]
    layers: str | None = "encoder.layers"
    image_processor: Callable[[PreTrainedConfig], BaseImageProcessor] | None = None
    takes_any_size: bool = False

    def read(
        self, encoder: PreTrainedModel, pixels: Tensor, *, layer: int | None, query: str | None
    ) -> tuple[Tensor, Tensor | None]:
        """Runs an encoder as far as it is read.

        Args:
            encoder: One of this family.
            pixels: float[M, 3, S, S].
            layer: The hidden states that are the features, negative ones from the end; None means
                the family's default.
            query: What serves as the query of equation 2: the pooled output needs all layers.

        Returns:
            Tokens float[M, T, D_v], and the pooled output float[M, D_v] where the family has one,
            which says nothing if another query is asked for.
        """
        last = self.feature_layer if layer is None else layer
        last %= self.hidden_states(encoder.config)
        # The library takes the embeddings, too, where the first layer begins.
        with first_layers(None if query == POOLED else max(1, last)):
            return self.encode(encoder, pixels, last)


def _side(config: PreTrainedConfig) -> int:
    """Side of square images; configs state it as a number or as a pair."""
    size = config.image_size
    if isinstance(size, int):
        return size
    if len(set(size)) != 1:
        raise UsageError(
            f"images of {size} are not square", hint="Use an encoder of square images."
        )
    return size[0]


def _grid(config: PreTrainedConfig) -> int:
    return (_side(config) // config.patch_size) ** 2


def _encode_transformer(
    encoder: PreTrainedModel, pixels: Tensor, layer: int
) -> tuple[Tensor, Tensor | None]:
    output = encoder(pixel_values=pixels, output_hidden_states=[layer])
    return output.hidden_states[layer], output.pooler_output


def _siglip2_side(config: PreTrainedConfig) -> int:
    """SigLIP 2 of flexible resolution is used on square images of its native number of patches."""
    return math.isqrt(config.num_patches) * config.patch_size


def _siglip2_processor(config: PreTrainedConfig) -> BaseImageProcessor:
    """Its own keeps aspect ratios and flattens patches; Parrot shows it squares."""
    side = _siglip2_side(config)
    return SiglipImageProcessorPil(size={"height": side, "width": side})


def _encode_siglip2(
    encoder: PreTrainedModel, pixels: Tensor, layer: int
) -> tuple[Tensor, Tensor | None]:
    """This encoder takes flattened patches (row, column, channel), a mask, and the grid's shape."""
    images, channels, height, width = pixels.shape
    patch = encoder.config.patch_size
    rows, columns = height // patch, width // patch
    patches = pixels.view(images, channels, rows, patch, columns, patch)
    patches = patches.permute(0, 2, 4, 3, 5, 1).reshape(images, rows * columns, -1)
    output = encoder(
        pixel_values=patches,
        pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.long, device=pixels.device),
        spatial_shapes=torch.tensor([[rows, columns]] * images, device=pixels.device),
        output_hidden_states=[layer],
    )
    return output.hidden_states[layer], output.pooler_output


def _efficientnet_patches(config: PreTrainedConfig) -> int:
    stride = 2 * math.prod(config.strides)  # the stem halves the image, too
    return math.ceil(_side(config) / stride) ** 2


def _encode_efficientnet(
    encoder: PreTrainedModel,
    pixels: Tensor,
    layer: int,  # noqa: ARG001 - there is one
) -> tuple[Tensor, Tensor | None]:
    """The last feature map float[M, D_v, h, w] becomes h·w patch tokens; its mean is the pooled."""
    features = encoder(pixel_values=pixels).last_hidden_state.flatten(2).transpose(1, 2)
    # Not the encoder's own pooler: it averages windows of `hidden_dim` pixels, not the whole map.
    return features, features.mean(dim=1)


VISION_ENCODERS: dict[str, VisionEncoder] = {
    "clip_vision_model": VisionEncoder(
        model_class="CLIPVisionModel",
        queries=(CLS_TOKEN, POOLED, MEAN_PATCH),
        prefix_tokens=lambda _: 1,
        image_size=_side,
        num_patches=_grid,
        encode=_encode_transformer,
    ),
    "chinese_clip_vision_model": VisionEncoder(
        model_class="ChineseCLIPVisionModel",
        queries=(CLS_TOKEN, POOLED, MEAN_PATCH),
        prefix_tokens=lambda _: 1,
        image_size=_side,
        num_patches=_grid,
        encode=_encode_transformer,
    ),
    "siglip_vision_model": VisionEncoder(  # also SigLIP 2 of fixed resolution
        model_class="SiglipVisionModel",
        queries=(POOLED, MEAN_PATCH),
        image_size=_side,
        num_patches=_grid,
        encode=_encode_transformer,
    ),
    "siglip2_vision_model": VisionEncoder(
        model_class="Siglip2VisionModel",
        queries=(POOLED, MEAN_PATCH),
        image_size=_siglip2_side,
        num_patches=lambda config: math.isqrt(config.num_patches) ** 2,
        encode=_encode_siglip2,
        image_processor=_siglip2_processor,
    ),
    "dinov2": VisionEncoder(
        model_class="Dinov2Model",
        queries=(CLS_TOKEN, POOLED, MEAN_PATCH),
        prefix_tokens=lambda _: 1,
        image_size=_side,
        num_patches=_grid,
        encode=_encode_transformer,
        layers="encoder.layer",
    ),
    "dinov2_with_registers": VisionEncoder(
        model_class="Dinov2WithRegistersModel",
        queries=(CLS_TOKEN, POOLED, MEAN_PATCH),
        prefix_tokens=lambda config: 1 + config.num_register_tokens,
        image_size=_side,
        num_patches=_grid,
        encode=_encode_transformer,
        layers="encoder.layer",
    ),
    "efficientnet": VisionEncoder(
        model_class="EfficientNetModel",
        queries=(POOLED,),
        feature_layer=-1,
        hidden_states=lambda _: 1,  # earlier maps differ in size
        image_size=_side,
        num_patches=_efficientnet_patches,
        hidden_size=lambda config: config.hidden_dim,
        encode=_encode_efficientnet,
        layers=None,
        takes_any_size=True,
    ),
}
"""Vision encoders by the `model_type` of their config."""

_CHATML = (
    "{% if messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_VICUNA = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }} "
    "{% else %}A chat between a curious user and an artificial intelligence assistant. The "
    "assistant gives helpful, detailed, and polite answers to the user's questions. {% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {{ message['content'] }} "
    "{% elif message['role'] == 'assistant' %}ASSISTANT: {{ message['content'] }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModel:
    """What Parrot must know of a family of language models, loaded by `AutoModelForCausalLM`.

    Attributes:
        members: The models that it is known to work with.
        chat_template: Template of the family's chat models for tokenizers that were published
            without one; None where every chat model brings its own.
        packs: Whether it keeps samples that stand in one row apart by their `position_ids`, as the
            library's attention does; layers with a state, and masks of a model's own, do not.
        feed_forward: Name of the feed-forward network in a layer, if it works position by position:
            the last layer's is then run only for positions that are read.
    """

    members: str
    chat_template: str | None = None
    packs: bool = False
    feed_forward: str | None = "mlp"


LANGUAGE_MODELS: dict[str, LanguageModel] = {
    "qwen2": LanguageModel(members="Qwen1.5, Qwen2, Qwen2.5", chat_template=_CHATML, packs=True),
    "qwen3": LanguageModel(members="Qwen3", chat_template=_CHATML, packs=True),
    "llama": LanguageModel(members="Llama 2 and 3, Vicuna", chat_template=_VICUNA, packs=True),
    "mistral": LanguageModel(members="Mistral", packs=True),
    "gemma": LanguageModel(members="Gemma", packs=True),
    "gemma2": LanguageModel(members="Gemma 2", packs=True),
    "gemma3_text": LanguageModel(members="Gemma 3 (text)", packs=True),
}
"""Language model families by the `model_type` of their config."""


def vision_encoder_row(config: PreTrainedConfig) -> VisionEncoder:
    """Returns the row of a vision encoder's config.

    Raises:
        UsageError: if Parrot has no row for its family.
    """
    row = VISION_ENCODERS.get(config.model_type)
    if row is None:
        raise UsageError(
            f"unknown kind of vision encoder {config.model_type!r}",
            hint=f"Parrot knows {', '.join(VISION_ENCODERS)}; one is added by a row in "
            "parrot_core/model/backbones.py.",
        )
    return row


def language_model_row(config: PreTrainedConfig) -> LanguageModel:
    """Returns the row of a language model's config.

    Raises:
        UsageError: if Parrot has no row for its family.
    """
    row = LANGUAGE_MODELS.get(config.model_type)
    if row is None:
        raise UsageError(
            f"unknown family of language models {config.model_type!r}",
            hint=f"Parrot knows {', '.join(LANGUAGE_MODELS)}; one is added by a row in "
            "parrot_core/model/backbones.py.",
        )
    return row
