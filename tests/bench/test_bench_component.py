"""Exclusive times and critical paths worked by hand, beside an oracle that adds up instant by instant."""

import itertools
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.component import COMPONENTS, critical_ms, exclusive_ms, mean_own_ms, own_ms


def _hop(
    service: str,
    name: str,
    start_ms: float,
    duration_ms: float,
    work_ms: float | None,
    *,
    queue_ms: float = 0.0,
    prefill_ms: float | None = None,
    decode_ms: float | None = None,
    ttft_ms: float | None = None,
) -> dict[str, Any]:
    return {
        "service": service,
        "name": name,
        "start_ms": start_ms,
        "duration_ms": duration_ms,
        "error": "UNAVAILABLE" if work_ms is None else "",
        "queue_ms": None if work_ms is None else queue_ms,
        "work_ms": work_ms,
        "prefill_ms": prefill_ms,
        "decode_ms": decode_ms,
        "ttft_ms": ttft_ms,
    }


def _row(
    total_ms: float, *hops: dict[str, Any], latency_ms: float | None = None, late_ms: float = 0.0
) -> dict[str, Any]:
    return {
        "intended_ms": 100.0,
        "sent_ms": 100.0 + late_ms,
        "latency_ms": total_ms if latency_ms is None else latency_ms,
        "total_ms": total_ms,
        "hops": list(hops),
    }


def _some(times: dict[str, float]) -> dict[str, float]:
    assert set(times) == set(COMPONENTS)
    return {name: round(value, 6) for name, value in times.items() if value}


def test_calls_one_after_another_have_their_own_time_and_the_gaps_are_the_orchestrators() -> None:
    row = _row(
        20,
        _hop("decomposer", "PlanFoci", 1, 3, 2),
        _hop("retriever", "Search", 5, 6, 5),
        _hop("synthesizer", "Synthesize", 12, 7, 7),
        latency_ms=22,
    )
    # Calls of 3, 6 and 7 in 20, so 4 without one; 1 + 1 + 0 of them on the way; the caller saw 2 more.
    expected = {"orchestrator": 4, "decomposer": 2, "retriever": 5, "synthesizer": 7, "network": 2, "caller": 2}
    assert _some(exclusive_ms(row)) == expected
    # Nothing ran beside anything, so all of it was waited for.
    assert _some(critical_ms(row)) == expected


def test_parallel_calls_share_the_instants_in_which_both_run() -> None:
    row = _row(6, _hop("decomposer", "GenerateSubquery", 1, 3, 3), _hop("retriever", "Search", 2, 3, 3))
    # 0-1 none, 1-2 the first alone, 2-4 both, 4-5 the second alone, 5-6 none.
    assert _some(exclusive_ms(row)) == {"orchestrator": 2, "decomposer": 2, "retriever": 2}


def test_the_critical_path_passes_by_what_nothing_waited_for() -> None:
    row = _row(
        20,
        _hop("retriever", "Search", 1, 8, 8),  # the question's own search, beside the two that follow
        _hop("decomposer", "GenerateSubquery", 1, 4, 4),
        _hop("retriever", "Search", 6, 6, 4),
        _hop("synthesizer", "Synthesize", 14, 5, 5),
    )
    # Back from 20: 1 orchestrator; Synthesize 19-14; 2 orchestrator; the second search 12-6, of which 2 on the way;
    # 1 orchestrator, since the first search still ran when the second began; GenerateSubquery 5-1; 1 orchestrator.
    assert _some(critical_ms(row)) == {
        "orchestrator": 5,
        "decomposer": 4,
        "retriever": 4,
        "synthesizer": 5,
        "network": 2,
    }


def test_an_engines_parts_come_last_in_the_work_of_their_service() -> None:
    row = _row(
        30,
        # 1 ms there, 26 inside: 4 of its own, then 2 queue, 6 prefill, 14 decode; 1 ms back.
        _hop("synthesizer", "Reason", 0, 28, 24, queue_ms=2, ttft_ms=8, prefill_ms=6, decode_ms=14),
        # Runs beside 1 ms back, from 27 to 28, and alone from 28 to 29.
        _hop("retriever", "Search", 27, 2, 2),
    )
    assert _some(exclusive_ms(row)) == {
        "orchestrator": 1,
        "reasoning": 4,
        "engine_queue": 2,
        "engine_prefill": 6,
        "engine_decode": 14,
        "network": 1.5,
        "retriever": 1.5,
    }
    # The search began while Reason still ran and ended last: it waited for no call.
    assert _some(critical_ms(row)) == {"orchestrator": 28, "retriever": 2}


