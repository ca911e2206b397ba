"""What nobody reads is not computed, though the models of the library would compute it.

Two things are left out: the layers of a vision encoder after the one whose states are the features
(the paper's is the last but one), and of the language model's last layer the feed-forward network
at positions whose logits nobody asks for: in training all but those that predict an answer's token,
of a prompt all but the last. What is read is the same. Compiled models compute everything.

Shapes: B samples, N tokens of a sample, T positions that are read, C hidden size.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """The positions of a batch that are read: the last `last` of every sample, or `rows`."""

    shape: torch.Size  # B, N
    last: int
    rows: Tensor | None  # int[T], into the batch with its samples one after the other

    @property
    def taken(self) -> tuple[int, int]:
        """Samples and positions of what is left of the batch."""
        return (self.shape[0], self.last) if self.rows is None else (1, len(self.rows))


# What a thread is doing, and not the model's state: threads may share a model. The compiler cannot
# follow these variables.
_layers_run: ContextVar[int | None] = ContextVar("layers_run", default=None)
_read: ContextVar[_Read | None] = ContextVar("read", default=None)


class FirstLayers(nn.ModuleList):
    """A list of layers of which, within `first_layers`, only the first are gone through.

    Its length, indices, names and parameters are those of all layers.
    """

    def __iter__(self) -> Iterator[nn.Module]:
        """The layers that are to be run."""
        if torch.compiler.is_compiling():
            return super().__iter__()
        return islice(super().__iter__(), _layers_run.get())


def shorten(model: nn.Module, layers: str) -> None:
    """Makes a model's list of layers, at the path `layers` in it, one that can be run in part."""
    parent, _, name = layers.rpartition(".")
    whole = model.get_submodule(layers)
    if not isinstance(whole, FirstLayers):
        setattr(model.get_submodule(parent), name, FirstLayers(whole.children()))


def first_layers(count: int | None) -> AbstractContextManager[None]:
    """Runs only the first `count` of layers that were made `FirstLayers`; None runs all."""
    if torch.compiler.is_compiling():
        return nullcontext()
    return _within(_layers_run, count)


def compute_only_read(network: nn.Module) -> None:
    """Lets a network of float[B, N, C] to the same, position by position, heed `only_read`."""
    if _take not in network._forward_pre_hooks.values():  # models may share a language model
        network.register_forward_pre_hook(_take)
        network.register_forward_hook(_put_back)


def only_read(logits_to_keep: int | Tensor, shape: torch.Size) -> AbstractContextManager[None]:
    """Networks given to `compute_only_read` have zeros at positions whose logits are not kept.

    Args:
        logits_to_keep: The last positions of every sample, 0 for all; or which, bool[B, N]. Other
            ways of saying which leave nothing out.
        shape: B, N.
    """
    read = None
    if torch.compiler.is_compiling():
        return nullcontext()
    if isinstance(logits_to_keep, int):
        if 0 < logits_to_keep < shape[1]:
            read = _Read(shape=shape, last=logits_to_keep, rows=None)
    elif logits_to_keep.dtype == torch.bool and logits_to_keep.shape == shape:
        rows = logits_to_keep.flatten().nonzero().squeeze(1)
        read = _Read(shape=shape, last=0, rows=rows)
    return _within(_read, read)


@contextmanager
def _within(variable: ContextVar[T], value: T) -> Iterator[None]:
    before = variable.set(value)
    try:
        yield
    finally:
        variable.reset(before)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpointing function whose layers, run again in the backward pass, read the same again.

    By then `only_read` has ended, and other batches may have been through the model.
    """

    checkpoint: Callable[..., Any]

    def __call__(self, function: Callable[..., Any], *inputs: Any) -> Any:  # noqa: ANN401 - any layer's
        """Runs a layer whose activations are not kept."""
        read = _read.get()

        def run(*again: Any) -> Any:  # noqa: ANN401
            with _within(_read, read):
                return function(*again)

        return self.checkpoint(run, *inputs)


def runs_again_alike(layer: nn.Module) -> bool:
    """Whether a layer in training is kept, or checkpointed in a manner that `Checkpoint` knows."""
    if not isinstance(layer, GradientCheckpointingLayer):  # a wrapper of a kind not known here
        return False
    function = getattr(layer, "_gradient_checkpointing_func", None)
    return not layer.gradient_checkpointing or isinstance(function, Checkpoint)


def _take(_: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor | None:
    """float[B, N, C] to float[B, last, C] or float[1, T, C]."""
    read, (states,) = _read_now(), inputs
    # Of another shape where the language model was given more than the prompt, as by prompt tuning.
    if read is None or states.shape[:2] != read.shape:
        return None
    if read.rows is None:
        return states[:, -read.last :]
    return states.flatten(0, 1).index_select(0, read.rows.to(states.device)).unsqueeze(0)


def _put_back(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    """The reverse, with zeros in the places that were not taken."""
    read = _read_now()
    if read is None or inputs[0].shape[:2] != read.taken:
        return None
    samples, tokens = read.shape
    if read.rows is None:
        return F.pad(output, (0, 0, tokens - read.last, 0))
    whole = output.new_zeros(samples * tokens, output.shape[-1])
    whole = whole.index_copy(0, read.rows.to(output.device), output.squeeze(0))
    return whole.view(samples, tokens, -1)


def _read_now() -> _Read | None:
    return None if torch.compiler.is_compiling() else _read.get()
