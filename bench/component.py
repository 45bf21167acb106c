"""Where a question's time went, by component, and what its end waited for; from the record of its calls (bench.row).

A question is a tree of spans: what its caller saw; in it the orchestrator's own clock; in that its calls; in each call
the time that the service reports of itself; and in that the engine's queue, prefill and decode. argo.trace.SpanTree
shares every instant equally among the innermost spans that run then, and finds the critical path. Both add up to the
root.

What is not on the record is placed so: the way there and the way back of a call take as long as each other, and so
do those of the caller; an engine's parts come last in their service's work, without a gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from argo.trace import Span, SpanTree

__all__ = [
    "CALLER",
    "COMPONENTS",
    "FAILED",
    "NETWORK",
    "ORCHESTRATOR",
    "calls",
    "critical_ms",
    "exclusive_ms",
    "mean_own_ms",
    "own_ms",
    "service_ms",
]

ORCHESTRATOR: Final = "orchestrator"
"""No call was running."""
NETWORK: Final = "network"
"""A call less what its service reported of itself: gRPC, serialisation, and the event loops of both ends."""
FAILED: Final = "failed_call"
"""A call that failed or was cancelled, so that its service reported nothing."""
CALLER: Final = "caller"
"""What the caller saw beyond the orchestrator's own clock: its channel, and a question that was put late."""
_REASONING: Final = "reasoning"
_ENGINE: Final = ("engine_queue", "engine_prefill", "engine_decode")
COMPONENTS: Final = (
    ORCHESTRATOR,
    "decomposer",
    "retriever",
    "synthesizer",
    _REASONING,
    *_ENGINE,
    NETWORK,
    FAILED,
    CALLER,
)
"""Those of which the time is made, as they are shown."""
_NS_A_MS: Final = 1e6
_MS_A_S: Final = 1e3


def calls(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The calls of a question; the orchestrator's own work is no call and is left out."""
    return [hop for hop in row["hops"] if hop["service"] != ORCHESTRATOR]


def service_ms(hop: Mapping[str, Any]) -> float:
    """Queue and work that the service reported, never more than the call took; 0 where it reported nothing."""
    return min(float(hop["duration_ms"]), (hop["queue_ms"] or 0.0) + (hop["work_ms"] or 0.0))


def exclusive_ms(row: Mapping[str, Any]) -> dict[str, float]:
    """Exclusive time of each component of an answered question.

    Args:
        row: Of :func:`bench.row.attempt_row`, without an error.

    Returns:
        Milliseconds of each of COMPONENTS, never negative; they add up to latency_ms.
    """
    tree = _caller_tree(row)
    return _by_component(tree, tree.exclusive_s())


def critical_ms(row: Mapping[str, Any]) -> dict[str, float]:
    """Time of each component on the critical path: what the answer waited for, going back from its end.

    Calls beside the path count nothing, however long they ran. What lies between the calls on the path is the
    orchestrator's.

    Args:
        row: Of :func:`bench.row.attempt_row`, without an error.

    Returns:
        Milliseconds of each of COMPONENTS; they add up to latency_ms.
    """
    tree = _caller_tree(row)
    return _by_component(tree, tree.critical_s())


def own_ms(row: Mapping[str, Any]) -> dict[str, float]:
    """Exclusive time by method, on the orchestrator's own clock.

    Args:
        row: Of :func:`bench.row.answer_row`.

    Returns:
        Milliseconds of "service.Method" (its engine included), NETWORK, ORCHESTRATOR, and of failed calls where there
        are any; they add up to total_ms.
    """
    tree = SpanTree(_answer_spans(row, None, 0.0))
    own: dict[str, float] = {ORCHESTRATOR: 0.0, NETWORK: 0.0}
    seconds = tree.exclusive_s()
    for span, _ in tree.walk():
        owner = span.name if span.name in (ORCHESTRATOR, NETWORK, FAILED) else span.service
        own[owner] = own.get(owner, 0.0) + seconds[span.span_id] * _MS_A_S
    return own


def mean_own_ms(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of :func:`own_ms` over at least one question, largest first."""
    total: dict[str, float] = defaultdict(float)
    for row in rows:
        for owner, milliseconds in own_ms(row).items():
            total[owner] += milliseconds
    return {owner: sum_ms / len(rows) for owner, sum_ms in sorted(total.items(), key=lambda item: -item[1])}


def _by_component(tree: SpanTree, seconds: Mapping[str, float]) -> dict[str, float]:
    found = dict.fromkeys(COMPONENTS, 0.0)
    for span, _ in tree.walk():
        found[span.name] += seconds[span.span_id] * _MS_A_S
    return found


def _caller_tree(row: Mapping[str, Any]) -> SpanTree:
    """The question as its caller saw it, from the intended start."""
    latency_ms, late_ms = row["latency_ms"], row["sent_ms"] - row["intended_ms"]
    way_ms = max(0.0, latency_ms - late_ms - row["total_ms"]) / 2
    caller = _span(CALLER, None, CALLER, "", 0.0, latency_ms)
    return SpanTree([caller, *_answer_spans(row, CALLER, late_ms + way_ms)])


def _answer_spans(row: Mapping[str, Any], above: str | None, arrived_ms: float) -> list[Span]:
    """The orchestrator's span and all that is in it; its name is the component whose time it is."""
    spans = [_span(ORCHESTRATOR, above, ORCHESTRATOR, "", arrived_ms, row["total_ms"])]
    for number, hop in enumerate(calls(row)):
        spans += _call_spans(str(number), hop, arrived_ms + hop["start_ms"])
    return spans


def _call_spans(key: str, hop: Mapping[str, Any], start_ms: float) -> list[Span]:
    method = f"{hop['service']}.{hop['name']}"
    duration_ms = hop["duration_ms"]
    if hop["work_ms"] is None:
        return [_span(key, ORCHESTRATOR, FAILED, method, start_ms, duration_ms)]
    inside_ms = service_ms(hop)
    inside_from_ms = start_ms + (duration_ms - inside_ms) / 2
    component = _REASONING if hop["name"] == "Reason" else hop["service"]
    inside = f"{key} inside"
    spans = [
        _span(key, ORCHESTRATOR, NETWORK, method, start_ms, duration_ms),
        _span(inside, key, component, method, inside_from_ms, inside_ms),
    ]
    end_ms = inside_from_ms + inside_ms
    for part, part_ms in reversed(_engine_ms(hop)):
        end_ms -= part_ms
        spans.append(_span(f"{key} {part}", inside, part, method, end_ms, part_ms))
    return spans


def _engine_ms(hop: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The engine's parts of a call, in their order; none where no language model ran."""
    if hop["ttft_ms"] is None:
        return []
    prefill_ms = hop["ttft_ms"] if hop["prefill_ms"] is None else hop["prefill_ms"]
    return list(zip(_ENGINE, (max(0.0, hop["ttft_ms"] - prefill_ms), prefill_ms, hop["decode_ms"] or 0.0), strict=True))


def _span(key: str, above: str | None, component: str, method: str, start_ms: float, duration_ms: float) -> Span:
    start_ns, end_ns = round(start_ms * _NS_A_MS), round((start_ms + duration_ms) * _NS_A_MS)
    return Span(key, above, component, method, start_ns, end_ns)
