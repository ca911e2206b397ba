"""The settings of a Parrot model, named for what they are; the paper's values are the defaults."""

import math
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from parrot_core.errors import UsageError
from parrot_core.model.backbones import (
    IMAGE_QUERIES,
    VisionEncoder,
    language_model_row,
    vision_encoder_row,
)

EXPERT_KINDS = ("two_layer", "gated")
REWEIGHTINGS = ("input_plus_experts", "experts_plus_weighted_input")

# CLIP ViT-L/14-336, the vision encoder of section 4.1.
_CLIP_VIT_L_14_336 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}


@strict
class ParrotConfig(PreTrainedConfig):
    """Configuration of a Parrot model.

    Attributes:
        vision_config: The vision encoder's config; its family needs a row in `VISION_ENCODERS`.
        text_config: The language model's config; its family needs a row in `LANGUAGE_MODELS`.
        image_token_id: The token that holds an image's place in `input_ids`.
        vision_feature_layer: Hidden states that are the visual features; None takes the encoder
            family's default, which for transformers is the paper's -2.
        image_query: What asks in equation 2: `cls_token`, `pooled` (the encoder's pooled output) or
            `mean_patch`; None takes the family's default. An encoder without a [CLS] token gets the
            query, projected, in its place.
        cls_token_to_language_model: Whether the language model sees the [CLS] token (or what stands
            for it) before the patches, as in the paper.
        projector_layers: Linear layers of the projector, with GELU between them.
        experts_enabled: False bypasses router and experts: stage 1, and the LLaVA baseline.
        text_guidance: False lets the router read the [CLS] token itself instead of H'_v (ablation).
        num_experts: E.
        num_experts_per_tok: k of equation 4; None means all.
        expert_kind: `two_layer` (paper: two linear layers with SiLU) or `gated` (released
            checkpoints: down(silu(gate(x)) · up(x)), no biases).
        expert_intermediate_size: Hidden units of an expert; None means the hidden size C.
        reweighting: `input_plus_experts` (paper: H + α·MoE(H)) or `experts_plus_weighted_input`
            (released checkpoints: MoE(H) + w·H).
        alpha: α of equation 5, or the released form's w. The paper gives no value.

    Raises:
        UsageError: if a setting has no meaning, with what would be right.
    """

    model_type = "parrot"
    sub_configs_defaults = {  # noqa: RUF012 - the library's convention
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", init_kwargs=_CLIP_VIT_L_14_336
        ),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen2"),
    }

    vision_config: Any = None
    text_config: Any = None
    image_token_id: int = 151646
    vision_feature_layer: int | None = None
    image_query: str | None = None
    cls_token_to_language_model: bool = True
    projector_layers: int = 2
    experts_enabled: bool = True
    text_guidance: bool = True
    num_experts: int = 6
    num_experts_per_tok: int | None = None
    expert_kind: str = "two_layer"
    expert_intermediate_size: int | None = None
    reweighting: str = "input_plus_experts"
    alpha: float | int = 1.0
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
        """Fills in what depends on the parts, and checks every setting."""
        super().__post_init__(**kwargs)
        row = vision_encoder_row(self.vision_config)
        language_model_row(self.text_config)
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        if self.vision_feature_layer is None:
            self.vision_feature_layer = row.feature_layer
        if self.image_query is None:
            self.image_query = row.queries[0]
        if self.num_experts_per_tok is None:
            self.num_experts_per_tok = self.num_experts
        if self.expert_intermediate_size is None:
            self.expert_intermediate_size = self.text_config.hidden_size
        self._check(row)

    @property
    def vision_row(self) -> VisionEncoder:
        """The vision encoder's row of the table."""
        return vision_encoder_row(self.vision_config)

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images that the model takes."""
        return self.vision_row.image_size(self.vision_config)

    @property
    def num_image_tokens(self) -> int:
        """V, the tokens that an image has in `input_ids`."""
        patches = self.vision_row.num_patches(self.vision_config)
        return patches + int(self.cls_token_to_language_model)

    def _check(self, row: VisionEncoder) -> None:
        _one_of("expert_kind", self.expert_kind, EXPERT_KINDS)
        _one_of("reweighting", self.reweighting, REWEIGHTINGS)
        _one_of("image_query", self.image_query, IMAGE_QUERIES)
        if self.image_query not in row.queries:
            raise UsageError(
                f"image_query {self.image_query!r}: a {self.vision_config.model_type} has none",
                hint=f"Use one of {', '.join(row.queries)}.",
            )
        for name in ("num_experts", "projector_layers", "expert_intermediate_size"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{name} {getattr(self, name)}",
                    hint="It is at least 1; experts_enabled = false switches the experts off.",
                )
        if not math.isfinite(self.alpha):
            raise UsageError(f"alpha {self.alpha}", hint="Use a finite number.")
        states = row.hidden_states(self.vision_config)
        layer = self.vision_feature_layer or 0
        if not -states <= layer < states:
            raise UsageError(
                f"vision_feature_layer {layer} of an encoder with {states} hidden states",
                hint=f"Use {-states} to {states - 1}; the paper's is -2.",
            )
        chosen = self.num_experts_per_tok or 0
        if not 1 <= chosen <= self.num_experts:
            raise UsageError(
                f"num_experts_per_tok {chosen} of {self.num_experts} experts",
                hint=f"Use 1 to {self.num_experts}.",
            )
        sizes = (self.text_config.hidden_size, self.expert_intermediate_size or 0)
        if chosen < self.num_experts and any(size % 8 for size in sizes):
            raise UsageError(
                f"top-k experts with sizes {sizes}",
                hint="Grouped products need sizes that are multiples of 8, or all experts.",
            )


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown {name} {value!r}", hint=f"Use one of {', '.join(known)}.")


SETTINGS = (
    "vision_feature_layer",
    "image_query",
    "cls_token_to_language_model",
    "projector_layers",
    "experts_enabled",
    "text_guidance",
    "num_experts",
    "num_experts_per_tok",
    "expert_kind",
    "expert_intermediate_size",
    "reweighting",
    "alpha",
)
"""The fields of `ParrotConfig` that are choices, not properties of the parts."""
