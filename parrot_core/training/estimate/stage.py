"""What a stage of a recipe needs: parameters, memory, steps and hours."""

from dataclasses import dataclass

from parrot_core.recipe import Recipe
from parrot_core.recipe.hardware import GPUS
from parrot_core.training.estimate.blueprint import PartSize
from parrot_core.training.estimate.memory import Engine, Memory
from parrot_core.training.estimate.plan import Plan
from parrot_core.training.estimate.work import (
    UTILISATION,
    SampleLengths,
    Work,
    work_of_stage,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a stage needs on given hardware.

    Attributes:
        stage: 1 or 2.
        origins: Where the backbones' configs were found.
        parts: Parameters by part.
        lengths: What is known of the data sets' samples.
        work: Samples, steps, tokens, operations.
        engine: How the stage is executed.
        device_batch_size: Samples of a pass on a device.
        accumulation: Passes per optimiser step.
        longest: Tokens of the longest sample.
        memory: At the worst moment of a step over the longest samples.
        alternatives: The same with other ZeRO stages and offloads, by their names.
        utilisation: Share of the peak rate that `hours` assume.
        gpu: The GPU that it is for; None if nobody named one.
        hours: By GPU.
    """

    stage: int
    origins: dict[str, str]
    parts: dict[str, PartSize]
    lengths: tuple[SampleLengths, ...]
    work: Work
    engine: Engine
    device_batch_size: int
    accumulation: int
    longest: int
    memory: Memory
    alternatives: dict[str, Memory]
    utilisation: float
    gpu: str | None
    hours: dict[str, float]


def estimate_stage(
    recipe: Recipe,
    stage: int,
    *,
    gpu: str | None = None,
    processes: int | None = None,
    utilisation: float = UTILISATION,
) -> Estimate:
    """Estimates a stage without loading a weight.

    Args:
        recipe: What is to be trained.
        stage: 1 or 2.
        gpu: Name of a GPU; left out, the recipe's.
        processes: On each node; left out, the recipe's, or one.
        utilisation: Share of the GPUs' peak bfloat16 rate that is reached.

    Raises:
        MissingError: if a backbone's config, or the size of a data set, is nowhere to be found.
        UsageError: if the processes do not divide the global batch, or a setting has no meaning.
    """
    plan = Plan(recipe, stage, processes=processes or recipe.launch.processes or 1)
    engine = plan.engine
    work = work_of_stage(
        plan.blueprint,
        plan.costs(plan.mean_tokens),
        plan.settings,
        mixture=plan.mixture,
        image_tokens=plan.blueprint.config.num_image_tokens,
    )
    share = plan.share
    names = GPUS if gpu is None and recipe.launch.gpu is None else [gpu or recipe.launch.gpu or ""]
    return Estimate(
        stage=stage,
        origins=plan.origins,
        parts=plan.blueprint.parts,
        lengths=tuple(lengths for _, lengths in plan.mixture),
        work=work,
        engine=engine,
        device_batch_size=share.device_batch_size,
        accumulation=share.accumulation,
        longest=plan.longest,
        memory=plan.memory(),
        alternatives={variant.engine_name: variant.memory() for variant in plan.engines()},
        utilisation=utilisation,
        gpu=gpu or recipe.launch.gpu,
        hours={
            name: work.hours(
                tflops=GPUS[name].bfloat16_tflops, gpus=engine.processes, utilisation=utilisation
            )
            for name in names
        },
    )
