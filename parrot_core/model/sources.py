"""Where parts and checkpoints are read from: folders or the model hub, and safetensors only."""

import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from parrot_core.model.errors import CheckpointError

Source = str | PathLike[str]
"""A folder, or a name on the model hub."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_LONGEST_REASON = 240
_IN_A_FOLDER = "See whether all its files are there, and whether its config.json was changed."
_ON_THE_HUB = (
    "No such folder is here, so it was looked for on the model hub: check the name, or fetch it "
    "where there is a network (`hf download NAME`) and name its folder."
)
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}


def load_part(loader: Callable[..., Any], source: Source | None, **options: Any) -> Any:  # noqa: ANN401
    """Loads a part with the library's loader.

    Args:
        loader: For instance a `from_pretrained`.
        source: Its first argument; None where `options` say everything.
        **options: Its other arguments.

    Raises:
        CheckpointError: if it is not there or not readable.
    """
    if source is not None:
        check_source(source)
    with reading(source):
        return loader(None if source is None else fspath(source), **options)


@contextmanager
def reading(source: Source | None) -> Iterator[None]:
    """Tells of what a library finds wrong with files meanwhile.

    Raises:
        CheckpointError: with the source, and the library's reason.
    """
    try:
        yield
    except (OSError, ValueError, SafetensorError, StrictDataclassError) as error:
        raise CheckpointError(
            f"cannot load {source}: {_reason(error)}",
            hint=_IN_A_FOLDER if source is None or Path(source).is_dir() else _ON_THE_HUB,
        ) from error


def check_source(source: Source) -> None:
    """Refuses what is neither a folder nor can be a name on the model hub.

    Raises:
        CheckpointError: with what is wrong.
    """
    name, place = fspath(source), Path(source)
    if name and place.is_dir():
        return
    if name and place.exists():
        raise CheckpointError(f"{name} is a file", hint="Name the folder that it is in.")
    if not is_hub_name(name):
        raise CheckpointError(
            f"there is no folder {name or '(an empty name)'}", hint="Check the path."
        )


def is_hub_name(name: str) -> bool:
    """Whether a name can be one on the model hub, `model` or `owner/model`."""
    return _HUB_NAME.fullmatch(name) is not None


def check_safetensors(source: Source) -> None:
    """Refuses a folder whose weights are not in safetensors; no pickle is ever opened.

    Raises:
        CheckpointError: with the names of the pickles that it has instead.
    """
    folder = Path(source)
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise CheckpointError(
            f"{folder} has its weights in pickles only: {', '.join(pickles)}",
            hint="Parrot reads safetensors only, as a pickle could run any code.",
        )
    raise CheckpointError(
        f"{folder} holds no weights", hint="Copy or download its *.safetensors files."
    )


def _reason(error: Exception) -> str:
    """One line of what a library says: the first, or of a config's field the last."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[-1] if isinstance(error, StrictDataclassError) else lines[0]
    return textwrap.shorten(line, _LONGEST_REASON, placeholder=" …")
