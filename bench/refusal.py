"""How soon a question over capacity is refused: the stack is kept full, and more questions are put at a fixed rate."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from argo.errors import ResourceExhaustedError
from bench.asker import Asker, AskRequest
from bench.histogram import Histogram
from bench.record import RecordFile
from bench.statistic import percentile

__all__ = ["REFUSED_CALLS", "Refusals", "run_refusals", "score_refusals"]

_WHOLE_S = 60
"""Budget of the questions that fill the stack, so that each waits for its turn."""
REFUSED_CALLS: Final = {
    "rpc_method": "argo.v1.OrchestratorService/Ask",
    "rpc_response_status_code": "RESOURCE_EXHAUSTED",
}
"""Labels of the refused questions among the calls that the orchestrator serves."""
_PROMISED_S: Final = 0.01
"""Within which a refusal is promised."""


@dataclass
class Refusals:
    """What became of the questions over capacity."""

    refused_s: list[float] = field(default_factory=list)
    """Of each refusal, from before the call until its status was in hand."""
    hints_s: list[float] = field(default_factory=list)
    """When to try again, as the refusals said."""
    taken: int = 0
    """Questions that found a gap in the load, and were answered."""
    filled: int = 0
    """Questions of the load that were answered meanwhile."""
    late_s: list[float] = field(default_factory=list)
    """How much later than it asked for the load generator was woken: what the machine adds to any time."""
    served: Histogram = field(default_factory=Histogram)
    """Seconds from the handler's entry to the status of each refusal, those of the load included, as the orchestrator
    counted them; without values where its metrics cannot be read."""


async def run_refusals(
    asker: Asker,
    questions: Sequence[str],
    *,
    fill: int,
    probes: int,
    per_s: float,
    records: RecordFile,
    advance: Callable[[], None],
) -> Refusals:
    """Keep `fill` questions in the stack, and put `probes` more, `per_s` a second whatever becomes of them."""
    found = Refusals()
    texts = itertools.cycle(questions)

    async def load() -> None:
        while True:
            try:
                await asker.put(AskRequest(next(texts), budget_ms=_WHOLE_S * 1000))
                found.filled += 1
            except ResourceExhaustedError as error:
                # A probe has its place.
                await asyncio.sleep(error.retry_after_s or 0.0)

    async def probe() -> None:
        began = time.perf_counter()
        try:
            await asker.put(AskRequest(next(texts), budget_ms=_WHOLE_S * 1000))
            found.taken += 1
        except ResourceExhaustedError as error:
            found.refused_s.append(time.perf_counter() - began)
            found.hints_s.append(error.retry_after_s or 0.0)
            records.write("refusal", {"latency_s": found.refused_s[-1], "retry_after_s": found.hints_s[-1]})
        advance()

    loads = [asyncio.create_task(load()) for _ in range(fill)]
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(probes):
                group.create_task(probe())
                began = time.perf_counter()
                await asyncio.sleep(1 / per_s)
                found.late_s.append(time.perf_counter() - began - 1 / per_s)
    finally:
        for task in loads:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*loads, return_exceptions=True)
    return found


def score_refusals(found: Refusals) -> dict[str, Any]:
    """Percentiles of the refusals, in milliseconds, as callers and the orchestrator saw them; None without any."""
    refused, served = found.refused_s, found.served
    return {
        "refused": len(refused),
        "taken": found.taken,
        "answered_meanwhile": found.filled,
        "refusal_ms": {f"p{q}": 1000 * percentile(refused, q) for q in (50, 95, 99)} if refused else None,
        "retry_after_s": percentile(found.hints_s, 50) if refused else None,
        "served": served.total,
        "handler_ms": {f"p{q}": 1000 * served.quantile(q / 100) for q in (50, 95, 99)} if served.total else None,
        "timer_late_ms": {f"p{q}": 1000 * percentile(found.late_s, q) for q in (50, 95, 99)} if found.late_s else None,
        "within_10_ms": served.share_within(_PROMISED_S) if served.total else None,
    }
