"""DeepSpeed's settings for a stage (section D: ZeRO-2 for stage 1, ZeRO-3 for stage 2)."""

from typing import Any

from parrot_core.recipe import Offload, Zero
from parrot_core.training.batches import BatchPlan


def deepspeed_config(
    stage: Zero,
    *,
    plan: BatchPlan,
    hidden_size: int,
    max_grad_norm: float,
    bfloat16: bool,
    offload: Offload = "none",
    overlap: bool = False,
) -> dict[str, Any]:
    """What DeepSpeed is told; every number is said here, none is left to it.

    There is no `optimizer` in it: torch's AdamW is used, whose groups of learning rates are
    Parrot's, and nothing is compiled at the start.

    Args:
        stage: 2 shards gradients and optimiser states, 3 the parameters as well.
        plan: The batch sizes.
        hidden_size: C, which sizes stage 3's communication.
        max_grad_norm: To which gradients are clipped; 0 leaves them.
        bfloat16: Compute in bfloat16, with float32 masters of the weights.
        offload: What lies in the host's memory; parameters only in stage 3.
        overlap: Communicate while computing; gloo cannot.

    Raises:
        ValueError: if the stage is not 2 or 3.
    """
    if stage not in (2, 3):
        raise ValueError(f"there is no DeepSpeed configuration for ZeRO stage {stage}")
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": overlap,
        "contiguous_gradients": True,
    }
    if stage == 2:
        zero["reduce_scatter"] = True
    else:
        zero |= {
            "reduce_bucket_size": hidden_size**2,
            "stage3_prefetch_bucket_size": hidden_size**2 * 9 // 10,
            "stage3_param_persistence_threshold": hidden_size * 10,
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    host = {"device": "cpu", "pin_memory": overlap}
    if offload != "none":
        zero["offload_optimizer"] = host
    if offload == "optimizer_and_parameters" and stage == 3:
        zero["offload_param"] = host
    return {
        "train_batch_size": plan.global_batch_size,
        "train_micro_batch_size_per_gpu": plan.per_device,
        "gradient_accumulation_steps": plan.accumulation,
        "gradient_clipping": max_grad_norm,
        "bf16": {"enabled": bfloat16},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31 - 1,
        "wall_clock_breakdown": False,
    }
