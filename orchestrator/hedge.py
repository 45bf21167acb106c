"""Hedged calls: one that takes longer than nearly all others is made once more, and the first reply wins.

A replica that pauses, or a call that was lost, then costs a question the 95th percentile and a fresh call instead of
its whole budget. A second call is made at most once for a call, and for a bounded share of all calls, so that a service
that has become slow as a whole is not given twice the work.

Source: J. Dean and L. A. Barroso, The Tail at Scale, Communications of the ACM 56(2), 2013.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

__all__ = ["Hedge"]

_R = TypeVar("_R")
_QUANTILE: Final = 0.95
_WINDOW: Final = 200
"""Latest calls whose times are looked at."""
_LEAST: Final = 20
"""Calls that must have been measured before one is hedged: the least of which one is a twentieth."""
_MOST_SAVED: Final = 5.0
"""Second calls that may be made at once after a quiet time."""


class Hedge:
    """Makes the calls of one kind, and some of them twice.

    Args:
        share: Most second calls for each call, in the long run.
        on_hedged: Told of each call that was made twice how it ended: "first" or "second" for the reply that came
            first, "failed" where none came.
    """

    def __init__(self, share: float, on_hedged: Callable[[str], None] = lambda outcome: None) -> None:
        self._share = share
        self._on_hedged = on_hedged
        self._took: deque[float] = deque(maxlen=_WINDOW)
        self._saved = 0.0

    def delay_s(self) -> float | None:
        """Seconds after which a call is made again; None while too few have been measured."""
        if len(self._took) < _LEAST:
            return None
        return sorted(self._took)[math.ceil(_QUANTILE * len(self._took)) - 1]

    async def call(self, send: Callable[[float], Awaitable[_R]], timeout_s: float) -> _R:
        """Make a call, and once more where it is late and the share allows it.

        Args:
            send: Makes it, within the seconds it is given.
            timeout_s: Seconds until the reply is of no use.

        Returns:
            The reply that came first; the other call is cancelled.

        Raises:
            ArgoError: Of the first call, where none brought a reply.
        """
        started = time.perf_counter()
        self._saved = min(_MOST_SAVED, self._saved + self._share)
        delay_s = self.delay_s()
        if delay_s is None or delay_s >= timeout_s:
            reply = await send(timeout_s)
        else:
            reply = await self._race(send, timeout_s, delay_s)
        # The time since the first was sent, also where it lost: without the stragglers, the percentile would sink.
        self._took.append(time.perf_counter() - started)
        return reply

    async def _race(self, send: Callable[[float], Awaitable[_R]], timeout_s: float, delay_s: float) -> _R:
        first = asyncio.ensure_future(send(timeout_s))
        calls = [first]
        try:
            await asyncio.wait(calls, timeout=delay_s)
            if first.done() or self._saved < 1.0:
                return await first
            self._saved -= 1.0
            second = asyncio.ensure_future(send(timeout_s - delay_s))
            calls.append(second)
            return await self._winner(first, second)
        finally:
            for call in calls:
                call.cancel()
            # Whoever lost has let go of its call when this returns, and its error, if any, is fetched.
            await asyncio.gather(*calls, return_exceptions=True)

    async def _winner(self, first: asyncio.Future[_R], second: asyncio.Future[_R]) -> _R:
        pending: set[asyncio.Future[_R]] = {first, second}
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for call, name in ((first, "first"), (second, "second")):
                if call in done and call.exception() is None:
                    self._on_hedged(name)
                    return call.result()
        self._on_hedged("failed")
        return first.result()
