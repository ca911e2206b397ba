"""Calls as they are really made: from the journal if possible, else asked until an answer comes."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from parrot_core.errors import ParrotError, RemoteError
from parrot_core.translation.costs import estimate_tokens
from parrot_core.translation.journal import Journal
from parrot_core.translation.limits import Budget, Gate, LimitReachedError, StoppedError, backoff
from parrot_core.translation.workers import (
    Answer,
    Call,
    RejectedError,
    TransientError,
    UnusableError,
    Worker,
)

TRANSIENT_TRIES = 12
"""Times a call fails before its segment is left to the next run."""
UNUSABLE_TRIES = 8
"""Empty, refused or truncated answers to a call before the model is taken at its word."""

# Likewise while the service has answered nothing at all: most likely it will not soon.
_FIRST_TRIES = 6
_UNREACHABLE_TRIES = 4
_LONGEST_WAIT = 600.0  # seconds; a service that asks for more ends the run
_LOST_IN_A_ROW = 3  # calls given up without any success between them end the run
_REJECTED_AT_FIRST = 5  # likewise for calls that the service will not take
_BUSY_IN_A_ROW = 3  # so many 429 without a success between them hold all calls back


class UnansweredError(Exception):
    """A call that got no answer in this run; the next run asks again.

    Attributes:
        reason: What failures are counted by.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keeps the reason."""
        super().__init__(message)
        self.reason = reason


class Caller:
    """Makes calls; each is answered once, however many want its answer and however often.

    Args:
        worker: Who answers.
        journal: Where answers are kept.
        gate: Concurrency and rates.
        budget: Caps.
    """

    def __init__(self, worker: Worker, *, journal: Journal, gate: Gate, budget: Budget) -> None:
        """Starts without a call under way."""
        self.worker = worker
        self._journal = journal
        self._gate = gate
        self._budget = budget
        self._under_way: dict[str, asyncio.Future[Answer]] = {}
        self._chance = random.Random()
        self._successes = 0
        self._lost_in_a_row = 0
        self._busy_in_a_row = 0
        self._rejections = 0
        self.failures: Counter[str] = Counter()
        self.end: ParrotError | LimitReachedError | None = None

    @property
    def answered(self) -> int:
        """Answers got in this run."""
        return self._successes

    async def get(self, call: Call, *, judge: Callable[[str], str | None]) -> Answer:
        """Returns the answer to a call, from the journal or from the worker.

        Args:
            call: The call.
            judge: Says why a text is no answer at all (`refused`, …), or None if it is one.

        Raises:
            UnusableError: if the worker gives no usable answer, asked `UNUSABLE_TRIES` times.
            UnansweredError: if the service gives none.
            StoppedError: if the run is ending; `end` says why, where it is an error.
        """
        key = call.key()
        found = self._journal.answer(key)
        if found is not None:
            return found
        under_way = self._under_way.get(key)
        if under_way is not None:
            return await asyncio.shield(under_way)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._under_way[key] = future
        try:
            answer = await self._ask(call, judge)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)
                future.exception()  # seen: nobody else may be waiting for it
            raise
        else:
            future.set_result(answer)
            return answer
        finally:
            del self._under_way[key]

    @property
    def stopping(self) -> bool:
        """Whether nothing new is sent."""
        return self._gate.stopping

    def stop(self, error: ParrotError | LimitReachedError | None = None) -> None:
        """Sends nothing more; what is under way still comes to its end."""
        if self.end is None:
            self.end = error
        self._gate.stop()

    async def _ask(self, call: Call, judge: Callable[[str], str | None]) -> Answer:
        """Sends a call until it is answered, refused for good, or tried too often."""
        sent = failed = unusable = 0
        others = self._successes
        while True:
            try:
                answer = await self._send(call, unusable, judge)
            except UnusableError as error:
                unusable += 1
                self.failures[error.reason] += 1
                await self._journal.add_failure(call, error.reason, answer=error.answer)
                if unusable >= UNUSABLE_TRIES:
                    raise
                if error.reason != "truncated":  # that is asked again with more room, at once
                    await self._gate.wait(backoff(min(unusable - 1, 3), chance=self._chance) / 4)
            except TransientError as error:
                sent += 1
                # To be told to come back later while others are served is no failure.
                failed = 0 if error.busy and self._successes > others else failed + 1
                others = self._successes
                self.failures[error.reason] += 1
                # What may be charged though it never came counts as its worst case.
                lost = Answer(text="", cost=self.worker.ceiling(call, tries=unusable))
                await self._journal.add_failure(
                    call, error.reason, answer=lost if error.lost else None
                )
                await self._wait_or_give_up(error, sent=sent, failed=failed)
            except RejectedError as error:
                self.failures[error.reason] += 1
                self._rejections += 1
                await self._journal.add_failure(call, error.reason)
                if not self._successes and self._rejections >= _REJECTED_AT_FIRST:
                    self.stop(
                        RemoteError(
                            str(error),
                            hint="It takes no request so far: see --parameters and --token-limit.",
                        )
                    )
                raise UnansweredError(error.reason, str(error)) from error
            except (ParrotError, LimitReachedError) as error:
                self.stop(error)
                raise StoppedError from error
            else:
                return answer

    async def _send(self, call: Call, tries: int, judge: Callable[[str], str | None]) -> Answer:
        """Sends a call once, within the limits, and keeps its answer."""
        ceiling = self.worker.ceiling(call, tries=tries) or 0
        tokens = sum(estimate_tokens(message["content"]) for message in call.messages)
        await self._gate.enter(tokens + estimate_tokens(call.text))
        try:
            reserved = await self._budget.reserve(ceiling)
            cost = 0
            try:
                if self.stopping:
                    raise StoppedError
                answer = await self.worker.answer(call, tries=tries)
                cost = answer.cost or 0
            except UnusableError as error:
                cost = error.answer.cost or 0
                raise
            except TransientError as error:
                cost = ceiling if error.lost else 0
                raise
            finally:
                self._budget.settle(reserved, cost)
            self._busy_in_a_row = 0
            reason = judge(answer.text)
            if reason is not None:
                raise UnusableError(reason, answer)
            # The slot is kept until the answer is on disk: whatever happens, no more paid answers
            # can be lost than there are slots.
            await self._journal.add_answer(call, answer)
        finally:
            self._gate.leave()
        self._successes += 1
        self._lost_in_a_row = 0
        return answer

    async def _wait_or_give_up(self, error: TransientError, *, sent: int, failed: int) -> None:
        """Waits as long as the server asks or patience says, unless it was tried too often."""
        nobody_there = error.reason == "unreachable" and not self._successes
        asked = error.retry_after or 0.0
        if failed >= self._patience(error) or asked > _LONGEST_WAIT:
            self._lost_in_a_row += 1
            said = str(error) + (f" (wait {asked:.0f} s)" if asked > _LONGEST_WAIT else "")
            if nobody_there or asked > _LONGEST_WAIT or self._lost_in_a_row >= _LOST_IN_A_ROW:
                self.stop(
                    RemoteError(said, hint="What was answered is kept: run it again to go on.")
                )
            raise UnansweredError(error.reason, said) from error
        # A little later than asked, and not all at the same moment.
        delay = asked * (1 + 0.1 * self._chance.random()) or backoff(sent - 1, chance=self._chance)
        if error.reason == "429":
            self._busy_in_a_row += 1
            if self._busy_in_a_row >= _BUSY_IN_A_ROW:
                self._gate.pause(delay)
        await self._gate.wait(delay)

    def _patience(self, error: TransientError) -> int:
        """Returns how often a call may fail before it is given up."""
        if self._successes or error.busy:
            return TRANSIENT_TRIES
        return _UNREACHABLE_TRIES if error.reason == "unreachable" else _FIRST_TRIES
