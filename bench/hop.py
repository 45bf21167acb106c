"""Where a question's time went, from the calls that its answer lists.

Exclusive time: every instant of the question is shared equally among the calls that are running; an instant without a
call is the orchestrator's own. Shares are never negative and add up to the whole, also where calls run in parallel.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from argo.result import Answer, Hop

__all__ = ["NETWORK", "ORCHESTRATOR", "calls", "exclusive_s", "mean_own_ms", "own_time_s", "service_s"]

ORCHESTRATOR: Final = "orchestrator"
NETWORK: Final = "network"


def calls(hops: Sequence[Hop]) -> list[Hop]:
    """The calls of an answer; the orchestrator's own work is no call and is left out."""
    return [hop for hop in hops if hop.service != ORCHESTRATOR]


def service_s(hop: Hop) -> float:
    """Queue and work that the service reported, never more than the call took; 0 for a failed call."""
    return min(hop.duration_s, hop.timing.queue_s + hop.timing.work_s) if hop.timing is not None else 0.0


def exclusive_s(spans: Sequence[tuple[float, float]], total_s: float) -> tuple[list[float], float]:
    """Share every instant of [0, total_s] equally among the spans that are running then.

    Args:
        spans: Start and end of each, in seconds; clipped to the whole.
        total_s: Length of the whole.

    Returns:
        The share of each span, and the time in which none was running. They add up to total_s.
    """
    clipped = [(min(max(start, 0.0), total_s), min(max(end, 0.0), total_s)) for start, end in spans]
    edges = sorted({0.0, total_s, *(edge for span in clipped for edge in span)})
    share, idle = [0.0] * len(clipped), 0.0
    for begin, end in itertools.pairwise(edges):
        running = [index for index, span in enumerate(clipped) if span[0] <= begin and span[1] >= end]
        for index in running:
            share[index] += (end - begin) / len(running)
        if not running:
            idle += end - begin
    return share, idle


def own_time_s(hops: Sequence[Hop], total_s: float) -> dict[str, float]:
    """Seconds of the question by owner; they add up to total_s.

    Returns:
        "service.Method" for the time that a service reports of itself, NETWORK for the rest of its calls (gRPC,
        serialisation and event loops of both ends included), ORCHESTRATOR for the time in which no call was running.
    """
    running = calls(hops)
    shares, idle = exclusive_s([(hop.start_s, hop.start_s + hop.duration_s) for hop in running], total_s)
    own: dict[str, float] = defaultdict(float)
    own[ORCHESTRATOR] = idle
    for hop, share in zip(running, shares, strict=True):
        inside = share * service_s(hop) / hop.duration_s if hop.duration_s > 0 else 0.0
        own[f"{hop.service}.{hop.name}"] += inside
        own[NETWORK] += share - inside
    return dict(own)


def mean_own_ms(answers: Sequence[Answer]) -> dict[str, float]:
    """Mean exclusive milliseconds a question by owner, largest first; of at least one answer."""
    total: dict[str, float] = defaultdict(float)
    for answer in answers:
        for owner, seconds in own_time_s(answer.timing.hops, answer.timing.total_s).items():
            total[owner] += seconds
    return {owner: seconds * 1000 / len(answers) for owner, seconds in sorted(total.items(), key=lambda item: -item[1])}
