"""The ways to one service: a breaker for each replica, whose turn it is, and calls that are made once more.

Calls go round the replicas that are connected, SERVING and not given up by their breaker. A call that ends with
UNAVAILABLE is made again on a replica that has not had it. Where a connection broke, that is as often as calls were
under way on it; what a replica itself answers is repeated within a budget, so that replicas that are all ill get no
storm.

The budget is kept here and not by gRPC's retry throttling: that counts no success of a second attempt, so it runs out
where every other call meets an ill replica, and its round robin may choose that replica again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeVar

from argo.errors import UnavailableError
from argo.replica import Replicas
from argo.rpc import Caller
from argo.target import is_replicated
from orchestrator.breaker import Breaker, BreakerOpenError
from orchestrator.repeat import RepeatBudget

__all__ = ["Lane", "Lanes"]

_R = TypeVar("_R")
_LOOK_S: Final = 0.01


@dataclass(frozen=True, eq=False)
class Lane:
    """One way to a service: to one replica of a list, or to all that a name stands for."""

    caller: Caller
    breaker: Breaker


class Lanes:
    """All ways to one service.

    Args:
        service: Its name, for messages.
        replicas: What is behind its target.
        failures: Calls in a row that must fail before a way is given up for a while.
        open_s: Seconds of that while.
    """

    def __init__(self, service: str, replicas: Replicas, failures: int, open_s: float) -> None:
        self.replicas = replicas
        self.each = [
            Lane(caller, Breaker(service, failures, open_s, connected=caller.is_connected))
            for caller in replicas.serving
        ]
        """In the order of :attr:`Replicas.each`."""
        self._repeats = RepeatBudget() if len(self.each) == 1 else RepeatBudget.of_replicas()
        self._several = is_replicated(replicas.together.target)
        self._turn = 0

    async def connect(self, patience_s: float) -> None:
        """Connect every way; one on which nobody answers is waited for so long and no longer."""
        until = time.perf_counter() + patience_s
        # Looked at again and again: a watch for the next state cannot be cancelled in grpc.aio, and would end in a loop
        # that is closed by then. A list, so that every way begins to connect.
        while not all([lane.caller.is_connected() for lane in self.each]) and time.perf_counter() < until:
            await asyncio.sleep(_LOOK_S)

    async def unary(self, send: Callable[[Lane, float], Awaitable[_R]], timeout_s: float) -> _R:
        """Make a call that changes nothing.

        Args:
            send: Makes it on a way, within the seconds it is given.
            timeout_s: Seconds for all attempts.

        Raises:
            ArgoError: Of the last attempt.
        """
        began, tried = time.perf_counter(), list[Lane]()
        while True:
            lane = self._next(tried)
            try:
                reply = await send(lane, timeout_s - (time.perf_counter() - began))
            except UnavailableError as error:
                tried.append(lane)
                if time.perf_counter() - began >= timeout_s or not self._again(error, tried):
                    raise
            else:
                self._repeats.earn()
                return reply

    async def stream(
        self, send: Callable[[Lane, float], AsyncGenerator[_R, None]], timeout_s: float
    ) -> AsyncIterator[_R]:
        """Make a call with a stream of replies, which is made again only before the first of them. As :meth:`unary`."""
        began, tried, begun = time.perf_counter(), list[Lane](), False
        while True:
            lane = self._next(tried)
            try:
                async with aclosing(send(lane, timeout_s - (time.perf_counter() - began))) as replies:
                    async for reply in replies:
                        begun = True
                        yield reply
            except UnavailableError as error:
                tried.append(lane)
                late = time.perf_counter() - began >= timeout_s
                # One way alone leaves this to gRPC: a stream is not begun twice on it.
                if begun or late or len(self.each) == 1 or not self._again(error, tried):
                    raise
            else:
                self._repeats.earn()
                return

    def _next(self, tried: Collection[Lane]) -> Lane:
        """Whose turn it is, the best first: what may be called and is connected, what may be called, and any other."""
        self._turn += 1
        turn = self._turn % len(self.each)
        order = self.each[turn:] + self.each[:turn]
        return min(
            order,
            key=lambda lane: (lane in tried, not lane.breaker.lets(), not lane.caller.is_connected()),
        )

    def _again(self, error: UnavailableError, tried: Sequence[Lane]) -> bool:
        """Whether a call that failed is made once more."""
        if isinstance(error, BreakerOpenError):
            return False
        if len(self.each) == 1:
            # gRPC has repeated what it can; of whose reply something has come, it repeats nothing.
            return error.connection_lost and len(tried) == 1 and (self._several or self._repeats.take())
        # A status that no service of ours sent, as a proxy's, looks like a lost connection; the connection tells.
        lost = error.connection_lost and not tried[-1].caller.is_connected()
        return len(tried) < len(self.each) and (lost or self._repeats.take())
