"""Loads: how many are in flight, and what a late generator does to a latency."""

import asyncio

import numpy as np
import pytest

from argo.errors import InvalidArgumentError, UnavailableError
from argo.result import Answer
from bench.asker import Asked, AskRequest
from bench.load import closed_loop, open_loop, poisson_arrivals


class _Asker:
    """Answers when it is let; a question "broken" fails."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.let = asyncio.Event()

    async def put(self, request: AskRequest) -> Asked:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.let.wait()
            # One turn of the loop, so that those beside it run.
            await asyncio.sleep(0)
        finally:
            self.running -= 1
        if request.question == "broken":
            raise UnavailableError("synthesizer is gone")
        return Asked(Answer(text=request.question), 0.25)


def _requests(*texts: str) -> list[AskRequest]:
    return [AskRequest(text) for text in texts]


async def test_a_closed_loop_keeps_its_number_in_flight_and_the_order_of_its_requests() -> None:
    asker = _Asker()
    asker.let.set()
    ended: list[str] = []
    texts = [str(number) for number in range(20)]
    attempts = await closed_loop(asker, _requests(*texts), 3, advance=lambda one: ended.append(one.request.question))
    assert asker.most == 3
    assert [attempt.request.question for attempt in attempts] == texts
    assert sorted(ended) == sorted(texts)
    assert all(attempt.intended_s <= attempt.sent_s for attempt in attempts)


async def test_a_failed_question_is_an_attempt_with_its_error_and_the_rest_goes_on() -> None:
    asker = _Asker()
    asker.let.set()
    first, second = await closed_loop(asker, _requests("broken", "whole"), 1)
    assert (first.asked, first.error) == (None, "UNAVAILABLE: synthesizer is gone")
    assert second.asked is not None and second.asked.answer.text == "whole"


async def test_an_open_loop_does_not_wait_for_answers() -> None:
    asker = _Asker()

    async def let_when_all_wait() -> None:
        async with asyncio.timeout(10):
            while asker.running < 8:
                await asyncio.sleep(0)
        asker.let.set()

    _, attempts = await asyncio.gather(let_when_all_wait(), open_loop(asker, _requests(*"abcdefgh"), [0.0] * 8))
    assert asker.most == 8
    assert [attempt.request.question for attempt in attempts] == list("abcdefgh")


async def test_a_late_sending_is_part_of_the_latency() -> None:
    asker = _Asker()
    asker.let.set()
    # Meant a second before the load began, so that it can only be late.
    (attempt,) = await open_loop(asker, _requests("a"), [-1.0])
    # The asker itself waited out 0.25 s.
    assert attempt.latency_s >= 1.25
    assert attempt.ended_s - attempt.sent_s == pytest.approx(0.25)


def test_arrivals_have_the_mean_and_the_spread_of_a_poisson_process() -> None:
    arrivals = poisson_arrivals(40_000, 8.0, np.random.default_rng(3))
    gaps = np.diff(arrivals)
    assert (gaps > 0).all()
    # Exponential gaps: mean and standard deviation are both 1/8 s; 1 % is two standard errors of 40,000.
    assert gaps.mean() == pytest.approx(1 / 8, rel=0.02)
    assert gaps.std() == pytest.approx(1 / 8, rel=0.03)


def test_arrivals_of_one_seed_are_the_same() -> None:
    first, second = (poisson_arrivals(50, 2.0, np.random.default_rng(7)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_named(rate: float) -> None:
    with pytest.raises(InvalidArgumentError, match="rate_per_s must be above 0"):
        poisson_arrivals(1, rate, np.random.default_rng())


async def test_a_load_that_cannot_be_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="in_flight must be at least 1, got 0"):
        await closed_loop(_Asker(), [], 0)
    with pytest.raises(InvalidArgumentError, match="one entry for each of 1 requests, got 0"):
        await open_loop(_Asker(), _requests("a"), [])
