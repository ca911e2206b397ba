"""The commands of `parrot data`, one small file each."""

from parrot_cli.data.build_benchmark import build_benchmark
from parrot_cli.data.check import check
from parrot_cli.data.review import app as review
from parrot_cli.data.split import split
from parrot_cli.data.stats import stats
from parrot_cli.data.translate import translate
from parrot_cli.program import Program

app = Program(no_args_is_help=True)
app.command()(check)
app.command()(stats)
app.command()(split)
app.command()(translate)
app.command("build-benchmark")(build_benchmark)
app.add_typer(review, name="review")


@app.callback()
def data() -> None:
    """Check, count, split and translate training data."""
