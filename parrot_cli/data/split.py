"""`parrot data split`."""

from pathlib import Path
from typing import Annotated

import typer


def split(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="JSON or JSONL file of LLaVA samples.")
    ],
    to: Annotated[str, typer.Option(help="Languages with counts, zh=71000,pt=14000, or without.")],
    out: Annotated[Path, typer.Option(help="Folder to write LANGUAGE.json to.")],
    count: Annotated[
        int | None, typer.Option(min=1, help="Samples of each language that has no count.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What the draw depends on.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Part an English set among languages, without overlap.

    No sample and no picture is in two of them (section 3.4). The files are still English; `parrot
    data translate` makes the languages of them.
    """
    from dataclasses import asdict

    from parrot_cli.output import print_json, print_line, print_table
    from parrot_core.data.split import split_samples

    report = split_samples(source, out, counts=_counts(to, count=count), seed=seed)
    if as_json:
        print_json(asdict(report) | {"disjoint": report.disjoint})
    else:
        print_table(
            ("language", "samples", "different images", "file"),
            [
                (code, samples, report.images[code], str(out / f"{code}.json"))
                for code, samples in report.samples.items()
            ],
        )
        print_line(
            "in two languages, counted from the written files: "
            f"{report.shared_samples} samples, {report.shared_images} images, "
            f"{report.shared_texts} conversations; {report.unused:,} samples unused"
        )
    raise typer.Exit(0 if report.disjoint else 1)


def _counts(text: str, *, count: int | None) -> dict[str, int]:
    from parrot_core.errors import UsageError
    from parrot_core.languages import get_language

    counts: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        code = get_language(name).code
        wanted = number or (None if count is None else str(count))
        if wanted is None or not wanted.isdecimal():
            raise UsageError(
                f"no count of samples for {code!r}", hint=f"Give {code}=10000, or --count 10000."
            )
        if code in counts:
            raise UsageError(f"{code!r} stands twice in --to", hint="Give each language once.")
        counts[code] = int(wanted)
    return counts
