"""A conversation with memory: what the model is shown again with each question."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from parrot_core.data.collate import Messages
from parrot_core.data.samples import IMAGE_PLACEHOLDER
from parrot_core.errors import UsageError
from parrot_core.generation.conversations import Conversation, ask

Weights = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A question that was answered.

    Attributes:
        question: As the user put it.
        language: Code of the language that was asked for.
        answer: What the model said; where it was stopped, as far as it came.
        images: Pictures that this question was the first to show, with their names.
        routing: P of equation 3 for each picture of the conversation so far, float[M][E].
        interrupted: Whether the user stopped the answer.
    """

    question: str
    language: str
    answer: str
    images: tuple[tuple[str, Image.Image], ...] = ()
    routing: tuple[Weights, ...] | None = None
    interrupted: bool = False


@dataclass(kw_only=True)
class Dialogue:
    """Turns so far, and the picture that the next question shows.

    Attributes:
        system: What the model is told before all turns; empty is nothing.
        turns: Answered questions, oldest first.
        waiting: Pictures that the next question shows, with their names.
    """

    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    waiting: tuple[tuple[str, Image.Image], ...] = ()

    def show(self, picture: Image.Image, *, name: str) -> None:
        """Puts a picture before the model, with the next question; earlier ones stay in memory."""
        self.waiting = ((name, picture),)

    def put(self, question: str, *, language: str) -> Conversation:
        """Returns the whole conversation with a new question at its end; keeps nothing yet.

        Raises:
            UsageError: if what stands for a picture is in the words.
        """
        if IMAGE_PLACEHOLDER in question or IMAGE_PLACEHOLDER in self.system:
            raise UsageError(
                f"{IMAGE_PLACEHOLDER} stands for a picture and is no ordinary text",
                hint="Leave it out: the model is shown the picture by itself.",
            )
        history: Messages = []
        if self.system:
            history.append({"role": "system", "content": self.system})
        seen: list[Image.Image] = []
        for turn in self.turns:
            shown = [picture for _, picture in turn.images]
            history += ask(turn.question, images=shown, language=turn.language).messages
            history.append({"role": "assistant", "content": turn.answer})
            seen += shown
        new = [picture for _, picture in self.waiting]
        asked = ask(question, images=new, language=language, history=history)
        return Conversation(messages=asked.messages, images=(*seen, *new))

    def keep(
        self,
        question: str,
        *,
        language: str,
        answer: str,
        routing: Sequence[Weights] | None,
        interrupted: bool = False,
    ) -> None:
        """Remembers a question with its answer; without a word of answer there is nothing to."""
        if not answer:
            return
        self.turns.append(
            Turn(
                question=question,
                language=language,
                answer=answer,
                images=self.waiting,
                routing=None if routing is None else tuple(routing),
                interrupted=interrupted,
            )
        )
        self.waiting = ()

    def take_back(self) -> Turn | None:
        """Forgets the last turn and returns it; its pictures wait for the next question again.

        A picture that was put before the model since stays the one that is shown.
        """
        if not self.turns:
            return None
        turn = self.turns.pop()
        self.waiting = self.waiting or turn.images
        return turn

    def reset(self) -> None:
        """Forgets all turns; the newest picture is shown again with the next question."""
        shown = [image for turn in self.turns for image in turn.images]
        if shown and not self.waiting:
            self.waiting = (shown[-1],)
        self.turns.clear()
