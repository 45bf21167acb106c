"""Admission: hand-worked queues."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest

from argo.admission import Admission, LateError, OccupancyMean, QueueFullError
from argo.errors import ResourceExhaustedError

PATIENCE_S = 10.0


def measured(*held_s: float) -> OccupancyMean:
    mean = OccupancyMean()
    for each in held_s:
        mean.add(each)
    return mean


class Holder:
    """Asks for a place in a task of its own, and keeps it until it is told to leave."""

    def __init__(self, admission: Admission, left_s: float, order: list[str] | None = None, name: str = "") -> None:
        self._leave = asyncio.Event()
        self.inside = asyncio.Event()
        self.task = asyncio.create_task(self._hold(admission, time.perf_counter() + left_s, order, name))

    async def _hold(self, admission: Admission, start_by: float, order: list[str] | None, name: str) -> None:
        async with admission.place(start_by):
            if order is not None:
                order.append(name)
            self.inside.set()
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task


@contextlib.asynccontextmanager
async def taken(admission: Admission) -> AsyncIterator[Holder]:
    """All of the one place there is."""
    holder = Holder(admission, 60)
    await holder.inside.wait()
    yield holder
    if not holder.task.done():
        await holder.leave()


async def until_queued(admission: Admission, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while admission.queued != count:
            await asyncio.sleep(0)


async def order_of(admission: Admission, start_by: dict[str, float]) -> list[str]:
    """The order in which questions that came in the dictionary's order are begun, once a place is free."""
    order: list[str] = []

    async def pass_through(name: str) -> None:
        async with admission.place(start_by[name]):
            order.append(name)

    async with taken(admission) as first:
        tasks = [asyncio.create_task(pass_through(name)) for name in start_by]
        await until_queued(admission, len(start_by))
        await first.leave()
        await asyncio.gather(*tasks)
    assert (admission.running, admission.queued) == (0, 0)
    return order


async def test_the_question_whose_time_runs_out_first_is_begun_first() -> None:
    now = time.perf_counter()
    start_by = {"long": now + 30, "short": now + 10, "mean": now + 20}
    assert await order_of(Admission(1, 3), start_by) == ["short", "mean", "long"]


async def test_equal_times_are_begun_in_the_order_of_their_arrival() -> None:
    at = time.perf_counter() + 60
    assert await order_of(Admission(1, 3), {"a": at, "b": at, "c": at}) == ["a", "b", "c"]


async def test_a_full_queue_refuses_with_the_time_until_those_that_wait_have_begun() -> None:
    # Two places, each held for 3 s: one comes free each 1.5 s. Three wait, and the fourth in line comes at 6 s.
    admission = Admission(2, 3, measured(3.0))
    holders = [Holder(admission, 60) for _ in range(5)]
    await until_queued(admission, 3)
    with pytest.raises(QueueFullError, match=r"2 questions are running and 3 wait, .* try again in 6.00 s") as error:
        async with admission.place(time.perf_counter() + 60):
            pass
    assert error.value.retry_after_s == pytest.approx(6.0)
    for holder in holders:
        holder.task.cancel()
    await asyncio.wait({holder.task for holder in holders})
    assert (admission.running, admission.queued) == (0, 0)


async def test_the_mean_moves_by_a_tenth_of_the_difference() -> None:
    assert measured(2.0).mean_s == 2.0
    assert measured(2.0, 4.0).mean_s == pytest.approx(2.2)


def test_a_stay_that_was_cut_short_only_ever_raises_the_mean() -> None:
    mean = measured(2.0)
    for held_s in (0.0, 1.0, 2.0):
        mean.add_cut(held_s)
    assert mean.mean_s == 2.0
    # Whoever gives up after 4 s would have taken longer still.
    mean.add_cut(4.0)
    assert mean.mean_s == pytest.approx(2.2)
    unmeasured = OccupancyMean()
    unmeasured.add_cut(4.0)
    assert unmeasured.mean_s is None


