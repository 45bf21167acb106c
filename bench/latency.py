"""How long questions take: one load, closed or open, of which every question is written down."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from argo.errors import InvalidArgumentError
from bench.asker import Asker
from bench.load import Attempt, closed_loop, open_loop, poisson_arrivals
from bench.process import host_busy_s, read_usage, used_cpu_s
from bench.record import RecordFile
from bench.row import attempt_row
from bench.workload import Item, requests

__all__ = ["GENERATOR", "Plan", "measure"]

GENERATOR: Final = "load generator"
"""Name of this process among those whose processor time is counted."""
_WARM_UP_IN_FLIGHT: Final = 4
"""With a rate: a warm-up has no arrivals to keep to."""


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Raises:
        InvalidArgumentError: Both a concurrency and a rate are given, or neither, or one is out of its bounds.
    """

    warm_up: Sequence[Item]
    """Asked first; their times are thrown away."""
    items: Sequence[Item]
    """Asked and written down, in this order."""
    concurrency: int | None
    """Closed loop: so many in flight; None for an open loop."""
    rate_per_s: float | None
    """Open loop: mean arrivals a second of a Poisson process; None for a closed loop."""
    strategy: str | None
    """None for the stack's own."""
    budget_ms: int | None
    """Told to the stack; 0 for none, None for the stack's own."""
    seed: int

    def __post_init__(self) -> None:
        if (self.concurrency is None) == (self.rate_per_s is None):
            raise InvalidArgumentError(
                f"exactly one of concurrency and rate must be given, got {self.concurrency} and {self.rate_per_s}"
            )
        if self.concurrency is not None and self.concurrency < 1:
            raise InvalidArgumentError(f"concurrency must be at least 1, got {self.concurrency}")
        if self.rate_per_s is not None and not 0 < self.rate_per_s < float("inf"):
            raise InvalidArgumentError(f"rate must be above 0 and finite, got {self.rate_per_s}")
        if not self.items:
            raise InvalidArgumentError("items must hold at least 1 question, got 0")


async def measure(
    asker: Asker,
    plan: Plan,
    records: RecordFile,
    *,
    pids: Mapping[str, int],
    fields: Mapping[str, Any] | None = None,
    answer_text: bool = False,
    advance: Callable[[Attempt], None] = lambda _: None,
) -> None:
    """Warm up, put the load, and write down each question and what the load took.

    Whatever ended is written down once the load has, also where it is broken off: the disk is no part of the figure.

    Args:
        asker: The running stack.
        plan: What to put.
        records: Takes one row of kind "question" for each, in the order in which they were put, and one of kind "load".
        pids: Processes whose processor time is counted, by name.
        fields: What every row says beside its own figures.
        answer_text: Whether a row holds the text of its answer.
        advance: Called for each question that ended, those of the warm-up left out.
    """
    await closed_loop(asker, _requests(plan, plan.warm_up), plan.concurrency or _WARM_UP_IN_FLIGHT)
    put = _requests(plan, plan.items)
    place = {id(request): number for number, request in enumerate(put)}
    ended: list[Attempt] = []

    def one(attempt: Attempt) -> None:
        ended.append(attempt)
        advance(attempt)

    watched = {**pids, GENERATOR: os.getpid()}
    before, busy, began = read_usage(watched), host_busy_s(), time.perf_counter()
    try:
        if plan.concurrency is not None:
            await closed_loop(asker, put, plan.concurrency, advance=one)
        else:
            arrivals = poisson_arrivals(len(put), plan.rate_per_s or 0.0, np.random.default_rng(plan.seed))
            await open_loop(asker, put, arrivals, advance=one)
    finally:
        wall_s, after, busy_after = time.perf_counter() - began, read_usage(watched), host_busy_s()
        for attempt in sorted(ended, key=lambda attempt: place[id(attempt.request)]):
            number = place[id(attempt.request)]
            row = {**(fields or {}), "number": number, "id": plan.items[number].id, **attempt_row(attempt)}
            if answer_text and attempt.asked is not None:
                row["answer"] = attempt.asked.answer.text
            records.write("question", row)
    cpu_s = used_cpu_s(before, after)
    known = bool(pids) and busy is not None and busy_after is not None
    others_s = max(0.0, (busy_after or 0.0) - (busy or 0.0) - sum(cpu_s.values())) if known else None
    records.write("load", {**(fields or {}), "wall_s": wall_s, "cpu_s": cpu_s, "others_s": others_s})


def _requests(plan: Plan, items: Sequence[Item]) -> list[Any]:
    return requests(items, strategy=plan.strategy, budget_ms=plan.budget_ms, seed=plan.seed)
