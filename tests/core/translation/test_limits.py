import asyncio
import random
from email.utils import formatdate
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrot_core.errors import MissingError, UsageError
from parrot_core.translation.chat_api import ChatWorker, Endpoint, _retry_after
from parrot_core.translation.costs import Price, estimate_tokens, list_price, parse_price
from parrot_core.translation.limits import (
    Budget,
    Gate,
    LimitReachedError,
    Pace,
    StoppedError,
    backoff,
)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=40), st.integers(1, 600))
def test_no_minute_holds_more_than_its_share(steps, per_minute):
    now = [0.0]
    pace = Pace(per_minute, clock=lambda: now[0])
    starts = []
    for pause, units in steps:
        now[0] += pause
        starts.append((now[0] + pace.delay(units), units))
    for first, _ in starts:
        inside = [units for at, units in starts if first <= at < first + 60]
        # The last to start may reach beyond the minute; a second's worth may have been saved.
        assert sum(inside[:-1]) <= per_minute * 61 / 60 + 1e-6


def test_a_budget_never_lets_the_worst_case_break_a_cap():
    async def run() -> None:
        budget = Budget(max_cost=100, spent=30)
        assert await budget.reserve(40) == 40
        waiting = asyncio.create_task(budget.reserve(40))
        await asyncio.sleep(0)
        assert not waiting.done()  # what is under way may leave enough
        budget.settle(40, 10)
        assert await waiting == 40
        assert (budget.spent, budget.requests) == (40, 2)
        budget.settle(40, 40)
        with pytest.raises(LimitReachedError, match="cap on costs"):
            await budget.reserve(40)

    asyncio.run(run())


def test_a_budget_learns_that_a_service_counts_more_than_it_should():
    async def run() -> None:
        budget = Budget(max_cost=100)
        budget.settle(await budget.reserve(10), 20)
        assert await budget.reserve(10) == 20

    asyncio.run(run())


def test_a_call_is_not_made_if_the_cap_on_requests_is_reached_meanwhile():
    async def run() -> None:
        budget = Budget(max_requests=1)
        await budget.reserve(0)
        with pytest.raises(LimitReachedError, match="cap of 1 requests"):
            await budget.reserve(0)

    asyncio.run(run())


def test_a_stopped_gate_lets_nobody_pass_however_long_they_would_wait():
    async def run():
        gate = Gate(concurrency=1, requests_per_minute=1)
        await gate.enter(1)
        gate.leave()
        waiting = asyncio.create_task(gate.enter(1))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        gate.stop()
        with pytest.raises(StoppedError):
            await asyncio.wait_for(waiting, 1)
        assert gate.in_flight == 0

    asyncio.run(run())


def test_backoff_doubles_is_spread_and_bounded():
    chance = random.Random(0)
    for tries in range(12):
        delay = backoff(tries, chance=chance)
        assert min(16, 0.5 * 2**tries) / 2 <= delay <= min(16, 0.5 * 2**tries)


def test_retry_after_is_seconds_milliseconds_or_a_date():
    assert _retry_after({"Retry-After": "1.5"}) == 1.5
    assert _retry_after({"retry-after-ms": "250"}) == 0.25
    assert _retry_after({"Retry-After": formatdate(time() + 30, usegmt=True)}) == pytest.approx(
        30, abs=2
    )
    for nothing in ("soon", "-1", "²", "1e3", "nan", "Wed, 99 Nov 2026 00:00:00 GMT"):
        assert _retry_after({"Retry-After": nothing}) is None
    assert _retry_after({}) is None


def test_prices_are_whole_billionths_and_known_for_dated_releases():
    assert Price(prompt=2.5, completion=10).cost(100, 20) == 450_000
    assert list_price("gpt-4o-2024-08-06") == list_price("gpt-4o") != list_price("gpt-4")
    assert list_price("openai/gpt-4o") == list_price("gpt-4o")
    assert list_price("my-own-model") is None
    assert parse_price("1,2.5") == Price(prompt=1, completion=2.5)
    for text in ("1", "a,b", "-1,2", "nan,1"):
        with pytest.raises(UsageError, match="no price"):
            parse_price(text)


def test_tokens_are_estimated_rather_high_in_every_script():
    assert 10 <= estimate_tokens("The picture shows a small house beside a tree.") <= 20
    assert estimate_tokens("一座小房子") >= 5
    assert estimate_tokens("красный дом") >= 4


def test_addresses_are_completed_and_secrets_in_them_refused():
    assert Endpoint(base_url="http://h:1").url == "http://h:1/v1/chat/completions"
    assert Endpoint(base_url="http://h/api/v3/").url == "http://h/api/v3/chat/completions"
    for wrong in ("localhost:8000", "http://h:99999/v1", "http://[::1/v1", "http:///v1", ""):
        with pytest.raises(UsageError, match="no URL"):
            _ = Endpoint(base_url=wrong).url
    for secret in ("me:secret@h/v1", "https://me:secret@h/v1", "https://secret@h/v1"):
        with pytest.raises(UsageError, match="name or password") as caught:
            _ = Endpoint(base_url=secret).url
        assert "secret" not in caught.value.problem
    with pytest.raises(MissingError, match="no key"):
        ChatWorker(Endpoint())
