"""What DeepSpeed is told."""

import json

import pytest

from parrot_core.training.batches import plan_batches
from parrot_core.training.deepspeed import deepspeed_config

PLAN = plan_batches(128, processes=16, per_device_at_most=4)


def config(stage, **settings):
    return deepspeed_config(
        stage,
        plan=PLAN,
        hidden_size=64,
        **{"max_grad_norm": 1.0, "bfloat16": True} | settings,
    )


@pytest.mark.parametrize("stage", [2, 3])
def test_every_number_is_said_and_none_left_to_others(stage):
    told = config(stage)
    assert told["train_batch_size"] == 128
    assert told["train_micro_batch_size_per_gpu"] == 4
    assert told["gradient_accumulation_steps"] == 2
    assert told["gradient_clipping"] == 1.0
    assert told["zero_optimization"]["stage"] == stage
    assert "auto" not in json.dumps(told)


@pytest.mark.parametrize("stage", [2, 3])
def test_no_optimiser_is_named_whose_kernels_would_be_compiled(stage):
    told = config(stage, offload="optimizer")
    assert "optimizer" not in told
    assert told["zero_force_ds_cpu_optimizer"] is False


def test_parameters_go_to_the_host_only_where_they_are_sharded():
    assert "offload_param" not in config(2, offload="optimizer_and_parameters")["zero_optimization"]
    zero = config(3, offload="optimizer_and_parameters")["zero_optimization"]
    assert zero["offload_param"]["device"] == zero["offload_optimizer"]["device"] == "cpu"
    assert not {"offload_param", "offload_optimizer"} & set(config(3)["zero_optimization"])


def test_weights_of_stage_3_are_gathered_when_saved():
    zero = config(3)["zero_optimization"]
    assert zero["stage3_gather_16bit_weights_on_model_save"] is True
    assert zero["stage3_param_persistence_threshold"] == 640


def test_without_sharding_there_is_nothing_to_tell():
    with pytest.raises(ValueError, match="stage 0"):
        config(0)