async def test_stays_that_fail_or_are_cancelled_at_once_leave_the_mean_alone() -> None:
    mean = measured(2.0)
    admission = Admission(1, 0, mean)
    for _ in range(40):
        with pytest.raises(RuntimeError):
            async with admission.place(time.perf_counter() + 60):
                raise RuntimeError("the store is full")
        async with taken(admission) as holder:
            holder.task.cancel()
            await asyncio.wait({holder.task})
    assert (admission.running, mean.mean_s) == (0, 2.0)
    async with admission.place(time.perf_counter() + 60):
        pass
    assert mean.mean_s == pytest.approx(1.8, abs=0.05)


async def test_one_whose_turn_would_come_too_late_is_not_let_wait_for_it() -> None:
    # One place, held for 2 s. One waits with 5 s to go: whoever comes behind it is begun in 4 s, before it in 2 s.
    admission = Admission(1, 9, measured(2.0))
    async with taken(admission):
        ahead = Holder(admission, 5)
        await until_queued(admission, 1)
        with pytest.raises(LateError, match=r"expected in 2.00 s, .* begun within 1.50 s"):
            async with admission.place(time.perf_counter() + 1.5):
                pass
        before = Holder(admission, 3)
        await until_queued(admission, 2)
        with pytest.raises(LateError, match=r"expected in 6.00 s, .* begun within 5.50 s"):
            async with admission.place(time.perf_counter() + 5.5):
                pass
        for holder in (ahead, before):
            holder.task.cancel()
            await asyncio.wait({holder.task})
    assert (admission.running, admission.queued) == (0, 0)


async def test_one_whose_time_runs_out_in_the_queue_is_told_then_and_nothing_is_lost() -> None:
    admission = Admission(1, 9)
    async with taken(admission) as first:
        started = time.perf_counter()
        with pytest.raises(LateError, match=r"no turn came in 0\.0"):
            async with admission.place(started + 0.05):
                pass
        # Bounded by five times what it may take; that it waited at all is exact.
        assert 0.045 <= time.perf_counter() - started < 0.5
        assert (admission.running, admission.queued) == (1, 0)
        await first.leave()
        async with admission.place(time.perf_counter()) as waited_s:
            assert waited_s < 0.05


async def test_a_place_given_in_the_moment_in_which_the_caller_leaves_goes_on_to_the_next() -> None:
    admission = Admission(1, 2)
    async with contextlib.AsyncExitStack() as first:
        await first.enter_async_context(admission.place(time.perf_counter() + 60))
        second, third = Holder(admission, 30), Holder(admission, 60)
        await until_queued(admission, 2)
        # Leaving does not wait for anything: the second has its turn, and is cancelled before it could take it.
        await first.aclose()
        second.task.cancel()
        await asyncio.wait({second.task})
        async with asyncio.timeout(PATIENCE_S):
            await third.inside.wait()
        assert not second.inside.is_set()
        await third.leave()
    assert (admission.running, admission.queued) == (0, 0)


async def test_never_more_run_than_may_and_every_place_comes_back() -> None:
    generator = np.random.default_rng(7)
    admission = Admission(3, 5)
    most = 0
    ended: dict[str, int] = {}

    async def one(left_s: float, turns: int) -> None:
        nonlocal most
        try:
            async with admission.place(time.perf_counter() + left_s):
                most = max(most, admission.running)
                for _ in range(turns):
                    await asyncio.sleep(0)
        except ResourceExhaustedError as error:
            ended[type(error).__name__] = ended.get(type(error).__name__, 0) + 1

    tasks = []
    for _ in range(400):
        task = asyncio.create_task(one(float(generator.choice([0.0, 0.001, 60])), int(generator.integers(6))))
        tasks.append(task)
        if generator.random() < 0.2:
            tasks[int(generator.integers(len(tasks)))].cancel()
        if generator.random() < 0.7:
            await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait(tasks)
    assert most == 3
    assert set(ended) == {"QueueFullError", "LateError"}
    assert (admission.running, admission.queued) == (0, 0)
