"""The estimate of memory, held against what torch allocates and what DeepSpeed expects."""

import dataclasses

import pytest
import torch
from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs
from torch.profiler import ProfilerActivity, profile

from parrot_core.model import ParrotForConditionalGeneration
from parrot_core.recipe import DataUse, Stage1Recipe, Stage2Recipe
from parrot_core.training.estimate.blueprint import Blueprint
from parrot_core.training.estimate.memory import Batch, Engine, memory_of_step

DATA = (DataUse(file="a.json"),)
ALONE = Engine(zero=0, offload="none", processes=1)
SAMPLES, TOKENS, QUESTION = 4, 160, 8


def most_allocated(step):
    """The most bytes that a step holds at once beyond those that were there, by torch's own log."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as log:
        step()
    events = [
        (event.start_ns(), event.nbytes())
        for event in log.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    held = most = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        held += size
        most = max(most, held)
    return most


def batch_of(config):
    ids = torch.randint(5, 100, (SAMPLES, TOKENS), generator=torch.Generator().manual_seed(0))
    ids[:, 4 : 4 + config.num_image_tokens] = config.image_token_id
    labels = ids.clone()
    labels[:, : QUESTION + config.num_image_tokens] = -100
    mask = torch.ones_like(ids)
    mask[0, -1] = 0  # padding, as nearly every batch has
    labels[0, -1] = -100
    side = config.image_size
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": mask,
        "guidance_mask": (labels == -100).long(),
        "pixel_values": torch.zeros(SAMPLES, 3, side, side),
    }


@pytest.mark.parametrize("checkpointing", [True, False], ids=["recomputed", "kept"])
@pytest.mark.parametrize("stage", [1, 2])
def test_a_step_of_a_real_model_holds_what_was_estimated(small_config, stage, checkpointing):
    small_config.experts_enabled = stage == 2
    kind = Stage1Recipe if stage == 1 else Stage2Recipe
    settings = kind(data=DATA, precision="float32", gradient_checkpointing=checkpointing)
    model = ParrotForConditionalGeneration(small_config)
    for name in ("vision_encoder", "projector", "experts", "language_model"):
        if getattr(model, name) is not None:
            getattr(model, name).requires_grad_(name in settings.trains)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    learners = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learners)
    batch = batch_of(small_config)
    model(**batch).loss.backward()
    optimizer.step()

    blueprint = Blueprint(small_config, settings)
    supervised = int((batch["labels"] != -100).sum())
    found = memory_of_step(
        blueprint,
        blueprint.measure(TOKENS),
        settings,
        engine=ALONE,
        batch=Batch(samples=SAMPLES, images=SAMPLES, supervised=supervised),
        overhead=0,
    )
    assert found.weights == sum(4 * parameter.numel() for parameter in model.parameters())
    assert found.gradients == sum(4 * parameter.grad.numel() for parameter in learners)
    states = [value for state in optimizer.state.values() for value in state.values()]
    real_states = sum(4 * value.numel() for value in states if value.ndim)
    assert found.optimizer == real_states

    optimizer.zero_grad(set_to_none=True)
    most = most_allocated(lambda: model(**batch).loss.backward())
    # Where the backward pass is at its height, not all gradients are there yet.
    assert found.activations < most * 1.1
    assert most < (found.activations + found.gradients) * 1.1


@pytest.mark.parametrize("processes", [2, 8, 64])
def test_model_states_are_as_deepspeed_expects_them(small_config, processes):
    everything = ("projector", "experts", "language_model", "vision_encoder")
    settings = Stage2Recipe(data=DATA, trains=everything)
    blueprint = Blueprint(small_config, settings)
    total = sum(part.parameters for part in blueprint.parts.values())
    costs = blueprint.measure(TOKENS)

    def states(zero, offload):
        engine = Engine(zero=zero, offload=offload, processes=processes)
        batch = Batch(samples=1, images=1, supervised=1)
        found = memory_of_step(blueprint, costs, settings, engine=engine, batch=batch)
        return found.weights + found.optimizer

    options = {"num_gpus_per_node": processes, "cpu_offload": False}
    _, two = estimate_zero2_model_states_mem_needs(total, **options)
    assert states(2, "none") == pytest.approx(two - 2 * total / processes)  # gradients apart
    layer = blueprint.largest_layer
    _, three, _ = estimate_zero3_model_states_mem_needs(
        total, layer, cpu_offload_params=False, **options
    )
    assert states(3, "none") == pytest.approx(three)
    options["cpu_offload"] = True
    _, offloaded, _ = estimate_zero3_model_states_mem_needs(
        total, layer, cpu_offload_params=True, **options
    )
    assert states(3, "optimizer_and_parameters") == pytest.approx(offloaded)


def test_offloading_moves_states_to_main_memory(small_config):
    settings = Stage2Recipe(data=DATA)
    blueprint = Blueprint(small_config, settings)
    costs, batch = blueprint.measure(TOKENS), Batch(samples=1, images=1, supervised=10)

    def memory(offload):
        engine = Engine(zero=3, offload=offload, processes=8, nodes=2)
        return memory_of_step(blueprint, costs, settings, engine=engine, batch=batch)

    none, states, all_of_it = map(memory, ("none", "optimizer", "optimizer_and_parameters"))
    learning = sum(part.trainable for part in blueprint.parts.values())
    assert none.host == 0
    assert states.host == pytest.approx(16 * learning / 2)  # on each of two nodes
    assert none.gpu > states.gpu > all_of_it.gpu
    assert none.gpu - states.gpu == pytest.approx(16 * learning / 8)


def test_each_zero_stage_shares_out_more(small_config):
    settings = Stage2Recipe(data=DATA)
    blueprint = Blueprint(small_config, settings)
    costs, batch = blueprint.measure(TOKENS), Batch(samples=1, images=1, supervised=10)
    weights, states = {}, {}
    for zero in (0, 2, 3):
        engine = Engine(zero=zero, offload="none", processes=64)
        found = memory_of_step(blueprint, costs, settings, engine=engine, batch=batch)
        weights[zero], states[zero] = found.weights, found.optimizer
    assert states[0] > states[2] == states[3]
    assert weights[2] > weights[3]


def test_gradient_checkpointing_saves_activations(small_config):
    settings = Stage2Recipe(data=DATA)
    without = dataclasses.replace(settings, gradient_checkpointing=False)
    blueprint = Blueprint(small_config, settings)
    costs, batch = blueprint.measure(TOKENS), Batch(samples=4, images=4, supervised=100)
    less, more = (
        memory_of_step(blueprint, costs, stage, engine=ALONE, batch=batch).activations
        for stage in (settings, without)
    )
    assert less < more / 2


def test_processes_without_zero_hold_gradients_twice(small_config):
    """torch, `DistributedDataParallel`: buckets take as much as the gradients themselves."""
    settings = Stage2Recipe(data=DATA)
    blueprint = Blueprint(small_config, settings)
    costs, batch = blueprint.measure(TOKENS), Batch(samples=1, images=1, supervised=10)
    one, two = (
        memory_of_step(
            blueprint,
            costs,
            settings,
            engine=Engine(zero=0, offload="none", processes=processes),
            batch=batch,
        ).gradients
        for processes in (1, 2)
    )
    assert two == 2 * one > 0
