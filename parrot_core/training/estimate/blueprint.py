"""A model without weights: its parameters, part by part, and what one pass through it costs.

Everything is counted on the model that would be trained, on tensors that have shapes but no data.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForImageTextToText

from parrot_core.errors import UsageError
from parrot_core.model import ParrotConfig
from parrot_core.recipe import LoraRecipe, StageRecipe

PARTS = ("vision_encoder", "projector", "experts", "language_model")
_FOUR_BIT_BYTES = 0.516  # four bits, and per 64 weights a scale that is itself held in eight bits


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSize:
    """A part of the model.

    Attributes:
        parameters: All of them; adapters are not among them.
        trainable: Those that learn; with adapters, the adapters'.
        stored_bytes: Of the weights that do not learn.
    """

    parameters: int
    trainable: int
    stored_bytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PassCosts:
    """What a forward pass costs; operations count a multiplication and an addition as two.

    Attributes:
        vision_operations: Of the vision encoder, for one image.
        bridge_operations: Of projector and experts, for one image.
        decoder_operations: Of the decoder's layers, for one sample.
        head_operations: Of the language model's head, for one supervised token.
        layer_bytes: What one decoder layer keeps for the backward pass, of one sample.
        layer_backward_bytes: What going back through one decoder layer makes besides.
        boundary_bytes: What goes from one decoder layer to the next, of one sample.
        bridge_bytes: What projector and experts keep, for one image.
        logit_bytes: What the head and the loss keep and make, for one supervised token.
    """

    vision_operations: float
    bridge_operations: float
    decoder_operations: float
    head_operations: float
    layer_bytes: float
    layer_backward_bytes: float
    boundary_bytes: float
    bridge_bytes: float
    logit_bytes: float


class Blueprint:
    """The model of a stage, without weights.

    Args:
        config: The model's.
        stage: What learns, in which precision.

    Raises:
        UsageError: if adapters are to sit on layers that the language model does not have.
    """

    def __init__(self, config: ParrotConfig, stage: StageRecipe) -> None:
        self.config = config
        self._stage = stage
        self._dtype = torch.bfloat16 if stage.precision == "bfloat16" else torch.float32
        self._mode = FakeTensorMode()
        with self._mode:
            model: Any = AutoModelForImageTextToText.from_config(config, dtype=self._dtype)
            for name in PARTS:
                part: nn.Module | None = getattr(model, name)
                if part is not None:
                    part.requires_grad_(name in stage.trains)
            self._model = model.train()
        self.layers: int = config.text_config.num_hidden_layers
        self.parts = {name: self._size(name) for name in PARTS if getattr(model, name) is not None}

    @property
    def largest_layer(self) -> int:
        """Parameters of the largest module that is gathered at once where weights are sharded."""
        decoder: Any = self._model.language_model.get_decoder()
        layer = sum(parameter.numel() for parameter in decoder.layers[0].parameters())
        head: nn.Module = self._model.get_output_embeddings()
        return max(layer, sum(parameter.numel() for parameter in head.parameters()))

    def measure(self, tokens: int) -> PassCosts:
        """Counts a pass over samples of so many tokens, image tokens included."""
        model, dtype, kind = self._model, self._dtype, self.config.vision_config
        row = self.config.vision_row
        with self._mode:
            side = self.config.image_size
            pixels = torch.empty(1, 3, side, side, dtype=dtype)
            with torch.no_grad():
                vision, _ = _operations(
                    lambda: row.read(
                        model.vision_encoder,
                        pixels,
                        layer=self.config.vision_feature_layer,
                        query=self.config.image_query,
                    )
                )
            visual_tokens = 1 + row.num_patches(kind)
            channels = row.hidden_size(kind)
            features = torch.empty(1, visual_tokens, channels, dtype=dtype)
            width = self.config.text_config.hidden_size
            guided = torch.empty(1, width, dtype=dtype)

            def bridge() -> Tensor:
                visual: Tensor = model.projector(features)
                return visual if model.experts is None else model.experts(visual, guided)[0]

            with _kept_bytes(model) as kept:
                bridging, _ = _operations(bridge)
            words = torch.empty(1, tokens, width, dtype=dtype, requires_grad=True)
            with (
                _first_layer_alone(model.language_model.get_decoder()) as decoder,
                _kept_bytes(model, inside=decoder.layers[0]) as in_layer,
            ):
                one, _ = _operations(lambda: decoder(inputs_embeds=words, use_cache=False))
        rows = model.get_output_embeddings().weight.shape[0]
        # In float32: the log-softmax, its gradient, and that of the logits.
        logits = rows * 3 * 4
        return PassCosts(
            vision_operations=vision,
            bridge_operations=bridging,
            decoder_operations=one * self.layers,
            head_operations=2.0 * rows * width,
            layer_bytes=sum(in_layer.values()),
            # Gradients of its widest tensors, of which the gated layers of an MLP have three.
            layer_backward_bytes=3 * max(in_layer.values()),
            boundary_bytes=tokens * width * self._dtype.itemsize,
            bridge_bytes=sum(kept.values()),
            logit_bytes=logits,
        )

    def _size(self, name: str) -> PartSize:
        part: nn.Module = getattr(self._model, name)
        count = sum(parameter.numel() for parameter in part.parameters())
        lora = self._stage.lora
        each = float(self._dtype.itemsize)
        if name not in self._stage.trains:
            return PartSize(parameters=count, trainable=0, stored_bytes=each * count)
        if name != "language_model" or lora is None:
            return PartSize(parameters=count, trainable=count, stored_bytes=0.0)
        stored = each * count
        if lora.quantisation == "4bit":
            head = self._model.get_output_embeddings()
            linear = [
                module.weight.numel()
                for module in part.modules()
                if isinstance(module, nn.Linear) and module is not head
            ]
            stored += sum(linear) * (_FOUR_BIT_BYTES - each)
        return PartSize(
            parameters=count, trainable=_adapter_parameters(part, lora), stored_bytes=stored
        )


def _adapter_parameters(language_model: nn.Module, lora: LoraRecipe) -> int:
    """Two matrices of the adapter's rank beside each linear layer that is named."""
    linear = {
        name: module
        for name, module in language_model.named_modules()
        if isinstance(module, nn.Linear)
    }
    last_names = {name.rpartition(".")[2] for name in linear}
    unknown = sorted(set(lora.target_modules) - last_names)
    if unknown:
        raise UsageError(
            f"lora.target_modules: the language model has no linear layer {', '.join(unknown)}",
            hint=f"It has {', '.join(sorted(last_names))}.",
        )
    return sum(
        lora.rank * (module.in_features + module.out_features)
        for name, module in linear.items()
        if name.rpartition(".")[2] in lora.target_modules
    )


