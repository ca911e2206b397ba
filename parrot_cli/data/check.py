"""`parrot data check`."""

import os
from pathlib import Path
from typing import Annotated

import typer


def check(
    files: Annotated[list[Path], typer.Argument(help="JSON or JSONL files of LLaVA samples.")],
    image_root: Annotated[
        Path | None,
        typer.Option(
            help="Folder that image paths are relative to.", show_default="each file's own"
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer (folder or name) to find over-long samples with.")
    ] = None,
    max_length: Annotated[int, typer.Option(min=1, help="Most tokens of a sample.")] = 2048,
    image_tokens: Annotated[int, typer.Option(min=0, help="Tokens that an image takes.")] = 577,
    ignore: Annotated[
        list[str] | None, typer.Option(help="A kind of fault to let pass; may be repeated.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that open images; 0 is one per core.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Open every record and every image, and report all faults. Exit code 1 if there are any."""
    from parrot_cli.output import live_line, print_json, print_line, print_table
    from parrot_core.data.check import LengthLimit, check_files

    length = (
        LengthLimit(tokenizer=tokenizer, tokens=max_length, image_tokens=image_tokens)
        if tokenizer
        else None
    )
    with live_line() as show:
        report = check_files(
            files,
            image_root=image_root,
            length=length,
            ignore=ignore or (),
            workers=workers or os.cpu_count() or 1,
            on_progress=lambda now: show(
                f"{now.records:,} records, {now.images:,} images, {len(now.faults):,} faults"
            ),
        )
    if as_json:
        print_json(report.as_dict())
    else:
        if report.faults:
            print_table(
                ("place", "record", "kind", "what is wrong"),
                [
                    (f"{fault.file}:{fault.line}", fault.record, fault.kind, fault.message)
                    for fault in report.faults
                ],
            )
        by_kind = ", ".join(f"{count} {kind}" for kind, count in report.by_kind().items())
        print_line(
            f"{report.records:,} records, {report.images:,} images: "
            + (f"{len(report.faults):,} faults ({by_kind})" if report.faults else "no faults")
        )
    raise typer.Exit(1 if report.faults else 0)
