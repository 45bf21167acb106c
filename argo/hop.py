"""Where the time of many questions went, hop by hop, and how two questions differ.

A hop is all spans that are the same step of the way: the calls of one method as their caller saw them, the same calls
inside the service called, the steps with one action, the generations of one kind.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from argo.errors import InvalidArgumentError
from argo.telemetry import ACTION, GEN_AI_CHAT, GENERATION_KIND, SPAN_DECODE, SPAN_PREFILL, SPAN_QUEUE, SPAN_STEP
from argo.trace import Span, SpanTree, TraceSummary

__all__ = ["Comparison", "HopFigures", "compare", "hop_figures", "hop_of", "nearest_rank"]


@dataclass(frozen=True, slots=True)
class HopFigures:
    """One hop over many questions; times in seconds."""

    hop: str
    count: int
    """Spans."""
    failed: int
    """Of them, those that failed."""
    p50_s: float
    p95_s: float
    p99_s: float
    exclusive_s: float
    """Mean exclusive time a question; over all hops it adds up to a mean question."""
    critical_share: float
    """Share of the questions' time in which their critical path ran through it; over all hops it adds up to 1."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One hop in two traces: spans, exclusive time and time on the critical path, in seconds; zeros where it is not."""

    hop: str
    count: tuple[int, int]
    exclusive_s: tuple[float, float]
    critical_s: tuple[float, float]

    @property
    def change_s(self) -> float:
        """How much longer the second trace's answer waited for it; over all hops it adds up to the whole change."""
        return self.critical_s[1] - self.critical_s[0]


def hop_of(span: Span) -> str:
    """The hop that a span is one of."""
    if span.name == SPAN_STEP:
        return f"step {span.attributes.get(ACTION, '?')}"
    if span.name.startswith(f"{GEN_AI_CHAT} "):
        return f"{span.service} generates {span.attributes.get(GENERATION_KIND) or 'text'}"
    if span.name in (SPAN_QUEUE, SPAN_PREFILL, SPAN_DECODE):
        return f"{span.service} {span.name.removeprefix('argo.').replace('.', ' ')}"
    service, slash, method = span.name.rpartition("/")
    if slash:
        callee = service.rpartition(".")[2].removesuffix("Service").lower()
        return f"{callee} {method}" if callee != span.service else f"in {callee} {method}"
    return span.name


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The least value that is not below this share of the values; always one that occurred.

    Args:
        values: At least one.
        share: Above 0, at most 1.
    """
    return sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]


def hop_figures(traces: Sequence[TraceSummary]) -> list[HopFigures]:
    """Figures of every hop, the one with the largest share of the critical path first.

    Args:
        traces: Of questions, at least one.

    Raises:
        InvalidArgumentError: No traces.
    """
    if not traces:
        raise InvalidArgumentError("traces must hold at least one trace, got 0")
    durations: dict[str, list[float]] = defaultdict(list)
    failed: dict[str, int] = defaultdict(int)
    exclusive: dict[str, float] = defaultdict(float)
    critical: dict[str, float] = defaultdict(float)
    whole_s = 0.0
    for trace in traces:
        tree = trace.tree
        whole_s += tree.root.duration_s
        own, path = tree.exclusive_s(), tree.critical_s()
        for span, _ in tree.walk():
            hop = hop_of(span)
            durations[hop].append(span.duration_s)
            failed[hop] += span.failed
            exclusive[hop] += own[span.span_id]
            critical[hop] += path[span.span_id]
    figures = [
        HopFigures(
            hop,
            len(seconds),
            failed[hop],
            nearest_rank(seconds, 0.50),
            nearest_rank(seconds, 0.95),
            nearest_rank(seconds, 0.99),
            exclusive[hop] / len(traces),
            critical[hop] / whole_s if whole_s else 0.0,
        )
        for hop, seconds in durations.items()
    ]
    return sorted(figures, key=lambda one: (-one.critical_share, -one.exclusive_s, one.hop))


def compare(before: SpanTree, after: SpanTree) -> list[Comparison]:
    """How two traces differ, hop by hop, the largest change of the critical path first."""
    sides = [_sums(tree) for tree in (before, after)]
    hops = {hop for side in sides for hop in side}
    empty = (0, 0.0, 0.0)
    found = [
        Comparison(hop, (one[0], other[0]), (one[1], other[1]), (one[2], other[2]))
        for hop in hops
        for one, other in [(sides[0].get(hop, empty), sides[1].get(hop, empty))]
    ]
    return sorted(found, key=lambda one: (-abs(one.change_s), -sum(one.exclusive_s), one.hop))


def _sums(tree: SpanTree) -> dict[str, tuple[int, float, float]]:
    own, path = tree.exclusive_s(), tree.critical_s()
    sums: dict[str, tuple[int, float, float]] = {}
    for span, _ in tree.walk():
        hop = hop_of(span)
        count, exclusive, critical = sums.get(hop, (0, 0.0, 0.0))
        sums[hop] = (count + 1, exclusive + own[span.span_id], critical + path[span.span_id])
    return sums
