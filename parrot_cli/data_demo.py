"""`parrot data demo`: the embedded default's picture-text set."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parrot_core.data.cache import CACHE_VARIABLE, default_cache

if TYPE_CHECKING:
    from rich.console import Console


def demo(
    output: Annotated[
        Path, typer.Option(help="Folder of the set; one that is there is replaced.")
    ] = Path("runs/demo/data"),
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar=CACHE_VARIABLE,
            help="Folder of fetched packages.",
            show_default="the user's cache folder",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    validation_style: Annotated[
        str | None,
        typer.Option(
            help="A style that training leaves out, too, to choose settings on: its questions go "
            "to benchmarks/validation, and those of the test style stay untouched."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the manifest without its file hashes.")
    ] = False,
) -> None:
    """Make the embedded default's data: emoji in six languages.

    Samples for both training stages and for text alone, in three art styles, and a benchmark on a
    fourth that no sample shows. The artwork and names come from packages under licences that are
    written beside the data.
    """
    from rich.console import Console

    from parrot_core.data.emoji.build import build_demo
    from parrot_core.data.emoji.settings import DemoSettings

    settings = DemoSettings(seed=seed)
    if validation_style is not None:
        settings = settings.validated_on(validation_style)
    with _showing_progress(Console(stderr=True)) as progress:
        made = build_demo(
            output, cache=cache or default_cache(), settings=settings, progress=progress
        )
    shown = {key: value for key, value in made.manifest.items() if key != "files"}
    if as_json:
        typer.echo(json.dumps({"folder": str(made.folder)} | shown, ensure_ascii=False, indent=2))
    else:
        _print_summary(Console(), made.folder, shown)


def _print_summary(console: "Console", folder: Path, manifest: dict[str, Any]) -> None:
    from rich.table import Table

    counts, styles = manifest["counts"], manifest["styles"]
    samples = counts["samples"]
    table = Table(title=f"{counts['concepts']} concepts, {counts['pictures']} pictures")
    for heading in ("samples", *manifest["languages"], "in all"):
        table.add_column(heading, justify="left" if heading == "samples" else "right")
    for name, amounts in samples.items():
        by_language = (amounts["by_language"].get(code, 0) for code in manifest["languages"])
        table.add_row(name, *map(str, by_language), str(amounts["total"]))
    console.print(table)
    for split, questions in counts["questions"].items():
        console.print(
            f"{split} on {styles[split]}, per language: {questions['naming']} naming questions, "
            f"{questions['yes_no_pairs']} Yes/No pairs"
        )
    console.print(f"trained on: {', '.join(styles['training'])}")
    console.print(f"licences of the sources: {folder / 'LICENSES.md'}", soft_wrap=True)
    console.print(f"written to {folder}", soft_wrap=True)


@contextmanager
def _showing_progress(console: "Console") -> Iterator[Callable[[int, int], None]]:
    """Yields what to call after a picture: a bar in a terminal, a line per quarter elsewhere."""
    if not console.is_terminal:

        def print_quarters(done: int, total: int) -> None:
            if done * 4 // total > (done - 1) * 4 // total:
                console.print(f"pictures drawn: {done} of {total}")

        yield print_quarters
        return

    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("pictures", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
