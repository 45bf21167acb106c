"""Figures of hops against a plain computation on the raw spans, from a recording in the shape of Jaeger's API."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from jaeger_shape import RECORDING
from typer.testing import CliRunner

from argo.cli import app
from argo.errors import InvalidArgumentError
from argo.hop import compare, hop_figures, hop_of, nearest_rank
from argo.jaeger import parse_traces
from argo.trace import Span, SpanTree, TraceSummary

RECORDED: dict[str, Any] = json.loads(RECORDING.read_text())
MS = 1_000_000


class Plain:
    """One trace of the recording, computed on the JSON itself: instant by instant, without the code under test."""

    def __init__(self, trace: dict[str, Any]) -> None:
        self.spans = {span["spanID"]: span for span in trace["spans"]}
        self.parent = {
            key: next((reference["spanID"] for reference in span["references"]), None)
            for key, span in self.spans.items()
        }
        [self.root] = [key for key, parent in self.parent.items() if parent is None]
        self.window: dict[str, tuple[int, int]] = {}
        for key in self.spans:
            self._clip(key)

    def _clip(self, key: str) -> tuple[int, int]:
        if key not in self.window:
            start = self.spans[key]["startTime"]
            end = start + self.spans[key]["duration"]
            parent = self.parent[key]
            if parent is not None:
                low, high = self._clip(parent)
                start = min(max(start, low), high)
                end = min(max(end, start), high)
            self.window[key] = (start, end)
        return self.window[key]

    def exclusive_us(self) -> dict[str, float]:
        shares = dict.fromkeys(self.spans, 0.0)
        edges = sorted({edge for window in self.window.values() for edge in window})
        for low, high in pairwise(edges):
            active = [key for key, (start, end) in self.window.items() if start <= low and high <= end]
            waiting = {self.parent[key] for key in active}
            leaves = [key for key in active if key not in waiting]
            for key in leaves:
                shares[key] += (high - low) / len(leaves)
        return shares

    def critical_us(self) -> dict[str, int]:
        """Walk back from the end, a microsecond at a time: whoever ends at this instant is what was waited for."""
        path = dict.fromkeys(self.spans, 0)
        ends: dict[tuple[str, int], list[str]] = defaultdict(list)
        for key, (start, end) in self.window.items():
            if end > start and self.parent[key] is not None:
                ends[str(self.parent[key]), end].append(key)
        stack = [(self.root, self.window[self.root][1])]
        while stack:
            key, now = stack.pop()
            while now > self.window[key][0]:
                if (key, now) in ends:
                    # Of two that end together, the one that began later.
                    last = max(ends[key, now], key=lambda child: (self.window[child], child))
                    stack.append((last, now))
                    now = self.window[last][0]
                else:
                    path[key] += 1
                    now -= 1
        return path


def _trees() -> list[TraceSummary]:
    return parse_traces(RECORDED)


def test_figures_of_hops_are_those_of_the_raw_spans() -> None:
    durations: dict[str, list[int]] = defaultdict(list)
    exclusive: dict[str, float] = defaultdict(float)
    critical: dict[str, float] = defaultdict(float)
    names = {(trace.trace_id, span.span_id): hop_of(span) for trace in _trees() for span in trace.spans}
    whole = 0
    for trace in RECORDED["data"]:
        plain = Plain(trace)
        own, path = plain.exclusive_us(), plain.critical_us()
        whole += plain.spans[plain.root]["duration"]
        for key, span in plain.spans.items():
            hop = names[trace["traceID"], key]
            durations[hop].append(span["duration"])
            exclusive[hop] += own[key]
            critical[hop] += path[key]
    figures = {one.hop: one for one in hop_figures(_trees())}
    assert figures.keys() == durations.keys()
    assert len(figures) > 12
    for hop, one in figures.items():
        assert one.count == len(durations[hop])
        for share, seconds in ((0.5, one.p50_s), (0.95, one.p95_s), (0.99, one.p99_s)):
            ranked = sorted(durations[hop])
            least = next(value for place, value in enumerate(ranked, start=1) if place >= share * len(ranked))
            assert seconds == pytest.approx(least / 1e6, abs=1e-12), (hop, share)
        assert one.exclusive_s == pytest.approx(exclusive[hop] / 1e6 / len(RECORDED["data"]), abs=1e-9), hop
        assert one.critical_share == pytest.approx(critical[hop] / whole, abs=1e-9), hop
    assert math.fsum(one.critical_share for one in figures.values()) == pytest.approx(1)
    mean_s = statistics.fmean(Plain(trace).spans[Plain(trace).root]["duration"] for trace in RECORDED["data"]) / 1e6
    assert math.fsum(one.exclusive_s for one in figures.values()) == pytest.approx(mean_s)


def test_hops_are_named_by_what_they_do_whichever_question_they_belong_to() -> None:
    assert {one.hop for one in hop_figures(_trees())} >= {
        "argo.ask",
        "orchestrator Ask",
        "in orchestrator Ask",
        "step retrieve",
        "decomposer GenerateSubquery",
        "in decomposer GenerateSubquery",
        "decomposer generates subquery",
        "decomposer engine decode",
        "synthesizer engine prefill",
        "in retriever Search",
    }


def test_what_a_model_finished_is_no_failure() -> None:
    assert [one for one in hop_figures(_trees()) if one.failed] == []


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 10), (0.5, 20), (0.51, 30), (0.75, 30), (0.76, 40), (0.99, 40), (1.0, 40)]
)
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert nearest_rank([40.0, 10.0, 30.0, 20.0], share) == expected


def _span(key: str, parent: str | None, name: str, start_ms: int, end_ms: int) -> Span:
    return Span(key, parent, name, "orchestrator", start_ms * MS, end_ms * MS)


def test_changes_of_the_critical_path_add_up_to_the_change_of_the_whole() -> None:
    plan = _span("2", "1", "plan", 1, 4)
    before = SpanTree([_span("1", None, "argo.ask", 0, 10), plan, _span("3", "1", "write", 4, 9)])
    after = SpanTree([_span("1", None, "argo.ask", 0, 25), plan, _span("4", "1", "search", 4, 24)])
    found = {one.hop: one for one in compare(before, after)}
    assert next(iter(found)) == "search"
    assert {hop: round(one.change_s * 1000, 6) for hop, one in found.items()} == {
        "search": 20,
        "write": -5,
        "argo.ask": 0,
        "plan": 0,
    }
    assert found["search"].count == (0, 1)
    assert found["write"].exclusive_s == (0.005, 0.0)
    assert math.fsum(one.change_s for one in found.values()) == pytest.approx(0.015)


def test_two_recorded_traces_differ_by_as_much_as_their_roots_do() -> None:
    one, *_, other = _trees()
    found = compare(one.tree, other.tree)
    assert math.fsum(each.change_s for each in found) == pytest.approx(
        other.tree.root.duration_s - one.tree.root.duration_s
    )


def test_figures_of_no_trace_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one trace, got 0"):
        hop_figures([])


def test_a_trace_of_the_recording_reads_the_same_from_files_as_from_jaeger(tmp_path: Any) -> None:
    trace = _trees()[0]
    lines = [
        {
            "trace_id": trace.trace_id,
            "span_id": span.span_id,
            "parent_id": span.parent_id,
            "name": span.name,
            "service": span.service,
            "start_ns": span.start_ns,
            "end_ns": span.end_ns,
            "attributes": dict(span.attributes),
            "status": "ERROR" if span.failed else "UNSET",
        }
        for span in trace.spans
    ]
    (tmp_path / "all-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = CliRunner().invoke(app, ["trace", "hops", "--dir", str(tmp_path), "--since", "365d", "--json"])
    hops = json.loads(shown.stdout)["hops"]
    late = CliRunner().invoke(app, ["trace", "hops", "--dir", str(tmp_path), "--since", "1s"])
    assert (late.exit_code, late.stderr.split(",")[0]) == (2, "argo: since must reach back to a trace")
    assert [hop["hop"] for hop in hops] == [one.hop for one in hop_figures([trace])]
