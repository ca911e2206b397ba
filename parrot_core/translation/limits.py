"""Limits on how fast and how much is asked: concurrency, rates, pauses, and money."""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable

_BACKOFF_FIRST = 0.5  # seconds
_BACKOFF_MOST = 16.0


class StoppedError(Exception):
    """Nothing new is to be sent: the run is ending."""


class LimitReachedError(Exception):
    """A cap of the user's would be broken by the next call."""


class Pace:
    """Lets calls start no faster than a rate, and none during a pause that the server asked for.

    Args:
        per_minute: Units (requests or tokens) a minute; None is no limit.
        clock: Seconds that only grow.
    """

    def __init__(
        self, per_minute: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts with a second's worth of units at hand."""
        self._rate = None if per_minute is None else per_minute / 60
        self._clock = clock
        self._free_at = clock()

    def delay(self, units: float = 1) -> float:
        """Books units and returns the seconds to wait before using them.

        At most a second's worth is used at once after a quiet time, so that no minute holds more
        than its share.
        """
        if self._rate is None:
            return 0.0
        now = self._clock()
        start = max(self._free_at, now - 1.0)
        self._free_at = start + units / self._rate
        return max(0.0, start - now)


class Gate:
    """What every call passes before it is sent.

    Args:
        concurrency: Calls under way at once.
        requests_per_minute: Limit, or None.
        tokens_per_minute: Limit on estimated tokens of questions and answers, or None.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts open."""
        self._slots = asyncio.Semaphore(concurrency)
        self._requests = Pace(requests_per_minute, clock=clock)
        self._tokens = Pace(tokens_per_minute, clock=clock)
        self._clock = clock
        self._closed_until = clock()
        self._stopping = asyncio.Event()
        self.in_flight = 0

    @property
    def stopping(self) -> bool:
        """Whether nothing new is to be sent."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Lets nobody pass any more, and wakes all who wait."""
        self._stopping.set()

    async def wait(self, seconds: float) -> None:
        """Sleeps, but not beyond `stop`."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def enter(self, tokens: int) -> None:
        """Waits for a free slot, the rates, and the end of any pause.

        Raises:
            StoppedError: if nothing new is to be sent.
        """
        await self._slots.acquire()
        try:
            await self.wait(max(self._requests.delay(), self._tokens.delay(tokens)))
            while (pause := self._closed_until - self._clock()) > 0 and not self.stopping:
                await self.wait(pause)
            if self.stopping:
                raise StoppedError
        except BaseException:
            self._slots.release()
            raise
        self.in_flight += 1

    def leave(self) -> None:
        """Frees the slot."""
        self.in_flight -= 1
        self._slots.release()

    def pause(self, seconds: float) -> None:
        """Lets nobody pass for some seconds."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)


class Budget:
    """Hard caps: no call is made whose worst case would break one.

    Args:
        max_cost: Billionths of a dollar for the whole job, or None.
        spent: What the job has cost already.
        max_requests: Requests of this run, or None.
    """

    def __init__(
        self, *, max_cost: int | None = None, spent: int = 0, max_requests: int | None = None
    ) -> None:
        """Starts with what was spent before."""
        self.max_cost = max_cost
        self.spent = spent
        self.max_requests = max_requests
        self.requests = 0
        self._reserved = 0
        self._excess = 1.0  # what calls cost, at most, over what their worker knew
        self._under_way = 0
        self._settled = asyncio.Event()

    async def reserve(self, ceiling: int) -> int:
        """Sets aside the most that a call can cost, and returns how much that is.

        Where what other calls have set aside leaves too little, it waits for them: they mostly cost
        less in the end.

        Args:
            ceiling: The most it can cost, as far as the worker knows. Where a call has cost more
                than that, more is set aside from then on.

        Raises:
            LimitReachedError: if more is wanted than is left.
        """
        while True:
            if self.max_requests is not None and self.requests >= self.max_requests:
                raise LimitReachedError(f"the cap of {self.max_requests:,} requests is reached")
            most = math.ceil(ceiling * self._excess)
            if self.max_cost is None or self.spent + self._reserved + most <= self.max_cost:
                break
            if not self._under_way:
                raise LimitReachedError("the next request could exceed the cap on costs")
            self._settled.clear()
            await self._settled.wait()
        self.requests += 1
        self._reserved += most
        self._under_way += 1
        return most

    def settle(self, reserved: int, cost: int) -> None:
        """Replaces what was set aside by what it cost."""
        if reserved and cost > reserved:
            self._excess *= cost / reserved
        self._reserved -= reserved
        self.spent += cost
        self._under_way -= 1
        self._settled.set()


def backoff(tries: int, *, chance: random.Random) -> float:
    """Returns the seconds to wait after the given number of failures: doubled, half of it drawn.

    The draw keeps calls that failed together from coming back together.
    """
    whole: float = min(_BACKOFF_MOST, _BACKOFF_FIRST * 2.0**tries)
    return whole * (0.5 + 0.5 * chance.random())
