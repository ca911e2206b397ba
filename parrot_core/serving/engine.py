"""Simultaneous requests answered together: one thread runs the model, a batch at a time."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from parrot_core.errors import ParrotError
from parrot_core.generation import Conversation, Prompt, Row, Sampling, decode, encode_prompt
from parrot_core.model import ParrotForConditionalGeneration, ParrotProcessor

_log = logging.getLogger(__name__)

_STOPS = "the server stops"
_GATHER_SECONDS = 0.03  # for which a batch waits for requests whose pictures are being prepared


class BusyError(ParrotError):
    """No answer can be given now: more requests are waiting than may, or the server stops."""


class Ticket(Row):
    """A request's answer, heard of in an event loop while another thread makes it.

    Args:
        prompt: As for `Row`.
        max_new_tokens: As for `Row`.
        sampling: As for `Row`.
        stop: As for `Row`.
        on_finish: Called once, just before the client hears of the end.

    Attributes:
        events: Pieces of the text; an empty one when the routing is known; None at the end; an
            exception where the answer failed.
    """

    def __init__(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int,
        sampling: Sampling,
        stop: Sequence[str],
        on_finish: Callable[[], None],
    ) -> None:
        super().__init__(prompt, max_new_tokens=max_new_tokens, sampling=sampling, stop=stop)
        self.events: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._on_finish = on_finish
        self._finished = False

    def on_routing(self, routing: object) -> None:  # noqa: ARG002 - read from the attribute
        """Tells the event loop that the routing is known."""
        self._put("")

    def on_text(self, piece: str) -> None:
        """Hands a piece to the event loop."""
        self._put(piece)

    def on_end(self) -> None:
        """Ends the events, though others of the batch may go on."""
        self.finish()

    def finish(self, failure: BaseException | None = None) -> None:
        """Ends the events, unless they have ended."""
        if not self._finished:
            self._finished = True
            self._on_finish()
            # Where a client hung up, nobody hears of it.
            self._put(BusyError(_STOPS) if failure is None and self.cancelled else failure)

    def _put(self, event: str | BaseException | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)


class Engine:
    """Runs a model for many requests.

    Args:
        parts: The model and its processor.
        batch_size: Requests that are answered together, at most.
        most_waiting: Requests that may wait for their turn beside those.
    """

    def __init__(
        self,
        parts: tuple[ParrotForConditionalGeneration, ParrotProcessor],
        *,
        batch_size: int = 16,
        most_waiting: int = 64,
    ) -> None:
        self._parts = parts
        self._batch_size = batch_size
        self._most = batch_size + most_waiting
        self._waiting: deque[Ticket] = deque()
        self._answering: list[Ticket] = []
        self._changed = threading.Condition()
        self._admitted = 0  # requests from `admit` until their answers end
        self._preparing = 0  # those of them that have no ticket yet
        self._closed = False
        self._encoding = threading.Lock()  # a tokenizer is no place for two threads
        self._thread = threading.Thread(target=self._work, name="parrot-engine", daemon=True)

    @property
    def admitted(self) -> int:
        """Requests that are being prepared, wait, or are answered."""
        return self._admitted

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def close(self) -> None:
        """Ends the work; answers under way are ended at their next token."""
        with self._changed:
            self._closed = True
            for ticket in self._answering:
                ticket.cancel()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def admit(self) -> None:
        """Counts a request in, before anything is spent on it.

        Raises:
            BusyError: if as many are there as may be.
        """
        with self._changed:
            if self._closed:
                raise BusyError(_STOPS)
            if self._admitted >= self._most:
                raise BusyError(f"{self._admitted} requests are being answered or wait")
            self._admitted += 1
            self._preparing += 1

    def withdraw(self) -> None:
        """Counts an admitted request out that comes to nothing."""
        with self._changed:
            self._preparing -= 1
            self._changed.notify_all()
        self.leave()

    def leave(self) -> None:
        """Counts a submitted request out, whose answer has ended; tickets call it."""
        with self._changed:
            self._admitted -= 1

    def encode(self, conversation: Conversation) -> Prompt:
        """Encodes a conversation; from any thread.

        Raises:
            ParrotError: what is wrong with it.
        """
        with self._encoding:
            return encode_prompt(*self._parts, conversation)

    def submit(self, ticket: Ticket) -> None:
        """Queues an admitted request; it counts until its ticket is finished."""
        with self._changed:
            self._preparing -= 1
            if not self._closed:
                self._waiting.append(ticket)
            self._changed.notify_all()
        if self._closed:
            ticket.finish(BusyError(_STOPS))

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            wanted = []
            for ticket in batch:
                if ticket.cancelled:
                    ticket.finish()
                else:
                    wanted.append(ticket)
            if wanted:
                self._answer(wanted)

    def _next_batch(self) -> list[Ticket] | None:
        """Waits for requests; those that come within moments of the first share its batch."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if not self._closed:
                self._changed.wait_for(
                    lambda: (
                        self._closed
                        or not self._preparing
                        or len(self._waiting) >= self._batch_size
                    ),
                    timeout=_GATHER_SECONDS,
                )
            if self._closed:
                for ticket in self._waiting:
                    ticket.finish(BusyError(_STOPS))
                return None
            count = min(self._batch_size, len(self._waiting))
            self._answering = [self._waiting.popleft() for _ in range(count)]
            return self._answering

    def _answer(self, batch: list[Ticket]) -> None:
        """Answers a batch; if it fails before its first word, each of it alone."""
        try:
            decode(*self._parts, batch)
            return
        except Exception as error:  # noqa: BLE001 - told to whoever asked; the server goes on
            if len(batch) == 1 or any(ticket.ids for ticket in batch):
                _log.exception("an answer failed")
                for ticket in batch:
                    ticket.finish(error)
                return
            _log.warning("a batch of %d failed, each is tried alone: %s", len(batch), str(error))
        # Not before the error is gone: it holds what the batch held of the GPU's memory.
        for ticket in batch:
            self._answer([ticket])
