"""One answer while it is being generated, to be read piece by piece and stopped at any time."""

from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Thread

from parrot_core.generation.conversations import Conversation
from parrot_core.generation.decoding import GREEDY, Row, Sampling, Weights, decode
from parrot_core.generation.prompts import Prompt, encode_prompt
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

_READING_SECONDS = 0.02  # for which a first piece waits for its reader


class _QueuedRow(Row):
    """A row whose pieces wait for their reader; None is the last."""

    def __init__(
        self, prompt: Prompt, *, max_new_tokens: int, sampling: Sampling, stop: Sequence[str]
    ) -> None:
        super().__init__(prompt, max_new_tokens=max_new_tokens, sampling=sampling, stop=stop)
        self.pieces: SimpleQueue[str | None] = SimpleQueue()
        self.read = Event()  # set when the first has been taken

    def on_text(self, piece: str) -> None:
        self.pieces.put(piece)
        # Lets the reader of the first go first: Python would give it its turn 5 ms later.
        self.read.wait(_READING_SECONDS)


class LiveAnswer:
    """An answer under way; iterating yields its pieces and ends with it.

    Whoever stops iterating, by an error or Ctrl-C too, stops the generation within a token.
    """

    def __init__(
        self,
        model: ParrotForConditionalGeneration,
        processor: ParrotProcessor,
        prompt: Prompt,
        *,
        max_new_tokens: int,
        sampling: Sampling,
        stop: Sequence[str] = (),
    ) -> None:
        self._parts = model, processor
        self._row = _QueuedRow(prompt, max_new_tokens=max_new_tokens, sampling=sampling, stop=stop)
        self._failure: BaseException | None = None

    @property
    def text(self) -> str:
        """What has been said so far."""
        return self._row.text

    @property
    def routing(self) -> tuple[Weights, ...] | None:
        """P of equation 3 for each image, float[M][E]; known with the first piece."""
        return self._row.routing

    @property
    def ended(self) -> str | None:
        """Why the answer ended: `stop`, `length` or `cancelled`; None while it goes on."""
        return self._row.ended

    def __iter__(self) -> Iterator[str]:
        """Yields pieces; an error of the generation is raised here, after the last piece."""
        worker = Thread(target=self._generate, name="parrot-answer", daemon=True)
        worker.start()
        try:
            while (piece := self._row.pieces.get()) is not None:
                self._row.read.set()
                yield piece
        finally:
            self._row.cancel()
            worker.join()
        if self._failure is not None:
            raise self._failure

    def _generate(self) -> None:
        try:
            decode(*self._parts, [self._row])
        except BaseException as error:  # noqa: BLE001 - handed to the reader's thread
            self._failure = error
        finally:
            self._row.pieces.put(None)


def stream(
    model: ParrotForConditionalGeneration,
    processor: ParrotProcessor,
    conversation: Conversation,
    *,
    max_new_tokens: int = 512,
    sampling: Sampling = GREEDY,
) -> LiveAnswer:
    """Begins the answer to one conversation; iterate to get its pieces as they are generated.

    Raises:
        PromptTooLongError: if the conversation leaves no room for an answer.
    """
    prompt = encode_prompt(model, processor, conversation)
    return LiveAnswer(model, processor, prompt, max_new_tokens=max_new_tokens, sampling=sampling)