@contextmanager
def _first_layer_alone(decoder: Any) -> Iterator[Any]:  # noqa: ANN401 - typed there only in part
    """All layers cost the same: one is run for all."""
    layers = decoder.layers
    decoder.layers = layers[:1]
    try:
        yield decoder
    finally:
        decoder.layers = layers


def _operations(run: Callable[[], Any]) -> tuple[float, Any]:
    with FlopCounterMode(display=False) as counter:
        result = run()
    return float(counter.get_total_flops()), result


@contextmanager
def _kept_bytes(model: nn.Module, *, inside: nn.Module | None = None) -> Iterator[dict[int, int]]:
    """Yields the sizes of all that is kept for a backward pass, weights aside.

    Args:
        model: Its weights do not count.
        inside: Count only while this module runs.
    """
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    sizes: dict[int, int] = {}
    alive = []  # so that no storage takes the place, and the address, of one that was counted
    active = inside is None

    def switch(*_: Any) -> None:  # noqa: ANN401 - whatever a hook is given
        nonlocal active
        active = not active

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if active and storage._cdata not in weights:
            sizes[storage._cdata] = storage.nbytes()
            alive.append(storage)
        return tensor

    hooks = []
    if inside is not None:
        hooks = [inside.register_forward_pre_hook(switch), inside.register_forward_hook(switch)]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield sizes
    for hook in hooks:
        hook.remove()
