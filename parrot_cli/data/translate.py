"""`parrot data translate`."""

from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.data.translation_options import Options, prepare, with_options
from parrot_cli.data.translation_report import end, print_estimate, print_report, run_shown


@with_options
def translate(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="JSON or JSONL file of LLaVA samples.")
    ],
    options: Options,
    source_language: Annotated[str, typer.Option("--from", help="Language of the samples.")] = "en",
    with_image: Annotated[
        bool, typer.Option("--with-image", help="Show the model each sample's first picture.")
    ] = False,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder of the pictures.", show_default="the file's own")
    ] = None,
    on_flag: Annotated[
        str,
        typer.Option(
            help="Samples with flags: keep, drop, or review (wait for people). Those that lost an "
            "<image> are never kept."
        ),
    ] = "keep",
) -> None:
    """Translate samples: draft, re-check, refinements, vote. Resumable at any moment.

    Every answer is kept in OUT/journal.sqlite before anything else happens; run the same command
    again to go on. Results are OUT/LANGUAGE.json and OUT/summary.json.
    """
    work = prepare(options, source_language=source_language, on_flag=on_flag)
    root = (image_root or source.parent) if with_image else None
    if options.dry_run:
        print_estimate(source, options.out, work, image_root=root, as_json=options.as_json)
        return
    report = run_shown(source, options.out, work, image_root=root)
    print_report(report, options.out, as_json=options.as_json)
    end(report, options.out)
