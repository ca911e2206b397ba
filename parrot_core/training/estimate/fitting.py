"""Whether a stage fits into GPUs, and what to change if it does not."""

from collections.abc import Iterable, Iterator
from typing import Any

from parrot_core.errors import MissingError
from parrot_core.recipe import LoraRecipe, Recipe
from parrot_core.training.estimate.plan import Plan

_MOST_PROCESSES = 1024


def check_memory(
    recipe: Recipe, stage: int, *, processes: int, gpu_bytes: float, gpu: str
) -> str | None:
    """Refuses a stage that cannot fit into the GPUs, before anything is loaded.

    A stage whose batches of mean length fit, but whose longest may not, is only warned of. No file
    of data is read: lengths are those that are stated, or assumed.

    Args:
        recipe: What is to be trained.
        stage: 1 or 2.
        processes: On each node.
        gpu_bytes: Memory of each GPU.
        gpu: What to call it.

    Returns:
        The warning, or None if all fits.

    Raises:
        MissingError: saying how much is missing and what would fit, in numbers.
    """
    plan = Plan(recipe, stage, processes=processes, read_data=False)
    longest = plan.memory().gpu
    if longest <= gpu_bytes:
        return None
    needed = plan.memory(tokens=plan.mean_tokens).gpu
    if needed <= gpu_bytes:
        return (
            f"stage {stage} needs about {_gb(longest)} of each {gpu} for a batch of the longest "
            f"samples, {plan.longest} tokens, and there are {_gb(gpu_bytes)}: lower "
            f"stage{stage}.device_batch_size if it runs out of memory"
        )
    ways = [f"{way} ({_gb(size)})" for way, size in ways_to_fit(plan, stage, gpu_bytes)]
    raise MissingError(
        f"stage {stage} needs about {_gb(longest)} on each of {plan.processes} × {gpu}, "
        f"which has {_gb(gpu_bytes)}",
        hint=f"It fits with {'; or with '.join(ways)}."
        if ways
        else "No setting of this recipe fits; take a smaller language model.",
    )


def ways_to_fit(plan: Plan, stage: int, gpu_bytes: float) -> Iterator[tuple[str, float]]:
    """Yields changes with which a stage fits, the mildest first, and what each GPU then holds.

    Args:
        plan: The stage as it is.
        stage: 1 or 2.
        gpu_bytes: Memory of each GPU.
    """

    def first(changes: Iterable[dict[str, Any]]) -> Iterator[tuple[str, float]]:
        for settings in changes:
            needed = plan.variant(**settings).memory()
            if needed.gpu <= gpu_bytes:
                host = f", {_gb(needed.host)} of main memory" if needed.host else ""
                yield _as_options(stage, settings) + host, needed.gpu
                return

    sizes = [size for size in (8, 4, 2, 1) if size < plan.settings.device_batch_size]
    batches: list[dict[str, Any]] = [{"device_batch_size": size} for size in sizes]
    if not plan.settings.gradient_checkpointing:
        yield from first([{"gradient_checkpointing": True}])
    yield from first(batches)
    engines = [variant.settings for variant in plan.engines()]
    offloads = [
        {"zero": settings.zero, "offload": settings.offload, **batch}
        for batch in ({}, *batches)
        for settings in engines
        if settings.offload != "none"
    ]
    yield from first(offloads)
    yield from _more_gpus(plan, gpu_bytes)
    if "language_model" not in plan.settings.trains:
        return
    for quantisation in ("none", "4bit"):
        if plan.settings.lora is None or plan.settings.lora.quantisation != quantisation:
            lora = LoraRecipe(quantisation=quantisation)
            one = {"lora": lora, "zero": 0, "offload": "none"}
            yield from first({**one, **batch} for batch in ({}, *batches))


def _more_gpus(plan: Plan, gpu_bytes: float) -> Iterator[tuple[str, float]]:
    """The smallest number of processes, doubled from what there is, that is enough."""
    more = plan.processes * 2
    while more <= min(_MOST_PROCESSES, plan.settings.global_batch_size):
        if plan.settings.global_batch_size % more == 0:
            needed = plan.variant(processes=more).memory().gpu
            if needed <= gpu_bytes:
                yield f"{more} GPUs", needed
                return
        more *= 2


def _as_options(stage: int, settings: dict[str, Any]) -> str:
    """Writes changes as the command line takes them."""
    options = []
    for name, value in settings.items():
        if isinstance(value, LoraRecipe):
            options.append(f"--set stage{stage}.lora.quantisation={value.quantisation}")
        else:
            text = str(value).lower() if isinstance(value, bool) else value
            options.append(f"--set stage{stage}.{name}={text}")
    return " ".join(options)


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
