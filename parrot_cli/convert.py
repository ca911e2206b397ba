"""`parrot convert`: a published checkpoint in Parrot's own format."""

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[str, typer.Argument(help="Folder or hub name of a published checkpoint.")],
    destination: Annotated[Path, typer.Argument(help="Folder to write, not there yet.")],
    vision_encoder: Annotated[
        str | None,
        typer.Option(help="Folder or hub name of the vision encoder's config, if it has moved."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Convert a published checkpoint to Parrot's own format. The logits of both are compared."""
    from parrot_cli.output import library_output_to_stderr, print_json, print_line
    from parrot_core.model.convert import convert_checkpoint

    with library_output_to_stderr():
        report = convert_checkpoint(source, destination, vision_encoder=vision_encoder)
    if as_json:
        print_json(report.as_dict())
        return
    print_line(
        f"{report.destination}: {report.parameters:,} weights in {report.dtype}; "
        f"{report.logits:,} logits compared, largest difference {report.max_difference:.3g}"
    )