def test_reason_is_reasoning_and_synthesize_the_synthesizers() -> None:
    row = _row(4, _hop("synthesizer", "Reason", 0, 1, 1), _hop("synthesizer", "Synthesize", 1, 3, 3))
    assert _some(exclusive_ms(row)) == {"reasoning": 1, "synthesizer": 3}


def test_an_engine_that_reports_more_than_its_service_is_clipped_to_it() -> None:
    row = _row(10, _hop("synthesizer", "Synthesize", 0, 10, 8, ttft_ms=5, prefill_ms=3, decode_ms=6))
    # Inside from 1 to 9: decode 3-9, prefill 0-3 of which 1-3, queue before it of which nothing.
    assert _some(exclusive_ms(row)) == {"network": 2, "engine_prefill": 2, "engine_decode": 6}


def test_a_prefill_that_is_not_told_is_the_time_to_the_first_token() -> None:
    row = _row(10, _hop("synthesizer", "Synthesize", 0, 10, 10, ttft_ms=4, decode_ms=5))
    assert _some(exclusive_ms(row)) == {"synthesizer": 1, "engine_prefill": 4, "engine_decode": 5}


def test_a_failed_call_is_neither_its_services_nor_the_networks_time() -> None:
    row = _row(5, _hop("decomposer", "PlanFoci", 1, 3, None))
    assert _some(exclusive_ms(row)) == {"orchestrator": 2, "failed_call": 3}


def test_calls_are_clipped_to_their_question() -> None:
    row = _row(
        4,
        _hop("decomposer", "PlanFoci", -1, 2, 2),
        _hop("retriever", "Search", 3, 6, 6),
        _hop("retriever", "Search", 10, 2, 2),
    )
    assert _some(exclusive_ms(row)) == {"orchestrator": 2, "decomposer": 1, "retriever": 1}


def test_a_service_that_reports_more_than_its_call_took_never_gives_negative_time() -> None:
    assert _some(exclusive_ms(_row(1, _hop("retriever", "Search", 0, 1, 1.4)))) == {"retriever": 1}


def test_a_question_that_was_put_late_is_its_callers_time() -> None:
    row = _row(4, _hop("retriever", "Search", 0, 4, 4), latency_ms=10, late_ms=5)
    # 5 late and 1 on the way.
    assert _some(exclusive_ms(row)) == {"retriever": 4, "caller": 6}


def test_an_orchestrator_whose_clock_runs_longer_than_the_caller_waited_is_clipped() -> None:
    assert _some(exclusive_ms(_row(5, latency_ms=3))) == {"orchestrator": 3}


def test_the_orchestrators_own_entries_are_no_calls() -> None:
    assert _some(exclusive_ms(_row(3, _hop("orchestrator", "plan", 0, 3, None)))) == {"orchestrator": 3}


def test_own_time_goes_by_method_and_adds_up() -> None:
    row = _row(
        10,
        _hop("decomposer", "PlanFoci", 0, 2, 1, queue_ms=0.5),
        _hop("retriever", "Search", 2, 4, 3),
        _hop("retriever", "Search", 2, 4, 1),
        _hop("synthesizer", "Synthesize", 7, 1, None),
    )
    own = own_ms(row)
    # Two searches share 4 ms: 1.5 and 0.5 inside, the rest network; a failed call of 1 ms.
    assert own == pytest.approx(
        {
            "decomposer.PlanFoci": 1.5,
            "retriever.Search": 2.0,
            "network": 0.5 + 2.0,
            "failed_call": 1.0,
            "orchestrator": 1.0 + 2.0,
        }
    )
    assert mean_own_ms([row, _row(2)])["orchestrator"] == pytest.approx((3.0 + 2.0) / 2)


