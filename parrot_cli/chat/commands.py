"""What begins with a slash: commands within a conversation."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from parrot_cli.chat.pictures import STDIN, load_picture
from parrot_cli.chat.transcript import save_transcript
from parrot_core.errors import UsageError
from parrot_core.languages import LANGUAGES, get_language

if TYPE_CHECKING:
    from parrot_cli.chat.session import Session

_HELP = {
    "/image PATH|URL": "show another picture with the next question; earlier ones stay in memory",
    "/lang CODE": "language of the answers; without a code, those that there are",
    "/experts": "draw the routing of each answer, or stop doing so",
    "/system TEXT": "what the model is told before all turns; without a text, nothing",
    "/retry": "another answer to the last question",
    "/reset": "forget what was said; the picture stays",
    "/save FILE": "the conversation as .json or .md",
    "/help": "this",
    "/quit": "leave, as Ctrl-D does",
}

_ALONE = frozenset(usage for usage in _HELP if " " not in usage)


class Commands:
    """The commands of a session."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._known: dict[str, Callable[[str], None]] = {
            "/image": self._image,
            "/lang": self._lang,
            "/experts": self._experts,
            "/system": self._system,
            "/retry": self._retry,
            "/reset": self._reset,
            "/save": self._save,
            "/help": self._help,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """All commands, for completion."""
        return (*self._known, "/quit")

    def recognises(self, text: str) -> bool:
        """Whether a line is meant as a command: one word after the slash, and not a path."""
        first = text.split(maxsplit=1)[0]
        return first.startswith("/") and "/" not in first[1:]

    def run(self, text: str) -> bool:
        """Runs a command and returns whether the conversation goes on.

        Raises:
            UsageError: for a command that there is not, with the nearest.
            ParrotError: as the command has it.
        """
        name, *rest = text.split(maxsplit=1)
        argument = "".join(rest)
        if name in ("/quit", "/exit"):
            return False
        if name not in self._known:
            near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)
            did = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(f"no command {name}", hint=f"{did}/help lists them.")
        if argument and name in _ALONE:
            raise UsageError(f"{name} takes nothing after it", hint="/help lists the commands.")
        self._known[name](argument)
        return True

    def _image(self, source: str) -> None:
        session = self._session
        if source == STDIN:
            raise UsageError("stdin is where questions come from", hint="Give a path or a URL.")
        if not source:
            raise UsageError("/image needs a picture", hint="/image PATH, or /image URL.")
        name, picture = load_picture(_unquoted(source), session.limits)
        session.dialogue.show(picture, name=name)
        session.present_picture()

    def _lang(self, code: str) -> None:
        if code:
            self._session.settings.language = get_language(code).code
            self._session.hint(f"answers in {LANGUAGES[self._session.settings.language].name}")
        else:
            known = ", ".join(f"{code} {row.native_name}" for code, row in LANGUAGES.items())
            self._session.hint(known)

    def _experts(self, _: str) -> None:
        session = self._session
        session.check_experts()
        session.settings.experts = not session.settings.experts
        if not session.settings.experts:
            session.hint("routing is not drawn any more")
        elif session.dialogue.turns and session.dialogue.turns[-1].routing:
            session.draw_routing(session.dialogue.turns[-1].routing[-1])
        else:
            session.hint("routing is drawn with each answer about a picture")

    def _system(self, text: str) -> None:
        self._session.dialogue.system = text
        self._session.hint("told before all turns" if text else "nothing is told before all turns")

    def _retry(self, _: str) -> None:
        dialogue = self._session.dialogue
        waiting = dialogue.waiting
        turn = dialogue.take_back()
        if turn is None:
            raise UsageError("nothing to retry yet", hint="Ask something first.")
        same = turn.language == self._session.settings.language and not turn.interrupted
        kept = len(dialogue.turns)
        try:
            self._session.answer(turn.question, again=same)
        finally:
            if len(dialogue.turns) == kept:  # no new answer came: the old one stays
                dialogue.turns.append(turn)
                dialogue.waiting = waiting

    def _reset(self, _: str) -> None:
        self._session.dialogue.reset()
        self._session.hint("forgotten; the picture is shown again with the next question")

    def _save(self, name: str) -> None:
        if not name:
            raise UsageError("/save needs a file", hint="/save talk.json, or /save talk.md.")
        path = Path(_unquoted(name)).expanduser()
        save_transcript(self._session.dialogue, path, model=self._session.name)
        self._session.hint(f"wrote {path}")

    def _help(self, _: str) -> None:
        width = max(map(len, _HELP))
        for usage, meaning in _HELP.items():
            self._session.hint(f"{usage:<{width}}  {meaning}")
        self._session.hint(
            "Alt+Enter, or \\ at a line's end, begins a new line; ↑ ↓ earlier lines."
        )


def _unquoted(name: str) -> str:
    """A name as terminals write it when a file is dropped on them."""
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        return name[1:-1]
    return name.replace("\\ ", " ")
