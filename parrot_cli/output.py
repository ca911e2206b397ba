"""What commands print: results on stdout as tables or JSON, everything else on stderr."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

_BETWEEN_COLUMNS = 3  # signs that the box puts there
_PLAIN_SECONDS = 10.0  # between two lines of progress where nobody watches a terminal


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever a command reports
    """Writes one JSON document to stdout."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_line(text: str) -> None:
    """Writes one line of the result to stdout."""
    sys.stdout.write(f"{text}\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None
) -> None:
    """Draws a table on stdout; columns in which every cell is a number are set to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    # A pipe has no width of its own; long messages must not be wrapped for whoever greps them.
    console = Console(width=None if sys.stdout.isatty() else 240)
    cells = [[str(name), *(_cell(row[i]) for row in rows)] for i, name in enumerate(columns)]
    for column, width in zip(table.columns, _widths(cells, console.width), strict=True):
        column.width = width
    console.print(table)


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Divides a line among columns of texts, so that words are cut only where it must be.

    Left to itself, rich shrinks the widest columns first, and cuts a name in one while another
    still has spaces to break at.
    """
    from rich.cells import cell_len

    room -= _BETWEEN_COLUMNS * len(columns)
    lines = [[line for text in column for line in text.splitlines()] for column in columns]
    most = [max(map(cell_len, column), default=1) for column in lines]
    words = [
        max((cell_len(word) for line in column for word in line.split()), default=1)
        for column in lines
    ]
    least = words
    if sum(words) > room:
        least, most = [1] * len(words), words
        if words[0] <= room // 2:  # the first column has the names, which are to be copied
            least[0] = words[0]

    def at(level: int) -> list[int]:
        return [max(low, min(level, high)) for low, high in zip(least, most, strict=True)]

    return at(max((level for level in range(1, room) if sum(at(level)) <= room), default=1))


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def note(text: str) -> None:
    """Writes one line about the work, not its result, to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """Yields a function that shows the newest line of progress on stderr.

    In a terminal one line is rewritten; elsewhere a line is printed every ten seconds, so that a
    log file stays readable.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(stderr=True)
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield lambda text: live.update(Text(text))
        return
    last = time.monotonic()

    def show(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_SECONDS:
            last = now
            note(text)

    yield show


def library_output_to_stderr() -> redirect_stdout[TextIO]:
    """Keeps what libraries print, as DeepSpeed does when it is imported, out of the results."""
    return redirect_stdout(sys.stderr)


def quieten_libraries() -> None:
    """Keeps bars and notices of libraries to themselves that are of no use to whoever trains."""
    import warnings

    import torch
    from transformers.utils import logging as library_logging

    library: Any = library_logging  # typed in part
    library.disable_progress_bar()
    # Within DeepSpeed and accelerate: newer names of torch's functions.
    warnings.filterwarnings("ignore", category=FutureWarning, message=r".*torch\.distributed")
    # Under DeepSpeed the Trainer leaves the counting of passes to it, which accelerate tells.
    logging.getLogger("accelerate.accelerator").addFilter(
        lambda record: "Gradient accumulation steps mismatch" not in record.getMessage()
    )
    # Flash attention is chosen before the model goes to the GPU, as it will.
    logging.getLogger("transformers.modeling_utils").addFilter(
        lambda record: "with a model not initialized on GPU" not in record.getMessage()
    )
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # it would look, and tell


@contextmanager
def loading(checkpoint: Path) -> Iterator[None]:
    """Says that a checkpoint is being loaded, for as long as it takes and somebody watches.

    The libraries are imported within it, too, because that is half of the wait.
    """
    with library_output_to_stderr():
        if not sys.stderr.isatty():
            _hide_loading_bars()
            yield
            return
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            progress.add_task(f"loading {printable(str(checkpoint))}", total=None)
            _hide_loading_bars()
            yield


def _hide_loading_bars() -> None:
    """Switches off transformers' own bars, which would be many lines of a log."""
    from transformers.utils import logging as library_logging

    library_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # typed in part


def printable(text: str) -> str:
    """Shows what would command a terminal: a model may say it, or an image's name have it."""
    return text.translate(_CONTROL_PICTURES)


# Unicode has a picture of each control character; a line's end stays one.
_CONTROL_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) != "\n"},
    **dict.fromkeys(range(0x7F, 0xA0), "\N{REPLACEMENT CHARACTER}"),
    ord("\t"): "    ",
    ord("\r"): None,
}


def print_error(problem: str, *, hint: str | None) -> None:
    """Writes an error, and what to do about it, to stderr."""
    note(f"error: {printable(problem)}")
    if hint:
        note(f"hint: {printable(hint)}")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yields a function of (done, in all, remark) that draws a bar with the time left on stderr."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeftColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeLeftColumn(),
            TextColumn("{task.fields[remark]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(label, total=None, remark="")
            yield lambda done, total, remark: progress.update(
                task, completed=done, total=total, remark=remark
            )
        return
    with live_line() as show:
        yield lambda done, total, remark: show(f"{label}: {done}/{total} {remark}".rstrip())
