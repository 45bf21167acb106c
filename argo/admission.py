"""Admission: what is begun now, what waits for its turn, and what is refused at once.

An orchestrator takes in questions so, and an engine generations. So many run at once; so many more wait, the one whose
time runs out first at the front. One that could not be answered any more by the time its turn is expected is not let
wait for it, and one whose time has run out while it waited is refused then: whoever is told early can go elsewhere, and
no work is spent on an answer that comes too late.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from typing import Final

from argo.errors import ResourceExhaustedError

__all__ = ["Admission", "LateError", "OccupancyMean", "QueueFullError"]

_UNMEASURED_RETRY_S: Final = 1.0
"""Hint before the first place was given back: the budget of a question by default."""
_WEIGHT: Final = 0.1
"""Of the newest stay in the running mean, which so follows a change of load within some tens of them."""


class QueueFullError(ResourceExhaustedError):
    """As many run and wait as may."""


class LateError(ResourceExhaustedError):
    """Its turn would come, or has come, too late for any answer."""


class OccupancyMean:
    """Running mean of the seconds for which a place is held."""

    def __init__(self) -> None:
        self.mean_s: float | None = None

    def add(self, held_s: float) -> None:
        """Take in a stay that has ended by itself."""
        self.mean_s = held_s if self.mean_s is None else self.mean_s + _WEIGHT * (held_s - self.mean_s)

    def add_cut(self, held_s: float) -> None:
        """Take in a stay that was cut short, by its caller or by a fault.

        It says nothing of how long one takes, but that it may take longer than that: callers who give up before any
        stay ends would otherwise keep the mean of a better hour. Before any has ended it says nothing.
        """
        if self.mean_s is not None and held_s > self.mean_s:
            self.add(held_s)


class Admission:
    """The places of an orchestrator or an engine, and the queue in front of them.

    Args:
        most_running: Places.
        most_queued: How many wait besides; 0 for no queue.
        held: For how long places have been held so far; None for not known yet.
        of: What takes the places, and who gives them, for messages.
    """

    def __init__(
        self,
        most_running: int,
        most_queued: int,
        held: OccupancyMean | None = None,
        *,
        of: tuple[str, str] = ("questions", "this orchestrator"),
    ) -> None:
        self._guests, self._host = of
        self._most_running = most_running
        self._most_queued = most_queued
        self._arrivals = itertools.count()
        # By the time at which each must have begun, then by arrival, which no two share. Short enough to be a list.
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._held = OccupancyMean() if held is None else held
        self.running = 0
        """How many hold a place."""

    @property
    def queued(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def place(self, start_by: float) -> AsyncIterator[float]:
        """Hold a place; waits for one where all are taken.

        How long it was held enters the mean where the body ends by itself. A body that raises has been cut short.

        Args:
            start_by: time.perf_counter() at which the shortest answer must have begun.

        Yields:
            Seconds that it waited.

        Raises:
            QueueFullError: Nobody more may wait; says when trying again makes sense.
            LateError: Its turn would come, or has come, after `start_by`.
        """
        arrived_at = time.perf_counter()
        if self.running < self._most_running:
            self.running += 1
        else:
            self._check(start_by, arrived_at)
            await self._turn(start_by, arrived_at)
        began_at = time.perf_counter()
        try:
            yield began_at - arrived_at
        except BaseException:
            self._held.add_cut(time.perf_counter() - began_at)
            raise
        else:
            self._held.add(time.perf_counter() - began_at)
        finally:
            self._leave()

    def _wait_s(self, ahead: int) -> float | None:
        """Seconds until a place is expected behind that many; None before any was given back.

        With every place taken, one comes free each mean / places seconds.
        """
        mean_s = self._held.mean_s
        return None if mean_s is None else (ahead + 1) * mean_s / self._most_running

    def _retry_after_s(self) -> float:
        """When all that wait now are expected to have begun."""
        wait_s = self._wait_s(self.queued)
        return _UNMEASURED_RETRY_S if wait_s is None else wait_s

    def _check(self, start_by: float, now: float) -> None:
        if self.queued >= self._most_queued:
            after_s = self._retry_after_s()
            waiting = f" and {self.queued} wait" if self._most_queued else ""
            raise QueueFullError(
                f"{self.running} {self._guests} are running{waiting}, the most that {self._host} takes;"
                f" try again in {after_s:.2f} s",
                after_s,
            )
        # Equal times keep the order of arrival, so that those are ahead.
        ahead = bisect.bisect_right(self._waiting, start_by, key=lambda entry: entry[0])
        wait_s = self._wait_s(ahead) or 0.0
        if now + wait_s > start_by:
            raise LateError(
                f"a turn is expected in {wait_s:.2f} s, and no answer fits unless it is begun within"
                f" {max(0.0, start_by - now):.2f} s; ask with more time, or again later",
                self._retry_after_s(),
            )

    async def _turn(self, start_by: float, arrived_at: float) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        entry = (start_by, next(self._arrivals), turn)
        bisect.insort(self._waiting, entry)
        clock = loop.call_later(max(0.0, start_by - arrived_at), self._expire, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # The place was given in the moment in which the caller left.
                self._leave()
            raise
        except LateError:
            waited_s = time.perf_counter() - arrived_at
            raise LateError(
                f"no turn came in {waited_s:.2f} s, and no answer fits in the time left; ask with more time, or again"
                " later",
                self._retry_after_s(),
            ) from None
        finally:
            clock.cancel()
            with contextlib.suppress(ValueError):
                self._waiting.remove(entry)

    def _expire(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(LateError(""))

    def _leave(self) -> None:
        """Give a place back, or on to whoever is first."""
        self.running -= 1
        while self._waiting:
            start_by, _, turn = self._waiting.pop(0)
            if turn.done():
                continue
            if start_by < time.perf_counter():
                self._expire(turn)
                continue
            self.running += 1
            turn.set_result(None)
            return
