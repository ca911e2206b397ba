"""`parrot data stats`."""

from pathlib import Path
from typing import Annotated

import typer


def stats(
    files: Annotated[list[Path], typer.Argument(help="JSON or JSONL files of LLaVA samples.")],
    languages: Annotated[
        str, typer.Option(help="Languages that may occur, or all (the paper's six).")
    ] = "all",
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer (folder or name) to count tokens with.")
    ] = None,
    image_sizes: Annotated[
        bool, typer.Option("--image-sizes", help="Open every picture for its size.")
    ] = False,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder of the pictures.", show_default="each file's own")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it as PNG, SVG or PDF.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Count samples, pictures, words and tokens by language. It is told from the texts."""
    from parrot_cli.charts import check_picture
    from parrot_cli.output import live_line, note, print_json, print_line, print_table
    from parrot_core.data.check import token_counter
    from parrot_core.data.stats import UNDETERMINED, count_files, draw_stats
    from parrot_core.languages import get_language, parse_languages

    if plot is not None:
        check_picture(plot)
    with live_line() as show:
        found = count_files(
            files,
            candidates=parse_languages(languages),
            count_tokens=None if tokenizer is None else token_counter(tokenizer),
            image_root=image_root,
            read_images=image_sizes,
            on_progress=lambda number: show(f"{number:,} samples"),
        )
    if plot is not None:
        draw_stats(found, plot)
        note(f"drawn: {plot}")
    if as_json:
        print_json(found.as_dict())
        return
    total = sum(part.samples for part in found.languages.values())
    print_table(
        ("language", "samples", "share %", "text only", "images", "turns", "words", "tokens"),
        [
            (
                "undetermined" if code == UNDETERMINED else get_language(code).name,
                part.samples,
                round(100 * part.samples / total, 2),
                part.text_only,
                part.images,
                part.turns,
                part.words,
                part.tokens,
            )
            for code, part in found.languages.items()
        ],
    )
    print_line(f"{total:,} samples, {found.different_images:,} different images")
    for name, (least, middle, most) in (found.image_sizes or {}).items():
        print_line(f"{name}: {least} to {most} pixels, median {middle:g}")
