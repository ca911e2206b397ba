"""The command: its options, and answers to the questions of `--prompt`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parrot_cli.chat.pictures import STDIN, load_picture
from parrot_cli.chat.right_to_left import MODES
from parrot_cli.chat.thumbnails import find_protocol
from parrot_cli.checkpoints import DeviceOption, DtypeOption, LoadIn4BitOption, choose_checkpoint
from parrot_cli.output import loading, print_json
from parrot_core.errors import UsageError
from parrot_core.languages import get_language

if TYPE_CHECKING:
    from parrot_cli.chat.session import Session


def chat(
    image: Annotated[
        str | None,
        typer.Argument(
            help="The picture: a path, a URL, - for stdin; left out, words alone.",
            show_default=False,
        ),
    ] = None,
    *,
    lang: Annotated[str, typer.Option(help="Language of the answers, for instance tr.")] = "en",
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Answer this question and leave. Repeated, the questions are one conversation.",
            show_default=False,
        ),
    ] = None,
    system: Annotated[str, typer.Option(help="What the model is told before all turns.")] = "",
    model: Annotated[
        Path | None,
        typer.Option(help="The checkpoint.", show_default="the newest below runs/"),
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=5.0, help="0 takes the most probable words.")
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**63 - 1, help="Of the draws above temperature 0.", show_default="drawn"
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 512,
    experts: Annotated[
        bool, typer.Option("--experts", help="Draw the routing of each answer as a bar.")
    ] = False,
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    load_in_4bit: LoadIn4BitOption = False,
    allow_private_network: Annotated[
        bool, typer.Option(help="Fetch pictures from addresses that are not public, too.")
    ] = False,
    right_to_left: Annotated[
        str,
        typer.Option(help="Who puts Arabic letters in order: auto, terminal, or arrange (Parrot)."),
    ] = "auto",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="With --prompt: print answer, language and routing; a list of them for several.",
        ),
    ] = False,
) -> None:
    """Talk about a picture; with --prompt, ask one question."""
    language = get_language(lang).code
    if as_json and not prompt:
        raise UsageError("--json needs --prompt", hint="Give the question with --prompt.")
    if not all(question.strip() for question in prompt or ()):
        raise UsageError("a --prompt is empty", hint="Give a question, or leave --prompt out.")
    if right_to_left not in MODES:
        raise UsageError(
            f"--right-to-left {right_to_left!r} is unknown", hint=f"Give one of {', '.join(MODES)}."
        )
    from parrot_core.data.remote_images import FetchLimits

    limits = FetchLimits(private_networks=allow_private_network)
    picture = None if image is None else load_picture(image, limits)
    if image == STDIN and not prompt and not sys.stdout.isatty():
        raise UsageError(
            "the picture came by stdin, so no question can", hint="Give questions with --prompt."
        )
    checkpoint = choose_checkpoint(model)
    protocol = None if prompt else find_protocol()
    with loading(checkpoint):
        from parrot_cli.chat.session import Session, Settings
        from parrot_core.generation import load_for_use

        parts = load_for_use(checkpoint, device=device, dtype=dtype, four_bit=load_in_4bit)
    session = Session(
        parts,
        Settings(
            language=language,
            temperature=temperature,
            seed=seed,
            max_tokens=max_tokens,
            experts=experts,
            right_to_left=right_to_left,
        ),
        name=str(checkpoint),
        limits=limits,
        protocol=protocol,
    )
    if experts:
        session.check_experts()
    session.dialogue.system = system
    if picture is not None:
        session.dialogue.show(picture[1], name=picture[0])
    if prompt:
        _answer(session, prompt, as_json=as_json)
    else:
        session.converse(from_terminal=sys.stdin.isatty() or image == STDIN)


def _answer(session: "Session", questions: list[str], *, as_json: bool) -> None:
    from parrot_cli.chat.transcript import newest

    replies = []
    try:
        for question in questions:
            reply = session.answer(question, quiet=as_json)
            routing = newest(reply.routing)
            replies.append(
                {"answer": reply.text, "language": session.settings.language, "routing": routing}
            )
    finally:  # an error or Ctrl-C at a later question loses no answer to the earlier ones
        if as_json and replies:
            print_json(replies if len(questions) > 1 else replies[0])
