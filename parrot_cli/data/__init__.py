"""The commands of `parrot data`, one small file each."""

import typer

from parrot_cli.data.check import check

app = typer.Typer(no_args_is_help=True)
app.command()(check)


@app.callback()
def data() -> None:
    """Check, count, split and translate training data."""
