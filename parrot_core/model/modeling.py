"""The model: vision encoder, projector, language experts and language model, composed.

Shapes: B samples, M images of the batch in reading order, V visual tokens of an image (the [CLS]
token first), N tokens of a sample with the V placeholders of each image among them, C hidden size,
E experts, S side of an image in pixels.
"""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    Cache,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.utils.generic import ModelOutput, can_return_tuple

from parrot_core.model.alignment import LanguageExperts, guide, reweight
from parrot_core.model.backbones import CLS_TOKEN, POOLED, language_model_row
from parrot_core.model.config import ParrotConfig
from parrot_core.model.errors import (
    CheckpointError,
    GuidanceError,
    ImageError,
    PlaceholderError,
)
from parrot_core.model.inputs import (
    check_features,
    check_pixels,
    guiding_tokens,
    samples_of_images,
)
from parrot_core.model.outputs import ParrotImageFeatures, ParrotOutput
from parrot_core.model.packing import is_flash_attention
from parrot_core.model.packing import pack as pack_samples
from parrot_core.model.parts import build_experts, build_projector, initialise
from parrot_core.model.sources import check_safetensors
from parrot_core.model.supervision import cross_entropies, find_supervised, reduce_loss
from parrot_core.model.unread import (
    Checkpoint,
    compute_only_read,
    only_read,
    runs_again_alike,
    shorten,
)

_NEVER_QUANTISED = ("vision_encoder", "projector", "experts", "lm_head")


class ParrotForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Parrot (section 3.3): visual tokens are turned into the language of the prompt by experts.

    Args:
        config: The settings.
        vision_encoder: A built encoder of `config.vision_config`; a new one by default.
        language_model: A built causal language model of `config.text_config`; likewise.
    """

    config_class = ParrotConfig
    config: ParrotConfig
    vision_encoder: Any  # a model of the library, typed there only in part
    projector: nn.Sequential
    experts: LanguageExperts | None
    language_model: Any
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]  # noqa: RUF012 - the library's convention
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _no_split_modules = ["LanguageExperts"]  # noqa: RUF012

    def __init__(
        self,
        config: ParrotConfig,
        vision_encoder: PreTrainedModel | None = None,
        language_model: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(config)
        self.vision_encoder = vision_encoder or AutoModel.from_config(config.vision_config)
        self.projector = build_projector(config)
        self.experts = build_experts(config) if config.experts_enabled else None
        self.language_model = language_model or AutoModelForCausalLM.from_config(config.text_config)
        if config.vision_row.layers is not None:
            shorten(self.vision_encoder, config.vision_row.layers)
        network = language_model_row(config.text_config).feed_forward
        if network is not None:
            compute_only_read(getattr(self._last_layer(), network))
        self.post_init()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,  # noqa: ANN401 - the library's
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> "ParrotForConditionalGeneration":
        """Loads a checkpoint as the library does, from safetensors only: no pickle is ever read.

        4-bit and 8-bit loading that does not say which modules to leave leaves all but the language
        model's layers: the other parts are small, and are trained whole beside an adapter.

        Raises:
            CheckpointError: if a folder's weights are damaged or not in safetensors.
        """
        source = pretrained_model_name_or_path
        if source is not None and not kwargs.get("subfolder"):
            check_safetensors(source)
        quantisation = kwargs.get("quantization_config")
        if (
            isinstance(quantisation, BitsAndBytesConfig)
            and quantisation.llm_int8_skip_modules is None
        ):
            quantisation = copy.deepcopy(quantisation)
            quantisation.llm_int8_skip_modules = list(_NEVER_QUANTISED)
            kwargs["quantization_config"] = quantisation
        kwargs["use_safetensors"] = True
        try:
            return super().from_pretrained(source, *args, **kwargs)
        except SafetensorError as error:
            raise CheckpointError(
                f"{source} holds weights that are damaged: {error}",
                hint="They may be cut short; copy or download them again.",
            ) from error

    def get_input_embeddings(self) -> nn.Module:
        """The language model's word embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's word embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replaces the language model's head."""
        self.language_model.set_output_embeddings(new_embeddings)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Called by the library for every module that no part and no checkpoint initialised."""
        initialise(module)

    def initialise_experts(self, generator: torch.Generator | None = None) -> None:
        """Gives the model freshly drawn experts and switches them on: the start of stage 2 (D.1).

        Args:
            generator: A CPU generator; the draws do not depend on the model's device or precision.
        """
        self.config.experts_enabled = True
        like = next(self.projector.parameters())
        with torch.device("cpu"):
            experts = build_experts(self.config).float()
        initialise(experts, generator)
        self.experts = experts.to(device=like.device, dtype=like.dtype)

    def train(self, mode: bool = True) -> "ParrotForConditionalGeneration":  # noqa: FBT001, FBT002
        """Sets the mode of all parts but a frozen vision encoder, which stays in evaluation."""
        super().train(mode)
        if self._vision_encoder_is_frozen():
            self.vision_encoder.eval()
        return self

    def _set_gradient_checkpointing(
        self,
        enable: bool = True,  # noqa: FBT001, FBT002 - the library's
        gradient_checkpointing_func: Callable[..., Any] = checkpoint,
        every_n_layers: int = 1,
    ) -> None:
        """Called by the library when checkpointing is switched on or off."""
        function = Checkpoint(gradient_checkpointing_func)
        super()._set_gradient_checkpointing(enable, function, every_n_layers)

    def _last_layer(self) -> nn.Module:
        layer: nn.Module = self.language_model.get_decoder().layers[-1]
        return layer

    def _vision_encoder_is_frozen(self) -> bool:
        return not any(parameter.requires_grad for parameter in self.vision_encoder.parameters())

    def encode_images(
        self,
        pixel_values: Tensor | None = None,
        *,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        guidance_mask: Tensor | None = None,
        vision_features: Tensor | None = None,
        active_experts: Tensor | None = None,
    ) -> ParrotImageFeatures:
        """Encodes images and turns them into the language of their samples (equations 2 to 5).

        Args:
            pixel_values: float[M, 3, S, S], in reading order over the batch.
            input_ids: int[B, N], with the placeholders.
            attention_mask: int[B, N], 0 on padding.
            guidance_mask: int[B, N], 1 on the text tokens that guide; all but padding by default.
            vision_features: float[M, 1 + patches, D_v], what `vision_features` returned for the
                images, in place of `pixel_values`.
            active_experts: bool[E], false for experts that are switched off (ablation): their term
                of equation 4 is left out, the others' weights stay. Left out, all are on.

        Raises:
            PlaceholderError: if placeholders and images do not match.
            ImageError: if the pixels are not finite or not of the model's size.
            GuidanceError: if a sample with an image has no token that guides.
        """
        features = self._features(pixel_values, vision_features)
        if features is None:
            raise ValueError("give pixel_values or vision_features")
        return self._align(
            self._project(features),
            input_ids,
            self._embed_words(input_ids),
            attention_mask,
            guidance_mask,
            active_experts=active_experts,
        )

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(  # noqa: PLR0913 - the library's arguments
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        guidance_mask: Tensor | None = None,
        vision_features: Tensor | None = None,
        vision_feature_mask: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,  # noqa: FBT001
        logits_to_keep: int | Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        num_items_in_batch: Tensor | int | None = None,
        pack: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,  # noqa: ANN401 - handed to the language model
    ) -> ParrotOutput:
        """Runs the model.

        Args:
            input_ids: int[B, N]; each image has V times `config.image_token_id`.
            attention_mask: int[B, N], 0 on padding.
            pixel_values: float[M, 3, S, S], the images in reading order over the batch. Samples
                without images and with several are ordinary.
            guidance_mask: int[B, N], 1 on the text tokens that guide (equation 2). Answers do not
                guide, neither those of a chat nor those being generated: whoever knows which tokens
                are answers says so here. Left out, all text tokens but padding guide.
            vision_features: float[M, 1 + patches, D_v], what `vision_features` returned for
                images of a frozen encoder, in place of `pixel_values`; M is 0 for a batch of text
                where others have images.
            vision_feature_mask: float[M, D_v], by which each image's features are multiplied, all
                tokens alike: dropout of whole channels, drawn by whoever trains.
            labels: int[B, N], -100 where not supervised.
            position_ids: int[B, N].
            past_key_values: The language model's cache.
            inputs_embeds: float[B, N, C], in place of `input_ids`, without images.
            use_cache: Whether to return a cache; never in training.
            logits_to_keep: As in the library: the last positions, or which ones; 0 means all. By
                default all, but in training with labels none beyond those the loss needs.
            mm_encoder_outputs: `{"image": ParrotImageFeatures}`, in place of `pixel_values`.
            num_items_in_batch: Supervised tokens of all micro-batches and ranks of a step: with it
                the loss is the sum over this batch's tokens divided by it.
            pack: Let the language model read the samples one after the other in a single row, so
                that it computes nothing for padding; loss, guidance and routing are each sample's
                own as before. In training, for families of language models that can be packed
                (`LANGUAGE_MODELS`).
            **kwargs: Handed to the language model.

        Raises:
            PlaceholderError, ImageError, GuidanceError: as in `encode_images`.
            NothingSupervisedError: if labels are given and nothing in them is supervised.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        routing_weights = None
        if input_ids is not None:
            features = self._features(pixel_values, vision_features, vision_feature_mask)
            stand_in = None
            if (features is None or not len(features)) and not mm_encoder_outputs:
                stand_in = self._stand_in_features(features)
                features = None
            inputs_embeds, routing_weights = self._embed(
                input_ids,
                attention_mask,
                features,
                guidance_mask,
                mm_encoder_outputs,
            )
            if stand_in is not None:
                inputs_embeds = self._with_all_parameters(inputs_embeds, stand_in)
        elif pixel_values is not None or vision_features is not None or mm_encoder_outputs:
            raise ValueError("images need input_ids, which say where they go")
        if self.training and use_cache is None:
            use_cache = False
        mask = targets = None
        only_supervised = False
        if labels is not None:
            if isinstance(logits_to_keep, Tensor) or logits_to_keep:
                raise ValueError("labels need the logits of all positions: omit logits_to_keep")
            mask, targets = find_supervised(labels, self.config.image_token_id, input_ids)
            only_supervised = self.training and logits_to_keep is None
        if pack:
            if mask is None or inputs_embeds is None or not only_supervised:
                raise ValueError("packing is for training, with labels and without logits_to_keep")
            packed = pack_samples(inputs_embeds, attention_mask)
            inputs_embeds, position_ids = packed.embeddings, packed.positions
            mask, attention_mask, use_cache = mask[packed.kept].unsqueeze(0), None, False
            if is_flash_attention(self.language_model.config):
                kwargs |= packed.bounds()
        if logits_to_keep is None:
            logits_to_keep = mask if mask is not None and only_supervised else 0
        with self._only_read(logits_to_keep, inputs_embeds, kwargs):
            output = self.language_model(
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                logits_to_keep=logits_to_keep,
                return_dict=True,
                **kwargs,
            )
        logits, loss, token_losses = output.logits, None, None
        if targets is not None:
            token_losses = cross_entropies(logits if only_supervised else logits[mask], targets)
            loss = reduce_loss(token_losses, num_items_in_batch)
        return ParrotOutput(
            loss=loss,
            token_losses=None if token_losses is None else token_losses.detach(),
            logits=None if only_supervised else logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
            routing_weights=routing_weights,
        )

    def _only_read(
        self, logits_to_keep: int | Tensor, embeddings: Tensor | None, options: dict[str, Any]
    ) -> AbstractContextManager[None]:
        """Where the last layer's states are read only to make logits, lets it compute no more."""
        states = options.get("output_hidden_states")
        if states is None:
            states = self.language_model.config.output_hidden_states
        if self.training and not runs_again_alike(self._last_layer()):
            return nullcontext()
        if embeddings is None or states:
            return nullcontext()
        return only_read(logits_to_keep, embeddings.shape[:2])

    def generate(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's types
        """Generates as the library does; images are encoded and routed once, by the prompt alone.

        What is being generated therefore never guides, cached or not. With
        `return_dict_in_generate`, the output carries `routing_weights` float32[M, E], too.
        """
        library: Any = super()
        pixel_values = kwargs.pop("pixel_values", None)
        guidance_mask = kwargs.pop("guidance_mask", None)
        if pixel_values is None or not len(pixel_values):
            return library.generate(*args, **kwargs)
        input_ids = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
        if input_ids is None:
            raise ValueError("images need input_ids, which say where they go")
        with torch.no_grad():
            features = self.encode_images(
                pixel_values,
                input_ids=input_ids,
                attention_mask=kwargs.get("attention_mask"),
                guidance_mask=guidance_mask,
            )
        routing_weights = features.routing_weights
        output = library.generate(*args, mm_encoder_outputs={"image": features}, **kwargs)
        if isinstance(output, ModelOutput) and routing_weights is not None:
            output["routing_weights"] = routing_weights
        return output

    def _features(
        self,
        pixel_values: Tensor | None,
        vision_features: Tensor | None,
        vision_feature_mask: Tensor | None = None,
    ) -> Tensor | None:
        if vision_features is not None:
            if pixel_values is not None:
                raise ValueError("give pixel_values or vision_features, not both")
            check_features(vision_features, self.config)
        elif pixel_values is not None and len(pixel_values):
            vision_features = self.vision_features(pixel_values)
        if vision_features is None or vision_feature_mask is None:
            return vision_features
        return vision_features * vision_feature_mask.to(vision_features).unsqueeze(1)

    def _embed_words(self, input_ids: Tensor) -> Tensor:
        # The placeholder need not be in the vocabulary: its embedding is replaced by the image.
        words = input_ids.masked_fill(input_ids == self.config.image_token_id, 0)
        embedded: Tensor = self.get_input_embeddings()(words)
        return embedded

    def _embed(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        vision_features: Tensor | None,
        guidance_mask: Tensor | None,
        mm_encoder_outputs: dict[str, Any] | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Word embeddings float[B, N, C] with the images in their places, and routing weights."""
        embeddings = self._embed_words(input_ids)
        features = (mm_encoder_outputs or {}).get("image")
        if features is None and vision_features is not None:
            visual = self._project(vision_features)
            features = self._align(visual, input_ids, embeddings, attention_mask, guidance_mask)
        is_image = input_ids == self.config.image_token_id
        if features is None:
            if not torch.compiler.is_compiling() and bool(is_image.any()):
                raise PlaceholderError(
                    f"{int(is_image.sum())} image placeholders in input_ids, but no images",
                    hint="Give pixel_values, or keep the image token out of ordinary text.",
                )
            return embeddings, None
        tokens = torch.cat(features.pooler_output).to(embeddings.device, embeddings.dtype)
        if not torch.compiler.is_compiling() and int(is_image.sum()) != len(tokens):
            raise PlaceholderError(
                f"{int(is_image.sum())} image placeholders for {len(tokens)} visual tokens",
                hint="Give the features of exactly these prompts' images.",
            )
        embeddings = embeddings.masked_scatter(is_image.unsqueeze(-1), tokens)
        return embeddings, features.get("routing_weights")

    def _align(
        self,
        visual: Tensor,
        input_ids: Tensor,
        embeddings: Tensor,
        attention_mask: Tensor | None,
        guidance_mask: Tensor | None,
        *,
        active_experts: Tensor | None = None,
    ) -> ParrotImageFeatures:
        is_image = input_ids == self.config.image_token_id
        sample_of_image = samples_of_images(
            is_image, tokens=self.config.num_image_tokens, images=len(visual)
        )
        specific, routing_weights, guidance_weights = visual, None, None
        if self.config.experts_enabled and self.experts is not None:
            guided = visual[:, 0]
            if self.config.text_guidance:
                mask = guiding_tokens(is_image, attention_mask, guidance_mask)[sample_of_image]
                if not torch.compiler.is_compiling() and not bool(mask.any(dim=1).all()):
                    raise GuidanceError(
                        "a sample has an image, but no text token that guides it",
                        hint="Put text beside the image, and mark it in guidance_mask.",
                    )
                text = embeddings[sample_of_image].to(visual.device)  # [M, N, C]
                guided, guidance_weights = guide(guided, text, mask=mask.to(visual.device))
            mixture, routing_weights = self.experts(visual, guided, active=active_experts)
            specific = reweight(
                visual,
                mixture.to(visual.device),
                alpha=self.config.alpha,
                kind=self.config.reweighting,
            )
        if not self.config.cls_token_to_language_model:
            specific = specific[:, 1:]
        return ParrotImageFeatures(
            pooler_output=list(specific),
            visual_tokens=visual,
            routing_weights=routing_weights,
            guidance_weights=guidance_weights,
        )

    def vision_features(self, pixel_values: Tensor) -> Tensor:
        """Z_v of equation 1: float[M, 3, S, S] to float[M, 1 + patches, D_v].

        The query of equation 2 comes first: the [CLS] token, or what stands in for it.

        Raises:
            ImageError: if the pixels are not finite or not of the model's size.
        """
        check_pixels(pixel_values, self.config)
        row = self.config.vision_row
        frozen = self._vision_encoder_is_frozen()
        if frozen and self.vision_encoder.training:
            self.vision_encoder.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            tokens, pooled = row.read(
                self.vision_encoder,
                pixel_values.to(self.vision_encoder.dtype),
                layer=self.config.vision_feature_layer,
                query=self.config.image_query,
            )
        patches = tokens[:, row.prefix_tokens(self.config.vision_config) :]
        if self.config.image_query == CLS_TOKEN:
            pooled = tokens[:, 0]
        elif self.config.image_query != POOLED:
            pooled = patches.mean(dim=1)
        if pooled is None:
            raise ImageError(
                f"this {self.config.vision_config.model_type} has no pooled output",
                hint="Set image_query = mean_patch.",
            )
        return torch.cat([pooled.unsqueeze(1), patches], dim=1)

    def _project(self, vision_features: Tensor) -> Tensor:
        """Equation 1: Z_v float[M, 1 + patches, D_v] to H_v float[M, 1 + patches, C]."""
        # Of quantised layers only the biases are floats; offloaded ones have no place of their own.
        dtype = next(p.dtype for p in self.projector.parameters() if p.is_floating_point())
        visual: Tensor = self.projector(vision_features.to(dtype))
        return visual

    def _stand_in_features(self, vision_features: Tensor | None) -> Tensor | None:
        """float[1, 1 + patches, D_v]: what a batch without images takes in place of theirs.

        Sharded training gathers weights and reduces gradients in step on all ranks, in the order of
        their use; a rank that skipped the vision encoder, the projector or the experts, or came to
        them in another order, would leave the others waiting. Where `vision_features` are given,
        none of them, no rank runs the vision encoder. A process that is alone needs nothing.
        """
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not distributed or torch.distributed.get_world_size() == 1:
            return None
        if vision_features is not None:
            return vision_features.new_zeros(1, *vision_features.shape[1:])
        size = self.config.image_size
        like = next(self.projector.parameters())
        return self.vision_features(torch.zeros(1, 3, size, size, device=like.device))

    def _with_all_parameters(self, embeddings: Tensor, stand_in: Tensor) -> Tensor:
        """Lets a batch without images use every parameter, and none of them matter."""
        visual = self._project(stand_in)
        if self.config.experts_enabled and self.experts is not None:
            visual, _ = self.experts(visual, visual[:, 0])
        return embeddings + 0.0 * visual.sum().to(embeddings.device, embeddings.dtype)
