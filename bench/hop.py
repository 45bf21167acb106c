"""Where a question's time went, from the calls that its answer lists.

Exclusive time: every instant of the question is shared equally among the calls that are running; an instant without a
call is the orchestrator's own. Shares are never negative and add up to the whole, also where calls run in parallel.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from argo.v1 import orchestrator_pb2

__all__ = ["ORCHESTRATOR", "HopTime", "exclusive_s", "hop_times", "own_time_s"]

ORCHESTRATOR = "orchestrator"


@dataclass(frozen=True)
class HopTime:
    """One call: its place in the question, and what the service said of itself."""

    service: str
    name: str
    start_s: float
    duration_s: float
    service_s: float | None
    """Queue and work inside the service; None where the call failed."""


def hop_times(hops: Iterable[orchestrator_pb2.Hop]) -> list[HopTime]:
    """Read the calls of an answer; the orchestrator's own work is not a call and is left out."""
    return [
        HopTime(
            service=hop.service,
            name=hop.name,
            start_s=hop.start_s,
            duration_s=hop.duration_s,
            service_s=hop.timing.queue_s + hop.timing.work_s if hop.HasField("timing") else None,
        )
        for hop in hops
        if hop.service != ORCHESTRATOR
    ]


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


def own_time_s(hops: Sequence[HopTime], total_s: float) -> dict[str, float]:
    """Seconds of the question by owner; they add up to total_s.

    Returns:
        "service.Method" for the time that a service reports of itself, "network" for the rest of its calls (both ends'
        gRPC, serialisation and event loops included), and "orchestrator" for the time in which no call was running.
    """
    shares, idle = exclusive_s([(hop.start_s, hop.start_s + hop.duration_s) for hop in hops], total_s)
    own: dict[str, float] = defaultdict(float)
    own[ORCHESTRATOR] = idle
    for hop, share in zip(hops, shares, strict=True):
        inside = 0.0
        if hop.service_s is not None and hop.duration_s > 0:
            inside = share * min(1.0, hop.service_s / hop.duration_s)
        own[f"{hop.service}.{hop.name}"] += inside
        own["network"] += share - inside
    return dict(own)
