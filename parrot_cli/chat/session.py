"""A conversation in the terminal: questions, answers as they come, and commands."""

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_toolkit.utils import is_dumb_terminal
from rich.console import Console

from parrot_cli.chat.commands import Commands
from parrot_cli.chat.reading import (
    PROMPT,
    keys_unseen,
    questions_from_stdin,
    questions_from_terminal,
)
from parrot_cli.chat.right_to_left import AnswerWriter, arrange_lines, terminal_arranges
from parrot_cli.chat.routing_bar import routing_bar
from parrot_cli.chat.thumbnails import thumbnail
from parrot_cli.output import print_error, printable
from parrot_core.errors import ParrotError, UsageError
from parrot_core.generation import Dialogue, Prompt, Row, Sampling, decode, encode_prompt
from parrot_core.generation.conversations import written_in
from parrot_core.languages import LANGUAGES
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

if TYPE_CHECKING:
    from parrot_core.data.remote_images import FetchLimits

_ANOTHER_TRY = 0.7  # temperature of /retry, where the same question would get the same answer


@dataclass(kw_only=True, slots=True)
class Settings:
    """What the user can change while talking.

    Attributes:
        language: Code of the language of the answers.
        temperature: Of the choice of words; 0 takes the most probable.
        seed: Of the draws; None draws one.
        max_tokens: Longest answer.
        experts: Whether each answer's routing is drawn.
        right_to_left: `auto`, `terminal` or `arrange`.
    """

    language: str
    temperature: float = 0.0
    seed: int | None = None
    max_tokens: int = 512
    experts: bool = False
    right_to_left: str = "auto"


class _WrittenAnswer(Row):
    """An answer that is written as it comes, in the thread that generates it.

    Ctrl-C therefore stops it at once, wherever the generation is.
    """

    def __init__(
        self,
        prompt: Prompt,
        *,
        writer: AnswerWriter | None,
        max_new_tokens: int,
        sampling: Sampling,
    ) -> None:
        super().__init__(prompt, max_new_tokens=max_new_tokens, sampling=sampling)
        self._writer = writer

    def on_text(self, piece: str) -> None:
        """Writes a piece, before the next token is begun."""
        if self._writer is not None:
            self._writer.write(piece)


