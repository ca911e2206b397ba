"""`parrot train --estimate`: what a stage needs, before anything is loaded or started."""

import dataclasses
from typing import TYPE_CHECKING, Any

import typer

from parrot_cli.output import library_output_to_stderr, note, print_json, print_line, print_table
from parrot_core.errors import UsageError

if TYPE_CHECKING:
    from parrot_core.recipe import Recipe
    from parrot_core.training.estimate import Estimate
    from parrot_core.training.estimate.memory import Memory


def print_estimate(
    recipe: "Recipe",
    stage: str,
    *,
    processes: int | None,
    gpu: str | None,
    utilisation: float | None,
    as_json: bool,
) -> None:
    """Prints the estimate of a stage; exit code 1 if it does not fit into the GPU.

    Raises:
        UsageError: if the GPU is unknown, or the stage is not one of the two.
        MissingError: if a backbone's config, or the size of a data set, is nowhere to be found.
    """
    from parrot_core.recipe.hardware import GPUS
    from parrot_core.recipe.values import OneOfGpus

    if stage not in ("1", "2"):
        raise UsageError(f"there is no estimate of stage {stage}", hint="Stages 1 and 2 have one.")
    if gpu is not None and (problem := OneOfGpus().problem(gpu)):
        raise UsageError(f"--gpu: {problem}", hint=f"Known are {', '.join(GPUS)}.")
    with library_output_to_stderr():
        from parrot_core.training.estimate import estimate_stage
        from parrot_core.training.estimate.work import UTILISATION

        found = estimate_stage(
            recipe, int(stage), gpu=gpu, processes=processes, utilisation=utilisation or UTILISATION
        )
    capacity = None if found.gpu is None else GPUS[found.gpu].memory_gb * 1e9
    fits = capacity is None or found.memory.gpu <= capacity
    if as_json:
        print_json({**_as_dict(found), "fits": fits})
    else:
        _print(recipe, found, capacity)
    if not fits:
        raise typer.Exit(1)


def _print(recipe: "Recipe", found: "Estimate", capacity: float | None) -> None:
    settings = recipe.stage1 if found.stage == 1 else recipe.stage2
    gpus = f"{found.engine.processes} × {found.gpu or 'GPU'}"
    print_line(f"{recipe.name}, stage {found.stage}, on {gpus}")
    print_line("")
    print_table(
        ("part", "parameters", "that learn", "config from"),
        [
            (name, part.parameters, part.trainable, found.origins.get(name, "recipe"))
            for name, part in found.parts.items()
        ]
        + [("all", *_totals(found), "")],
    )
    print_table(
        ("data set", "samples", "images each", "text tokens each", "known from"),
        [
            (
                entry.name,
                entry.samples,
                round(entry.images, 2),
                round(entry.text_tokens),
                entry.source,
            )
            for entry in found.lengths
        ],
    )
    work = found.work
    passes = f"{found.engine.processes} × {found.device_batch_size} × {found.accumulation}"
    print_table(
        ("what there is to do", ""),
        [
            ("samples", work.samples),
            ("optimiser steps", work.steps),
            ("global batch", f"{settings.global_batch_size} = {passes} (GPUs × at once × passes)"),
            ("tokens", f"{work.tokens / 1e6:,.1f} million"),
            ("tokens of the longest sample", found.longest),
            ("operations", f"{work.operations:.2e}"),
        ],
    )
    engine = f"zero {found.engine.zero}, offload {found.engine.offload}"
    rows = [_memory_row(f"this recipe: {engine}", found.memory, capacity)]
    rows += [_memory_row(name, memory, capacity) for name, memory in found.alternatives.items()]
    print_table(
        (
            "GB of each GPU",
            "weights",
            "gradients",
            "optimizer",
            "activations",
            "in all",
            "main memory",
            f"fits {found.gpu}" if found.gpu else "fits",
        ),
        rows,
    )
    print_table(
        ("GPU", "how many", "hours"),
        [
            (name, found.engine.processes, hours if hours >= 0.01 else "under 0.01")
            for name, hours in found.hours.items()
        ],
    )
    note(
        f"hours assume {found.utilisation:.1%} of the peak bfloat16 rate (--utilisation), "
        "recomputation included; memory is that of a step over the longest samples"
    )


def _memory_row(name: str, memory: "Memory", capacity: float | None) -> tuple[object, ...]:
    parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations)
    return (
        name,
        *(round(size / 1e9, 1) for size in (*parts, memory.gpu, memory.host)),
        None if capacity is None else memory.gpu <= capacity,
    )


def _totals(found: "Estimate") -> tuple[int, int]:
    return (
        sum(part.parameters for part in found.parts.values()),
        sum(part.trainable for part in found.parts.values()),
    )


def _as_dict(found: "Estimate") -> dict[str, Any]:
    return {
        **dataclasses.asdict(found),
        "memory": {**dataclasses.asdict(found.memory), "gpu": found.memory.gpu},
        "alternatives": {
            name: {**dataclasses.asdict(memory), "gpu": memory.gpu}
            for name, memory in found.alternatives.items()
        },
    }
