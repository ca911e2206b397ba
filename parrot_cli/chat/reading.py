"""Where questions come from: an editable line in a terminal, or the lines of a pipe."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from parrot_cli.output import note
from parrot_core.errors import UsageError
from parrot_core.languages import LANGUAGES

PROMPT = "> "


def questions_from_stdin() -> Iterator[str]:
    """Yields the lines of stdin that are not empty."""
    for line in sys.stdin:
        if line.strip():
            yield line.strip()


def questions_from_terminal(
    commands: Sequence[str], *, status: Callable[[], str], remind: Callable[[str], None]
) -> Iterator[str]:
    """Yields what the user enters, until Ctrl-D; with editing, history and completion.

    What was entered is erased, so that whoever reads it can show it again as it should look.

    Args:
        commands: What Tab completes.
        status: What the line at the bottom says, asked anew for each question.
        remind: Told what to do, where Ctrl-C cleared a line.

    Raises:
        UsageError: if there is no terminal to ask in.
    """
    source = create_input(always_prefer_tty=True)
    if not os.isatty(source.fileno()):
        raise UsageError("no terminal to ask questions in", hint="Give questions with --prompt.")
    prompt: PromptSession[str] = PromptSession(
        f"\n{PROMPT}",
        multiline=True,
        prompt_continuation=" " * len(PROMPT),
        erase_when_done=True,
        key_bindings=_keys(),
        history=earlier_lines(),
        completer=LineCompleter(commands),
        complete_while_typing=False,
        bottom_toolbar=status,
        input=source,
    )
    while True:
        try:
            text = prompt.prompt().strip()
        except KeyboardInterrupt:
            remind("Ctrl-D or /quit leaves")
            continue
        except EOFError:
            return
        if text:
            yield text


def _keys() -> KeyBindings:
    """Enter sends; Alt+Enter, or a backslash before Enter, begins a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def earlier_lines() -> History:
    """Earlier lines, kept for the user alone; those of this session where they cannot be."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    path = Path(base) / "parrot" / "chat-history"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        note(f"earlier questions cannot be kept: {error}")
        return InMemoryHistory()
    return FileHistory(path)


@contextmanager
def keys_unseen() -> Iterator[None]:
    """Keeps what is typed, `^C` too, out of the answer that is being written; it is not lost."""
    try:
        import termios
    except ImportError:  # not a POSIX system
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    unseen = list(before)
    unseen[3] &= ~termios.ECHO
    termios.tcsetattr(keyboard, termios.TCSANOW, unseen)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


class LineCompleter(Completer):
    """Completes commands, codes of languages and paths of pictures."""

    def __init__(self, commands: Sequence[str]) -> None:
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        """Yields what the word before the cursor may become."""
        command, space, argument = document.text_before_cursor.partition(" ")
        if command == "/image" and space:
            yield from self._paths.get_completions(Document(argument), event)
            return
        words: Iterable[str] = ()
        if not space:
            words, argument = self._commands, command
        elif command == "/lang":
            words = LANGUAGES
        for word in words:
            if (argument or space) and word.startswith(argument):
                yield Completion(word, start_position=-len(argument))
