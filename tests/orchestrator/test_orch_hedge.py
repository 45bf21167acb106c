"""Hedged calls: hand-worked percentiles and shares, and a straggling search on real gRPC."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from scripted_stack import PATIENCE_S, Stack

from argo.errors import DeadlineExceededError, UnavailableError
from argo.metric import Metrics
from argo.telemetry import Telemetry
from argo.v1 import types_pb2
from orchestrator.hedge import Hedge

QUESTION = "What is E2?"


class Calls:
    """Calls of which the n-th does what the test says; all others reply at once with their number."""

    def __init__(self) -> None:
        self.made = 0
        self.cancelled: list[int] = []
        self.on: dict[int, Any] = {}

    async def send(self, left_s: float) -> int:
        number = self.made
        self.made += 1
        try:
            act = self.on.get(number)
            if isinstance(act, Exception):
                raise act
            if act is not None:
                await act.wait()
            return number
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise


async def warmed(share: float = 0.5) -> tuple[Hedge, Calls, Counter[str]]:
    """A hedge that has measured twenty calls, and may make second ones."""
    ended: Counter[str] = Counter()
    hedge, calls = Hedge(share, lambda outcome: ended.update([outcome])), Calls()
    for number in range(20):
        assert await hedge.call(calls.send, PATIENCE_S) == number
    return hedge, calls, ended


def test_the_delay_is_the_95th_percentile_of_the_latest_two_hundred() -> None:
    hedge = Hedge(0.05)
    hedge._took.extend(n / 100 for n in range(19))
    assert hedge.delay_s() is None
    hedge._took.append(0.19)
    # Of twenty sorted times the nineteenth has 95 % at or below it.
    assert hedge.delay_s() == 0.18
    hedge._took.extend([1.0] * 200)
    assert hedge.delay_s() == 1.0


async def test_a_straggler_is_sent_once_more_the_second_reply_wins_and_the_first_is_cancelled() -> None:
    hedge, calls, ended = await warmed()
    calls.on[20] = asyncio.Event()
    assert await hedge.call(calls.send, PATIENCE_S) == 21
    assert (calls.made, calls.cancelled, ended) == (22, [20], {"second": 1})


async def test_the_first_still_wins_where_its_reply_comes_first() -> None:
    hedge, calls, ended = await warmed()
    calls.on[20], calls.on[21] = asyncio.Event(), asyncio.Event()
    call = asyncio.create_task(hedge.call(calls.send, PATIENCE_S))
    async with asyncio.timeout(PATIENCE_S):
        while calls.made < 22:
            await asyncio.sleep(0)
    calls.on[20].set()
    assert await call == 20
    assert (calls.made, calls.cancelled, ended) == (22, [21], {"first": 1})


async def test_a_second_that_fails_does_not_end_the_first() -> None:
    hedge, calls, ended = await warmed()
    calls.on[20], calls.on[21] = asyncio.Event(), UnavailableError("down")
    call = asyncio.create_task(hedge.call(calls.send, PATIENCE_S))
    async with asyncio.timeout(PATIENCE_S):
        while calls.made < 22:
            await asyncio.sleep(0)
    calls.on[20].set()
    assert await call == 20
    assert ended == {"first": 1}


async def test_a_call_that_fails_before_it_is_late_is_not_made_again() -> None:
    hedge, calls, ended = await warmed()
    hedge._took.extend([60.0] * 200)
    calls.on[20] = DeadlineExceededError("late")
    with pytest.raises(DeadlineExceededError):
        await hedge.call(calls.send, 600)
    assert (calls.made, ended) == (21, {})


async def test_a_caller_that_leaves_cancels_both() -> None:
    hedge, calls, ended = await warmed()
    calls.on[20], calls.on[21] = asyncio.Event(), asyncio.Event()
    call = asyncio.create_task(hedge.call(calls.send, PATIENCE_S))
    async with asyncio.timeout(PATIENCE_S):
        while calls.made < 22:
            await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait({call})
    assert (sorted(calls.cancelled), ended) == ([20, 21], {})


async def test_a_service_that_is_slow_as_a_whole_gets_no_more_than_the_share() -> None:
    hedge, calls, ended = await warmed(share=0.05)
    before = calls.made

    async def slow(left_s: float) -> int:
        calls.made += 1
        await asyncio.sleep(0.002)
        return 0

    for _ in range(100):
        await hedge.call(slow, PATIENCE_S)
    # Twenty calls had saved one second call, a hundred more save five.
    assert sum(ended.values()) <= 6
    assert calls.made - before == 100 + sum(ended.values())


async def test_a_straggling_search_is_hedged_once_and_its_first_call_cancelled(peers: Stack) -> None:
    metrics = Metrics("orchestrator")
    await peers.start_orchestrator(Telemetry(None, metrics=metrics), hedge_searches=True, hedge_share=0.05)
    for n in range(20):
        await peers.answer(f"{QUESTION} {n}", strategy="single_shot")
    assert len(peers.retriever.of("Search")) == 20
    stuck = asyncio.Event()
    first = iter([stuck])

    async def straggle(text: str) -> None:
        if (event := next(first, None)) is not None:
            await event.wait()

    peers.retriever.on_search = straggle
    answer = await peers.answer(QUESTION, strategy="single_shot")
    assert answer.searches == 1
    assert not answer.degradations
    calls = peers.retriever.of("Search")[20:]
    async with asyncio.timeout(PATIENCE_S):
        await calls[0].ended.wait()
    assert [call.cancelled for call in calls] == [True, False]
    assert metrics.registry.get_sample_value("argo_hedged_searches_total", {"outcome": "second"}) == 1


async def test_a_single_retriever_is_not_hedged_unless_set(stack: Stack) -> None:
    info = await stack.stub.GetInfo(types_pb2.GetInfoRequest(), timeout=PATIENCE_S)
    assert info.info.settings["hedge_searches"] == "false"