class Session:
    """A model, what was said so far, and how it is shown.

    Args:
        parts: The model and its processor.
        settings: To begin with.
        name: The checkpoint's.
        limits: For pictures from web addresses.
        protocol: How the terminal shows pictures; None if it does not.
    """

    def __init__(
        self,
        parts: tuple[ParrotForConditionalGeneration, ParrotProcessor],
        settings: Settings,
        *,
        name: str,
        limits: "FetchLimits",
        protocol: str | None = None,
    ) -> None:
        self.settings = settings
        self.name = name
        self.limits = limits
        self.dialogue = Dialogue()
        self._parts = parts
        self._protocol = protocol
        self._names: tuple[str | None, ...] | None = None
        self._side = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())

    def check_experts(self) -> None:
        """Refuses to draw the routing of a model that routes nothing.

        Raises:
            UsageError: if the model has no experts.
        """
        model = self._parts[0]
        if model.experts is None or not model.config.experts_enabled:
            raise UsageError(
                "this checkpoint has no experts", hint="Stage 1 and models like LLaVA have none."
            )

    def answer(self, question: str, *, quiet: bool = False, again: bool = False) -> Row:
        """Asks the model and writes its answer to stdout as it comes.

        Args:
            question: In any language.
            quiet: Whether nothing is written, for callers who print the answer themselves.
            again: Whether the same was asked before and another answer is wanted.

        Raises:
            KeyboardInterrupt: after what came so far is kept, if the user stops it.
            ParrotError: if the question cannot be put; nothing is kept of it.
        """
        settings = self.settings
        warm = settings.temperature or (_ANOTHER_TRY if again else 0.0)
        writer = None if quiet else self._writer()
        asked = self.dialogue.put(question, language=settings.language)
        live = _WrittenAnswer(
            encode_prompt(*self._parts, asked),
            writer=writer,
            max_new_tokens=settings.max_tokens,
            sampling=Sampling(temperature=warm, seed=None if again else settings.seed),
        )
        interrupted = False
        try:
            with keys_unseen():
                decode(*self._parts, [live])
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if writer is not None:
                writer.end()
            if interrupted or live.ended is not None:
                self.dialogue.keep(
                    question,
                    language=settings.language,
                    answer=live.text,
                    routing=live.routing,
                    interrupted=interrupted,
                )
        self._remark(live, quiet=quiet)
        return live

    def converse(self, *, from_terminal: bool) -> None:
        """Answers until the user leaves; mistakes are said and nothing is lost by them."""
        commands = Commands(self)
        if from_terminal:
            self.hint("Ask, or /help. Alt+Enter begins a new line, Ctrl-C stops an answer.")
            self.present_picture()
            questions = questions_from_terminal(
                commands.names, status=self._status, remind=self.hint
            )
        else:
            questions = questions_from_stdin()
        for text in questions:
            if from_terminal and not is_dumb_terminal():  # which cannot erase what was entered
                self._echo(text)
            try:
                if commands.recognises(text):
                    if not commands.run(text):
                        return
                else:
                    self.answer(text)
            except KeyboardInterrupt:
                if not from_terminal:
                    raise
                kept = self.dialogue.turns and self.dialogue.turns[-1].interrupted
                self.hint(
                    "stopped; what was said so far is remembered"
                    if kept and self.dialogue.turns[-1].question == text
                    else "stopped"
                )
            except ParrotError as error:
                print_error(error.problem, hint=error.hint)

    def hint(self, text: str) -> None:
        """Says something about the conversation, dimly, on stderr."""
        self._side.print(printable(text), style="dim", markup=False)

    def present_picture(self) -> None:
        """Shows the picture that the next question shows, where the terminal can; and its size."""
        for name, picture in self.dialogue.waiting:
            if self._protocol is not None:
                sys.stdout.write(thumbnail(picture, self._protocol) + "\n")
                sys.stdout.flush()
            self.hint(f"{name}, {picture.width} × {picture.height} pixels")

    def draw_routing(self, weights: "tuple[float, ...]") -> None:
        """Draws a routing as a bar on stderr."""
        if self._names is None:
            self._names = self._find_names()
        self._side.print(routing_bar(weights, self._names, width=self._side.width))

    def _echo(self, text: str) -> None:
        """Shows what was entered, apart from what was before, its letters in order."""
        shown = arrange_lines(printable(text)) if self._arranges else printable(text)
        indented = shown.replace("\n", f"\n{' ' * len(PROMPT)}")
        self._side.print(f"\n{PROMPT}{indented}", style="bold", markup=False)

    @property
    def _arranges(self) -> bool:
        """Whether right-to-left text in the terminal is put in order by this program."""
        mode = self.settings.right_to_left
        return mode == "arrange" or (mode == "auto" and not terminal_arranges())

    def _find_names(self) -> tuple[str | None, ...]:
        from parrot_core.serving.expert_names import find_expert_names

        shown = [picture for turn in self.dialogue.turns for _, picture in turn.images]
        shown += [picture for _, picture in self.dialogue.waiting]
        return find_expert_names(*self._parts, shown[-1] if shown else None)

    def _writer(self) -> AnswerWriter:
        return AnswerWriter(
            sys.stdout,
            arranges=self._arranges and sys.stdout.isatty(),
            width=lambda: shutil.get_terminal_size().columns,
        )

    def _remark(self, live: Row, *, quiet: bool) -> None:
        """Says what is not as it should be with an answer, and draws its routing if wanted."""
        wanted = self.settings.language
        spoken = written_in(live.text, wanted)
        if not live.text:
            self.hint("the model had nothing to say; the question is not remembered")
        elif spoken not in (None, wanted):
            self.hint(f"answered in {LANGUAGES[str(spoken)].name}, not {LANGUAGES[wanted].name}")
        if live.ended == "length":
            self.hint("cut off at its longest; --max-tokens or a new conversation gives more room")
        if self.settings.experts and not quiet and live.routing:
            self.draw_routing(live.routing[-1])

    def _status(self) -> str:
        """One line about what the next question meets."""
        shown = self.dialogue.waiting or tuple(
            image for turn in self.dialogue.turns for image in turn.images
        )
        picture = shown[-1][0] if shown else "no picture"
        turns = len(self.dialogue.turns)
        return (
            f" {LANGUAGES[self.settings.language].name} · {picture} · "
            f"{turns} {'answer' if turns == 1 else 'answers'} · {self.name} "
        )
