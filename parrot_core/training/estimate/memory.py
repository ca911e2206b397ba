"""Memory of a training step: what each GPU and each node holds, by ZeRO stage and offload.

Notation: Ψ parameters that learn, Φ frozen ones, N processes, B samples of a pass on a device.
With AdamW every parameter that learns has a float32 master, two float32 moments and a float32
gradient at the optimiser's step; in bfloat16 its working copy and that copy's gradient besides.
"""

from dataclasses import dataclass

from parrot_core.recipe import Offload, StageRecipe, Zero
from parrot_core.training.estimate.blueprint import Blueprint, PassCosts

OVERHEAD_BYTES = 2e9
"""CUDA's context, communication buffers and fragmentation: assumed, not computed."""

_BUCKET = 5e8
"""Parameters whose gradients ZeRO-2 reduces at once: DeepSpeed's default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """How model states are shared out.

    Attributes:
        zero: ZeRO stage.
        offload: What is held in main memory.
        processes: N, over all nodes.
        nodes: Machines.
    """

    zero: Zero
    offload: Offload
    processes: int
    nodes: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What a device takes at once.

    Attributes:
        samples: B.
        images: Of all samples.
        supervised: Supervised tokens of all samples.
    """

    samples: int
    images: float
    supervised: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes of one GPU at the worst moment of a step, and of a node's main memory.

    Attributes:
        weights: Working copies, frozen parts, and layers gathered for use.
        gradients: Of the working copies, and buffers for their exchange.
        optimizer: Masters, moments and their gradients.
        activations: Kept for the backward pass, and made in it.
        overhead: Assumed.
        host: Offloaded to a node's main memory.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    overhead: float
    host: float

    @property
    def gpu(self) -> float:
        """All that one GPU holds."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.overhead


def memory_of_step(
    blueprint: Blueprint,
    costs: PassCosts,
    stage: StageRecipe,
    *,
    engine: Engine,
    batch: Batch,
    overhead: float = OVERHEAD_BYTES,
) -> Memory:
    """Adds up what a training step holds.

    Args:
        blueprint: The model.
        costs: Of a pass over the longest samples.
        stage: Precision and gradient checkpointing.
        engine: How model states are shared out.
        batch: What a device takes at once.
        overhead: Bytes that no tensor accounts for.
    """
    learning = sum(part.trainable for part in blueprint.parts.values())
    frozen = sum(part.stored_bytes for part in blueprint.parts.values())
    shared = engine.processes if engine.zero else 1
    half = stage.precision == "bfloat16"
    working = 2.0 if half else 4.0
    weights, gradients, states, host = frozen, 0.0, 0.0, 0.0
    if engine.zero == 0:
        # The weights that learn are the masters; in bfloat16, autocast keeps a copy of them.
        weights += learning * (6.0 if half else 4.0)
        # Among processes torch keeps a second copy of the gradients, in buckets, to exchange them.
        gradients = 4.0 * learning * (1 if engine.processes == 1 else 2)
        states = 8.0 * learning
    else:
        gradients = working * learning / shared
        states = 16.0 * learning / shared
        weights += working * learning
        if engine.zero == 2:
            gradients += 2 * working * min(_BUCKET, learning)
        else:
            weights /= shared
    if engine.offload != "none":
        host += states * shared / engine.nodes
        states = 0.0
    if engine.offload == "optimizer_and_parameters":
        host += weights * shared / engine.nodes
        weights = 0.0
    if engine.zero == 3:
        weights += 2 * working * blueprint.largest_layer  # one in use, one on its way
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=states,
        activations=_activations(blueprint, costs, stage, batch),
        overhead=overhead,
        host=host,
    )


def _activations(blueprint: Blueprint, costs: PassCosts, stage: StageRecipe, batch: Batch) -> float:
    layer = costs.layer_bytes * batch.samples
    kept = layer * blueprint.layers
    again = costs.layer_backward_bytes * batch.samples
    if stage.gradient_checkpointing:
        kept = costs.boundary_bytes * batch.samples * blueprint.layers
        again += layer
    logits = costs.logit_bytes * batch.supervised
    return kept + costs.bridge_bytes * batch.images + max(logits, again)
