"""Puts questions to a stack: so many at once, or at a rate whatever the stack makes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from argo.errors import ArgoError, InvalidArgumentError
from bench.asker import Asked, Asker, AskRequest

__all__ = ["Attempt", "closed_loop", "open_loop", "poisson_arrivals"]


@dataclass(frozen=True)
class Attempt:
    """One question that was put, and what came of it. Times are seconds since the load began."""

    request: AskRequest
    intended_s: float
    """When the load meant to put it; with a fixed number in flight, when it did."""
    sent_s: float
    ended_s: float
    asked: Asked | None
    """None where the question failed."""
    error: str = ""
    """Status name and message where it failed."""

    @property
    def latency_s(self) -> float:
        """From when the question was meant to be put until its answer was in hand.

        A load generator that is late, or a stack that makes it late, is thereby part of the figure; counting from the
        sending would leave out just those questions that had to wait.

        Source: Tene (2013), "How NOT to Measure Latency", on coordinated omission.
        """
        return self.ended_s - self.intended_s


async def closed_loop(
    asker: Asker, requests: Sequence[AskRequest], in_flight: int, *, advance: Callable[[Attempt], None] = lambda _: None
) -> list[Attempt]:
    """Keep a fixed number in flight: the next question is put when one is answered.

    Args:
        asker: The running stack.
        requests: In the order in which they are put.
        in_flight: Questions at once.
        advance: Called with each as it ends.

    Returns:
        One attempt for each request, in their order.

    Raises:
        InvalidArgumentError: in_flight is below 1.
    """
    if in_flight < 1:
        raise InvalidArgumentError(f"in_flight must be at least 1, got {in_flight}")
    attempts: dict[int, Attempt] = {}
    turns = iter(enumerate(requests))
    began = time.perf_counter()

    async def worker() -> None:
        for number, request in turns:
            attempts[number] = await _attempt(asker, request, began, time.perf_counter() - began)
            advance(attempts[number])

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight, len(requests))):
            group.create_task(worker())
    return [attempts[number] for number in range(len(requests))]


async def open_loop(
    asker: Asker,
    requests: Sequence[AskRequest],
    arrivals_s: Sequence[float],
    *,
    advance: Callable[[Attempt], None] = lambda _: None,
) -> list[Attempt]:
    """Put each question at its time, however many are in flight then.

    Args:
        asker: The running stack.
        requests: What to put.
        arrivals_s: When, (questions,), ascending, from the beginning of the load.
        advance: Called with each as it ends.

    Returns:
        One attempt for each request, in their order.

    Raises:
        InvalidArgumentError: Requests and arrivals differ in number.
    """
    if len(requests) != len(arrivals_s):
        raise InvalidArgumentError(
            f"arrivals_s must have one entry for each of {len(requests)} requests, got {len(arrivals_s)}"
        )
    began = time.perf_counter()

    async def put(request: AskRequest, at_s: float) -> Attempt:
        attempt = await _attempt(asker, request, began, at_s)
        advance(attempt)
        return attempt

    tasks = []
    async with asyncio.TaskGroup() as group:
        for request, at_s in zip(requests, arrivals_s, strict=True):
            wait_s = at_s - (time.perf_counter() - began)
            # A load that is behind still lets the answers in.
            await asyncio.sleep(max(0.0, wait_s))
            tasks.append(group.create_task(put(request, at_s)))
    return [task.result() for task in tasks]


def poisson_arrivals(n: int, rate_per_s: float, rng: np.random.Generator) -> list[float]:
    """Arrival times of a Poisson process, in seconds, ascending, (n,).

    Args:
        n: Arrivals.
        rate_per_s: Mean arrivals a second.
        rng: Draws the gaps.

    Raises:
        InvalidArgumentError: The rate is not a positive number.
    """
    if not (0 < rate_per_s < float("inf")):
        raise InvalidArgumentError(f"rate_per_s must be above 0 and finite, got {rate_per_s}")
    return [float(at_s) for at_s in np.cumsum(rng.exponential(1 / rate_per_s, size=n))]


async def _attempt(asker: Asker, request: AskRequest, began: float, intended_s: float) -> Attempt:
    sent_s = time.perf_counter() - began
    try:
        asked = await asker.put(request)
    except ArgoError as error:
        return Attempt(request, intended_s, sent_s, time.perf_counter() - began, None, f"{error.code.name}: {error}")
    # As the asker clocked it: other answers may have been read before this one was given its turn.
    return Attempt(request, intended_s, sent_s, sent_s + asked.latency_s, asked)