_MS = st.floats(0, 50, allow_nan=False).map(lambda value: round(value, 3))
_UNSET = st.none() | _MS


@st.composite
def _hops(draw: st.DrawFn) -> dict[str, Any]:
    service, name = draw(
        st.sampled_from(
            [
                ("decomposer", "GenerateSubquery"),
                ("retriever", "Search"),
                ("synthesizer", "Reason"),
                ("synthesizer", "Synthesize"),
            ]
        )
    )
    return _hop(
        service,
        name,
        draw(_MS) - 5,
        draw(_MS),
        draw(_UNSET),
        queue_ms=draw(_MS),
        prefill_ms=draw(_UNSET),
        decode_ms=draw(_UNSET),
        ttft_ms=draw(_UNSET),
    )


@st.composite
def _rows(draw: st.DrawFn) -> dict[str, Any]:
    hops = draw(st.lists(_hops(), max_size=8))
    return _row(draw(_MS), *hops, latency_ms=draw(_MS), late_ms=draw(_MS))


@given(_rows())
def test_exclusive_times_and_the_critical_path_partition_the_latency(row: dict[str, Any]) -> None:
    for times in (exclusive_ms(row), critical_ms(row)):
        assert min(times.values()) >= 0
        # Times are kept in whole nanoseconds.
        assert sum(times.values()) == pytest.approx(row["latency_ms"], abs=1e-5)


@given(_rows())
def test_exclusive_times_agree_with_a_sum_instant_by_instant(row: dict[str, Any]) -> None:
    expected = _instant_by_instant(row)
    assert exclusive_ms(row) == pytest.approx({name: expected[name] for name in COMPONENTS}, abs=1e-4)


def _instant_by_instant(row: dict[str, Any]) -> dict[str, float]:
    """The same rule, written down another way: nested intervals, cut at every edge."""
    late = row["sent_ms"] - row["intended_ms"]
    begin = late + max(0.0, row["latency_ms"] - late - row["total_ms"]) / 2
    root = (0.0, row["latency_ms"])
    question = _inside(root, begin, begin + row["total_ms"])
    # Each chain goes from the outermost to the innermost; several innermost ones lie side by side in the last place.
    chains: list[list[list[tuple[str, tuple[float, float]]]]] = []
    for hop in row["hops"]:
        start, took = begin + hop["start_ms"], hop["duration_ms"]
        call = _inside(question, start, start + took)
        if hop["work_ms"] is None:
            chains.append([[("failed_call", call)]])
            continue
        worked = min(took, hop["queue_ms"] + hop["work_ms"])
        end = start + took / 2 + worked / 2
        work = _inside(call, end - worked, end)
        owner = "reasoning" if hop["name"] == "Reason" else hop["service"]
        chain = [[("network", call)], [(owner, work)]]
        if hop["ttft_ms"] is not None:
            prefill = hop["ttft_ms"] if hop["prefill_ms"] is None else hop["prefill_ms"]
            decode_from = end - (hop["decode_ms"] or 0.0)
            prefill_from = decode_from - prefill
            queue_from = prefill_from - max(0.0, hop["ttft_ms"] - prefill)
            chain.append(
                [
                    ("engine_queue", _inside(work, queue_from, prefill_from)),
                    ("engine_prefill", _inside(work, prefill_from, decode_from)),
                    ("engine_decode", _inside(work, decode_from, end)),
                ]
            )
        chains.append(chain)
    edges = {*root, *question, *(edge for chain in chains for level in chain for _, span in level for edge in span)}
    found: dict[str, float] = defaultdict(float)
    cuts = sorted(edges)
    for low, high in itertools.pairwise(cuts):
        middle = (low + high) / 2
        owners = [
            running[-1]
            for chain in chains
            if (running := [name for level in chain for name, span in level if span[0] < middle < span[1]])
        ]
        if not owners:
            owners = ["orchestrator" if question[0] < middle < question[1] else "caller"]
        for owner in owners:
            found[owner] += (high - low) / len(owners)
    return found


def _inside(outer: tuple[float, float], start: float, end: float) -> tuple[float, float]:
    low = min(max(start, outer[0]), outer[1])
    return low, min(max(end, low), outer[1])
