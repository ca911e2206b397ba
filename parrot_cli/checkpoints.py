"""How commands load a checkpoint, and which one when they are not told."""

import json
from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.output import note
from parrot_core.errors import MissingError

DtypeOption = Annotated[
    str, typer.Option(help="auto (the checkpoint's), float32, bfloat16 or float16.")
]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="For instance cpu or cuda:1.", show_default="a GPU if there is one"),
]
LoadIn4BitOption = Annotated[
    bool, typer.Option("--load-in-4bit", help="Quantise the weights (needs bitsandbytes).")
]


def choose_checkpoint(given: Path | None) -> Path:
    """Returns the checkpoint that was named, or the newest of stage 2 below `runs/`, and says so.

    Raises:
        MissingError: if none was named and there is none.
    """
    if given is not None:
        return given
    finished = []
    for path in Path("runs").glob("**/run.json"):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            note(f"{path} is not readable and is passed over: {error}")
            continue
        if isinstance(run, dict) and run.get("stage") == "2":
            finished.append((str(run.get("finished", "")), path.parent))
    if not finished:
        raise MissingError(
            "no trained checkpoint below runs/",
            hint="Train one with `parrot demo`, or name a published one's folder with --model "
            "(`parrot convert` brings it into Parrot's format).",
        )
    newest = max(finished)[1]
    note(f"uses {newest}, the newest trained checkpoint")
    return newest
