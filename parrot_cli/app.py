"""The `parrot` program: its commands, and what becomes of errors."""

import logging
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from parrot_cli.chat import chat
from parrot_cli.convert import convert
from parrot_cli.data import app as data_app
from parrot_cli.data_demo import demo as data_demo
from parrot_cli.demo import demo
from parrot_cli.doctor import doctor
from parrot_cli.eval import app as eval_app
from parrot_cli.inspect_experts import inspect_experts
from parrot_cli.output import print_error
from parrot_cli.program import Program
from parrot_cli.recipe import app as recipe_app
from parrot_cli.serve import serve
from parrot_cli.train import train
from parrot_core import __version__
from parrot_core.errors import MissingError, ParrotError, Stopped
from parrot_core.languages import LANGUAGES_VARIABLE, add_languages
from parrot_core.machine import gpu_memory

_WITHOUT_GPU = (
    "Free it of other work; CUDA_VISIBLE_DEVICES= before the command has the processor do this."
)

app = Program(
    name="parrot",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.add_typer(recipe_app, name="recipe")
data_app.command("demo")(data_demo)
app.add_typer(data_app, name="data")
app.add_typer(eval_app, name="eval")
app.command()(chat)
app.command()(serve)
app.command("inspect-experts")(inspect_experts)
app.command()(convert)
app.command()(demo)
app.command()(doctor)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"parrot {__version__}\n")
        raise typer.Exit


@app.callback()
def parrot(
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what is being done, on stderr.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does everything
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and leave."),
    ] = False,
    languages: Annotated[
        Path | None,
        typer.Option(
            envvar=LANGUAGES_VARIABLE,
            help="A file of languages that Parrot does not know: TOML, a table each, such as [qu] "
            "with name, native_name, yes, no and answer_request.",
        ),
    ] = None,
    local_rank: Annotated[  # noqa: ARG001 - LOCAL_RANK says the same
        int | None,
        typer.Option("--local_rank", hidden=True, help="What DeepSpeed's launcher puts in."),
    ] = None,
) -> None:
    """Multilingual visual instruction tuning: open language models that see, in every language."""
    logging.basicConfig(
        level=logging.INFO if verbose or debug else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("huggingface_hub").propagate = False  # it prints its warnings itself
    if languages is not None:
        add_languages(languages)
        os.environ[LANGUAGES_VARIABLE] = str(languages.resolve())  # for processes that it starts


def _mend_streams() -> None:
    """Makes streams that were closed empty ones, and no text an error of its encoding."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - for good
            setattr(sys, name, nothing)
    # Bytes that are no text are refused where they are read, characters that a terminal lacks are
    # spelled out: on stderr Python does so by itself.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def main() -> None:
    """Runs the program and exits: 0 fine, 1 findings, 2 usage, 3 missing, 4 remote, 130 stopped."""
    _mend_streams()
    debug = "--debug" in sys.argv[1:]
    # Threads that spin while they wait starve each other on a busy machine; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with gpu_memory(_WITHOUT_GPU):
            code = app(standalone_mode=False)
        if code == Stopped.exit_code:  # typer has caught the Ctrl-C, and says nothing
            print_error("stopped", hint=None)
    except ParrotError as error:
        if debug:
            raise
        print_error(error.problem, hint=error.hint)
        code = error.exit_code
    except typer.TyperException as error:
        hint = "parrot --help lists the commands, parrot COMMAND --help their options"
        print_error(error.format_message(), hint=hint)
        code = error.exit_code
    except OSError as error:
        if debug or error.strerror is None:
            raise
        place = f": {error.filename}" if error.filename else ""
        print_error(error.strerror + place, hint="Check the path, its permissions and the disk.")
        code = MissingError.exit_code
    except typer.Abort:
        code = Stopped.exit_code
    sys.exit(code)
