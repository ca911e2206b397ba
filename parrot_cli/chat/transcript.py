"""Saving a conversation: JSON for programs, Markdown for people."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import LANGUAGES

if TYPE_CHECKING:
    from parrot_core.generation import Dialogue, Turn

FORMATS = (".json", ".md")


def save_transcript(dialogue: "Dialogue", path: Path, *, model: str) -> None:
    """Writes a conversation to a new file.

    Args:
        dialogue: The conversation.
        path: `.json` or `.md`; a file that is there already is left alone.
        model: The checkpoint's name.

    Raises:
        UsageError: for another ending, or if there is such a file or nothing to save.
        MissingError: if it cannot be written.
    """
    if path.suffix not in FORMATS:
        raise UsageError(
            f"no format for {path.name!r}", hint="Give a name that ends with .json or .md."
        )
    if not dialogue.turns:
        raise UsageError("nothing to save yet", hint="Ask something first.")
    text = _as_json(dialogue, model) if path.suffix == ".json" else _as_markdown(dialogue, model)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", hint="Choose another name.") from error
    except OSError as error:
        raise MissingError(
            f"cannot write {path}: {error.strerror}", hint="Choose another place."
        ) from error


def _as_json(dialogue: "Dialogue", model: str) -> str:
    document = {
        "model": model,
        "system": dialogue.system or None,
        "turns": [_facts(turn) for turn in dialogue.turns],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _facts(turn: "Turn") -> dict[str, Any]:
    return {
        "question": turn.question,
        "language": turn.language,
        "images": [name for name, _ in turn.images],
        "answer": turn.answer,
        "interrupted": turn.interrupted,
        "routing": None if turn.routing is None else newest(turn.routing),
    }


def newest(routing: "Sequence[Sequence[float]] | None") -> list[float] | None:
    """The routing weights of the newest picture of a conversation, float[E]."""
    return list(routing[-1]) if routing else None


def _as_markdown(dialogue: "Dialogue", model: str) -> str:
    lines = [f"# A conversation with {model}"]
    if dialogue.system:
        lines += ["", f"System: {dialogue.system}"]
    for turn in dialogue.turns:
        lines += ["", *(f"Picture: {name}" for name, _ in turn.images)]
        lines += [f"**{turn.question}** ({LANGUAGES[turn.language].name})"]
        lines += ["", turn.answer + (" … (stopped)" if turn.interrupted else "")]
    return "\n".join(lines) + "\n"
