"""Loading a checkpoint for answering: where to, in which precision."""

from pathlib import Path
from typing import Any

import torch

from parrot_core.errors import MissingError, UsageError
from parrot_core.machine import gpu_memory
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor, load_parrot

DTYPES = ("auto", "float32", "bfloat16", "float16")
"""Precisions by name; `auto` is the checkpoint's."""

_SMALLER = "Give another --device, or --device cpu; chat and serve also take --load-in-4bit."


def load_for_use(
    folder: Path, *, device: str | None = None, dtype: str = "auto", four_bit: bool = False
) -> tuple[ParrotForConditionalGeneration, ParrotProcessor]:
    """Loads a checkpoint for answering, onto a GPU where there is one.

    Args:
        folder: The checkpoint.
        device: Where to, for instance `cuda:1`; left out, the first GPU, or else the CPU.
        dtype: One of `DTYPES`.
        four_bit: Whether the linear layers are quantised to 4 bits (bitsandbytes' NF4).

    Raises:
        MissingError: if the folder holds no checkpoint, or the device or bitsandbytes is not there.
        GpuFullError: if the GPU's memory is too small.
        UsageError: for another name of a precision or device.
    """
    if not (folder / "config.json").is_file():
        what = "does not exist"
        if folder.exists():
            what = "has no config.json" if folder.is_dir() else "is a file"
        raise MissingError(
            f"not a checkpoint: {folder} {what}",
            hint="Name the folder that `parrot train --stage 2` wrote, or run `parrot demo`.",
        )
    if dtype not in DTYPES:
        raise UsageError(f"unknown precision {dtype!r}", hint=f"Give one of {', '.join(DTYPES)}.")
    place = find_device(device)
    precision = dtype if dtype == "auto" else getattr(torch, dtype)
    with gpu_memory(_SMALLER):
        if four_bit:
            return load_parrot(
                folder,
                dtype=precision,
                device_map={"": place},
                quantization_config=_four_bit_settings(precision),
            )
        model, processor = load_parrot(folder, dtype=precision)
        model.to(place)  # type: ignore[arg-type]  # the library's decorator hides `self`
        model.train(mode=False)
        return model, processor


def find_device(name: str | None) -> torch.device:
    """Returns the device of a name, or the first GPU, or else the CPU.

    Raises:
        UsageError: if there is no device of such a name.
        MissingError: if this machine has none.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0]
        if first.startswith(("Expected one of", "Invalid device string")):
            raise UsageError(
                f"no device is called {name!r}", hint="Give for instance cpu, cuda or cuda:1."
            ) from error
        raise MissingError(
            f"device {name} cannot be used: {first}",
            hint="Leave --device out to use what this machine has.",
        ) from error
    return device


def _four_bit_settings(precision: Any) -> Any:  # noqa: ANN401 - the library's types
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise MissingError(
            "4-bit weights need the package bitsandbytes",
            hint="pip install bitsandbytes, or leave --load-in-4bit out.",
        )
    make: Any = BitsAndBytesConfig
    compute = torch.bfloat16 if precision == "auto" else precision
    return make(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_use_double_quant=True,
    )
