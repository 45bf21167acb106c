"""Exclusive times and the critical path: hand-worked cases and properties."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo.errors import InvalidArgumentError, NotFoundError
from argo.trace import Span, SpanTree, read_traces

MS = 1_000_000


def span(span_id: str, parent_id: str | None, start_ms: float, end_ms: float, name: str = "work") -> Span:
    return Span(span_id, parent_id, name, "test", round(start_ms * MS), round(end_ms * MS))


def exclusive_ms(spans: Sequence[Span]) -> dict[str, float]:
    return {key: round(value * 1000, 6) for key, value in SpanTree(spans).exclusive_s().items()}


def critical_ms(spans: Sequence[Span]) -> dict[str, float]:
    return {key: round(value * 1000, 6) for key, value in SpanTree(spans).critical_s().items()}


def test_a_lone_span_has_all_of_its_time() -> None:
    assert exclusive_ms([span("r", None, 0, 10)]) == {"r": 10}
    assert critical_ms([span("r", None, 0, 10)]) == {"r": 10}


def test_a_parent_keeps_what_its_children_leave() -> None:
    spans = [span("r", None, 0, 10), span("a", "r", 2, 5), span("b", "r", 6, 9)]
    assert exclusive_ms(spans) == {"r": 4, "a": 3, "b": 3}
    assert critical_ms(spans) == {"r": 4, "a": 3, "b": 3}


def test_parallel_children_share_each_instant_equally() -> None:
    # r alone 0-2 and 8-10; a alone 2-4; a and b together 4-6; b alone 6-8.
    spans = [span("r", None, 0, 10), span("a", "r", 2, 6), span("b", "r", 4, 8)]
    assert exclusive_ms(spans) == {"r": 4, "a": 3, "b": 3}


def test_a_fan_out_of_three_gives_each_a_third() -> None:
    spans = [span("r", None, 0, 9), *(span(name, "r", 0, 9) for name in "abc")]
    assert exclusive_ms(spans) == {"r": 0, "a": 3, "b": 3, "c": 3}


def test_a_span_that_waits_for_its_child_shares_nothing_with_the_childs_siblings() -> None:
    # 0-4: a's child c and b share, a waits; 4-6: a and b share.
    spans = [span("r", None, 0, 6), span("a", "r", 0, 6), span("b", "r", 0, 6), span("c", "a", 0, 4)]
    assert exclusive_ms(spans) == {"r": 0, "a": 1, "b": 3, "c": 2}


def test_a_child_is_clipped_to_its_parent() -> None:
    spans = [span("r", None, 10, 20), span("a", "r", 5, 12), span("b", "a", 0, 30), span("c", "r", 18, 40)]
    assert exclusive_ms(spans) == {"r": 6, "a": 0, "b": 2, "c": 2}


def test_a_child_outside_of_its_parent_has_nothing() -> None:
    spans = [span("r", None, 0, 10), span("a", "r", 12, 15), span("b", "a", 12, 15)]
    assert exclusive_ms(spans) == {"r": 10, "a": 0, "b": 0}
    assert critical_ms(spans) == {"r": 10, "a": 0, "b": 0}


def test_the_critical_path_goes_through_the_sibling_that_ended_last() -> None:
    spans = [span("r", None, 0, 10), span("a", "r", 1, 4), span("b", "r", 1, 9)]
    assert critical_ms(spans) == {"r": 2, "a": 0, "b": 8}


def test_the_critical_path_takes_what_ended_before_the_awaited_one_began() -> None:
    # d ends last; b ended just before d began, c still ran then.
    spans = [
        span("r", None, 0, 20),
        span("a", "r", 0, 4),
        span("b", "r", 5, 9),
        span("c", "r", 5, 12),
        span("d", "r", 10, 19),
    ]
    assert critical_ms(spans) == {"r": 3, "a": 4, "b": 4, "c": 0, "d": 9}


def test_a_span_whose_parent_was_never_written_is_put_under_the_root() -> None:
    spans = [span("r", None, 0, 10, "argo.ask"), span("a", "lost", 2, 5)]
    tree = SpanTree(spans)
    assert [(item.span_id, depth) for item, depth in tree.walk()] == [("r", 0), ("a", 1)]
    assert exclusive_ms(spans) == {"r": 7, "a": 3}


def test_the_callers_own_span_is_the_root_even_where_an_orphan_is_longer() -> None:
    assert SpanTree([span("x", "lost", 0, 99), span("r", None, 0, 10, "argo.ask")]).root.span_id == "r"


def test_spans_that_are_each_others_parents_do_not_hang() -> None:
    spans = [span("r", None, 0, 10), span("a", "b", 1, 3), span("b", "a", 1, 3)]
    tree = SpanTree(spans)
    assert {item.span_id for item, _ in tree.walk()} == {"r", "a", "b"}
    assert math.isclose(sum(tree.exclusive_s().values()), 0.010)


def test_the_first_of_two_spans_with_one_id_counts() -> None:
    assert exclusive_ms([span("r", None, 0, 10), span("a", "r", 0, 4), span("a", "r", 0, 9)]) == {"r": 6, "a": 4}


def test_no_spans_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one span"):
        SpanTree([])


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    count = draw(st.integers(1, 25))
    spans = []
    for number in range(count):
        start = draw(st.integers(0, 1_000_000))
        length = draw(st.integers(0, 1_000_000))
        # Any earlier span, or one that is not there.
        parent = None if number == 0 else draw(st.sampled_from([*(str(n) for n in range(number)), "lost"]))
        spans.append(Span(str(number), parent, "argo.ask" if number == 0 else "work", "test", start, start + length))
    return draw(st.permutations(spans))


@given(traces())
def test_exclusive_times_are_never_negative_and_add_up_to_the_root(spans: list[Span]) -> None:
    tree = SpanTree(spans)
    shares = tree.exclusive_s()
    assert min(shares.values()) >= 0
    assert math.isclose(math.fsum(shares.values()), tree.root.duration_s, rel_tol=1e-9, abs_tol=1e-12)


@given(traces())
def test_exclusive_times_agree_with_a_count_of_every_instant(spans: list[Span]) -> None:
    # Oracle: walk the elementary intervals by brute force, with clipping done by recursion.
    tree = SpanTree(spans)
    clipped: dict[str, tuple[int, int]] = {}
    children: dict[str, list[str]] = {}

    def clip(item: Span, low: int, high: int) -> None:
        start, end = max(item.start_ns, low), min(item.end_ns, high)
        clipped[item.span_id] = (start, max(start, end))
        children[item.span_id] = [child.span_id for child in tree.children(item)]
        for child in tree.children(item):
            clip(child, start, max(start, end))

    clip(tree.root, tree.root.start_ns, tree.root.end_ns)
    moments = sorted({moment for pair in clipped.values() for moment in pair})
    expected = dict.fromkeys(clipped, 0.0)
    for low, high in itertools.pairwise(moments):
        active = {key for key, (start, end) in clipped.items() if start <= low and high <= end}
        leaves = [key for key in active if not active.intersection(children[key])]
        for key in leaves:
            expected[key] += (high - low) / len(leaves) / 1e9
    got = tree.exclusive_s()
    assert all(math.isclose(got[key], expected[key], rel_tol=1e-9, abs_tol=1e-12) for key in clipped)


@given(traces())
def test_the_critical_path_is_never_negative_and_adds_up_to_the_root(spans: list[Span]) -> None:
    tree = SpanTree(spans)
    path = tree.critical_s()
    assert min(path.values()) >= 0
    assert math.isclose(math.fsum(path.values()), tree.root.duration_s, rel_tol=1e-9, abs_tol=1e-12)


def line(trace_id: str, span_id: str, start_ms: int, end_ms: int, **changes: object) -> str:
    record = {
        "trace_id": trace_id,
        "span_id": span_id,
        "parent_id": None,
        "name": "argo.ask",
        "kind": "internal",
        "service": "cli",
        "start_ns": start_ms * MS,
        "end_ns": end_ms * MS,
        "status": "UNSET",
        "attributes": {"argo.strategy": "mdp"},
    }
    return json.dumps(record | changes) + "\n"


def test_traces_are_put_together_from_the_files_of_several_processes_oldest_first(tmp_path: Path) -> None:
    (tmp_path / "cli-1.jsonl").write_text(line("bb", "1", 100, 110) + line("aa", "3", 0, 10))
    (tmp_path / "retriever-2.jsonl").write_text(line("bb", "2", 101, 105, parent_id="1", status="ERROR"))
    (tmp_path / "retriever-2.jsonl.1").write_text(line("aa", "4", 1, 5, parent_id="3"))
    traces = read_traces(tmp_path)
    assert [trace.trace_id for trace in traces] == ["aa", "bb"]
    assert [[item.span_id for item, _ in trace.tree.walk()] for trace in traces] == [["3", "4"], ["1", "2"]]
    assert traces[1].tree.children(traces[1].tree.root)[0].failed


def test_a_line_that_was_cut_off_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a-1.jsonl").write_text(line("aa", "1", 0, 10) + line("aa", "2", 0, 10)[:40] + "\n[]\n")
    (trace,) = read_traces(tmp_path)
    assert [item.span_id for item in trace.spans] == ["1"]


def test_a_missing_folder_of_spans_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"span_dir must be a folder with span files, got .*nowhere"):
        read_traces(tmp_path / "nowhere")
