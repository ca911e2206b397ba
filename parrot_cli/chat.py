"""`parrot chat`: questions about a picture, answered in the language that was asked for."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parrot_cli.checkpoints import choose_checkpoint
from parrot_cli.output import library_output_to_stderr, note, print_json, print_line
from parrot_core.errors import UsageError
from parrot_core.languages import get_language

if TYPE_CHECKING:
    from PIL import Image

    from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

_LEAVE = {"/quit", "/exit"}


def chat(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    *,
    lang: Annotated[str, typer.Option(help="Language of the answers, for instance tr.")] = "en",
    prompt: Annotated[str | None, typer.Option(help="Answer this one question and leave.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="The checkpoint.", show_default="the newest below runs/"),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 512,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --prompt: print answer, language and routing.")
    ] = False,
) -> None:
    """Talk about a picture; with --prompt, ask one question."""
    language = get_language(lang).code
    if as_json and prompt is None:
        raise UsageError("--json needs --prompt", hint="Give the question with --prompt.")

    from parrot_core.data.images import open_image

    picture = open_image(image)
    with library_output_to_stderr():
        from parrot_core.generation import load_for_use

        parts = load_for_use(choose_checkpoint(model))
    if prompt is not None:
        _answer_once(parts, picture, prompt, language, max_tokens, as_json=as_json)
    else:
        _converse(parts, picture, language, max_tokens)


def _answer_once(
    parts: "tuple[ParrotForConditionalGeneration, ParrotProcessor]",
    picture: "Image.Image",
    prompt: str,
    language: str,
    max_tokens: int,
    *,
    as_json: bool,
) -> None:
    from parrot_core.generation import answer, ask

    conversation = ask(prompt, images=[picture], language=language)
    (reply,) = answer(*parts, [conversation], max_new_tokens=max_tokens)
    if as_json:
        routing = None if reply.routing is None else reply.routing[0]
        print_json({"answer": reply.text, "language": language, "routing": routing})
    else:
        print_line(reply.text)


def _converse(
    parts: "tuple[ParrotForConditionalGeneration, ParrotProcessor]",
    picture: "Image.Image",
    language: str,
    max_tokens: int,
) -> None:
    from parrot_core.generation import ask, stream

    note("Ask about the picture; /reset begins anew, /quit leaves.")
    history: list[dict[str, str]] = []
    images: list[Image.Image] = []
    while True:
        try:
            question = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if question in _LEAVE:
            return
        if question == "/reset":
            history, images = [], []
        elif question:
            shown = [] if images else [picture]
            conversation = ask(question, images=shown, language=language, history=history)
            images = [*images, *shown]
            conversation = type(conversation)(messages=conversation.messages, images=tuple(images))
            said = ""
            for piece in stream(*parts, conversation, max_new_tokens=max_tokens):
                said += piece
                sys.stdout.write(piece)
                sys.stdout.flush()
            sys.stdout.write("\n")
            history = [*conversation.messages, {"role": "assistant", "content": said.strip()}]
