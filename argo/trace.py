"""Where the time of one trace went: exclusive times, the critical path, and the span files of a local stack.

Exclusive time: children are clipped to their parents, and every instant of the root is shared equally among the
active spans that have no active child. The shares are never negative and add up to the root, also in parallel.

The critical path goes back from the root's end to whatever it last waited for. Its pieces also add up to the root.
Source: Zhang et al. (2022), "CRISP: Critical Path Analysis of Large-Scale Microservice Architectures", section 3.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from argo.errors import InvalidArgumentError, NotFoundError
from argo.telemetry import SPAN_ANSWER, SPAN_ASK, SPAN_STEP

__all__ = ["Span", "SpanTree", "TraceSummary", "read_traces"]

_NANOSECONDS: Final = 1e9
_OF_A_QUESTION: Final = (SPAN_ASK, SPAN_STEP, SPAN_ANSWER)


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work in a trace; times in nanoseconds on one clock, since the epoch would cost a float its grain."""

    span_id: str
    parent_id: str | None
    name: str
    service: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    failed: bool = False

    @property
    def duration_s(self) -> float:
        """From start to end."""
        return (self.end_ns - self.start_ns) / _NANOSECONDS


class SpanTree:
    """The spans of one trace under one root.

    A span whose parent is missing is put under the root, and so is one that is its own ancestor: a process that died
    before its export must not hide the rest.

    Args:
        spans: At least one. The first of several with the same id counts.

    Raises:
        InvalidArgumentError: No spans.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans: dict[str, Span] = {}
        for span in spans:
            self._spans.setdefault(span.span_id, span)
        if not self._spans:
            raise InvalidArgumentError("spans must hold at least one span, got 0")
        self.root = self._find_root()
        self._children: dict[str, list[Span]] = defaultdict(list)
        self._adopt()
        self._clipped: dict[str, tuple[int, int]] = {}
        self._clip()

    def _find_root(self) -> Span:
        tops = [span for span in self._spans.values() if span.parent_id not in self._spans]
        # The caller's own span holds all others; without it the longest does, the orchestrator's as a rule.
        return max(tops or self._spans.values(), key=lambda span: (span.name == SPAN_ASK, span.duration_s))

    def _adopt(self) -> None:
        reached = {self.root.span_id}
        by_parent: dict[str, list[Span]] = defaultdict(list)
        for span in self._spans.values():
            if span.parent_id in self._spans and span is not self.root:
                by_parent[str(span.parent_id)].append(span)
        orphans = [span for span in self._spans.values() if span is not self.root and span.parent_id not in self._spans]
        self._gather(self.root, [*by_parent[self.root.span_id], *orphans], by_parent, reached)
        for span in sorted(self._spans.values(), key=lambda item: item.start_ns):
            if span.span_id not in reached:
                self._gather(self.root, [span], by_parent, reached)
        for children in self._children.values():
            children.sort(key=lambda child: (child.start_ns, child.end_ns, child.span_id))

    def _gather(
        self, parent: Span, children: Sequence[Span], by_parent: Mapping[str, list[Span]], reached: set[str]
    ) -> None:
        waiting = [(parent, child) for child in children]
        while waiting:
            above, span = waiting.pop()
            if span.span_id in reached:
                continue
            reached.add(span.span_id)
            self._children[above.span_id].append(span)
            waiting.extend((span, child) for child in by_parent.get(span.span_id, ()))

    def _clip(self) -> None:
        self._clipped[self.root.span_id] = (self.root.start_ns, max(self.root.start_ns, self.root.end_ns))
        for span, _ in self.walk():
            low, high = self._clipped[span.span_id]
            for child in self._children.get(span.span_id, ()):
                start = min(max(child.start_ns, low), high)
                self._clipped[child.span_id] = (start, min(max(child.end_ns, start), high))

    def walk(self) -> list[tuple[Span, int]]:
        """Every span with its depth, parents before children, siblings by start."""
        found: list[tuple[Span, int]] = []
        waiting = [(self.root, 0)]
        while waiting:
            span, depth = waiting.pop()
            found.append((span, depth))
            waiting.extend((child, depth + 1) for child in reversed(self._children.get(span.span_id, [])))
        return found

    def children(self, span: Span) -> Sequence[Span]:
        """The span's children, by start."""
        return tuple(self._children.get(span.span_id, ()))

    def exclusive_s(self) -> dict[str, float]:
        """Share of the root's time for each span id."""
        shares = dict.fromkeys(self._spans, 0.0)
        parent = {child.span_id: key for key, group in self._children.items() for child in group}
        changes = sorted(
            (moment, opens, span_id)
            for span_id, (start, end) in self._clipped.items()
            if end > start
            for moment, opens in ((start, True), (end, False))
        )
        active_children: dict[str, int] = defaultdict(int)
        active: set[str] = set()
        before = self.root.start_ns
        for moment, opens, span_id in changes:
            if moment > before:
                leaves = [one for one in active if not active_children[one]]
                for one in leaves:
                    shares[one] += (moment - before) / len(leaves) / _NANOSECONDS
                before = moment
            above = parent.get(span_id)
            if opens:
                active.add(span_id)
            else:
                active.discard(span_id)
            if above is not None:
                active_children[above] += 1 if opens else -1
        return shares

    def critical_s(self) -> dict[str, float]:
        """Time on the critical path for each span id; 0 for spans that nothing waited for."""
        path = dict.fromkeys(self._spans, 0.0)
        waiting = [(self.root, self._clipped[self.root.span_id][1])]
        while waiting:
            span, cursor = waiting.pop()
            start = self._clipped[span.span_id][0]
            by_end = sorted(self._children.get(span.span_id, ()), key=lambda child: self._clipped[child.span_id][1])
            for child in reversed(by_end):
                low, high = self._clipped[child.span_id]
                # One that still ran when the last awaited one began was not what that one waited for.
                if low == high or high > cursor:
                    continue
                path[span.span_id] += (cursor - high) / _NANOSECONDS
                waiting.append((child, high))
                cursor = low
            path[span.span_id] += (cursor - start) / _NANOSECONDS
        return path


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One trace found in span files."""

    trace_id: str
    spans: tuple[Span, ...]

    @property
    def tree(self) -> SpanTree:
        """The spans under their root."""
        return SpanTree(self.spans)

    @property
    def is_question(self) -> bool:
        """Whether a question was answered in it, and not, say, a health check."""
        return any(span.name in _OF_A_QUESTION for span in self.spans)

    @property
    def start_s(self) -> float:
        """Unix time of the first span."""
        return min(span.start_ns for span in self.spans) / _NANOSECONDS


def read_traces(folder: Path) -> list[TraceSummary]:
    """Read the span files of a folder, as :class:`argo.telemetry.SpanFileExporter` writes them.

    Lines that are cut off, because a process was killed while it wrote, are left out.

    Returns:
        The traces, oldest first.

    Raises:
        NotFoundError: The folder does not exist.
    """
    if not folder.is_dir():
        raise NotFoundError(f"span_dir must be a folder with span files, got {folder}: there is none")
    traces: dict[str, list[Span]] = defaultdict(list)
    for path in sorted([*folder.glob("*.jsonl.1"), *folder.glob("*.jsonl")]):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                parsed = _parse(line)
                if parsed is not None:
                    traces[parsed[0]].append(parsed[1])
    summaries = [TraceSummary(trace_id, tuple(spans)) for trace_id, spans in traces.items()]
    return sorted(summaries, key=lambda summary: summary.start_s)


def _parse(line: str) -> tuple[str, Span] | None:
    try:
        record = json.loads(line)
        return record["trace_id"], Span(
            span_id=record["span_id"],
            parent_id=record["parent_id"],
            name=record["name"],
            service=record["service"],
            start_ns=int(record["start_ns"]),
            end_ns=int(record["end_ns"]),
            attributes=record["attributes"],
            failed=record["status"] == "ERROR",
        )
    except (ValueError, KeyError, TypeError):
        return None
