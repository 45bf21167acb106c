import pytest

from argo.v1 import orchestrator_pb2, types_pb2
from bench.hop import HopTime, exclusive_s, hop_times, own_time_s


def test_parallel_calls_share_the_instants_in_which_both_run() -> None:
    # 0-1 nothing, 1-2 the first alone, 2-4 both, 4-5 the second alone, 5-6 nothing.
    shares, idle = exclusive_s([(1, 4), (2, 5)], 6)
    assert shares == [2.0, 2.0]
    assert idle == 2.0


def test_calls_are_clipped_to_their_question() -> None:
    shares, idle = exclusive_s([(-1, 1), (3, 9), (10, 12)], 4)
    assert shares == [1.0, 1.0, 0.0]
    assert idle == 2.0


def test_own_time_splits_a_call_into_service_and_network_and_adds_up() -> None:
    hops = [
        HopTime("decomposer", "PlanFoci", 0.0, 2.0, 1.5),
        HopTime("retriever", "Search", 2.0, 4.0, 3.0),
        HopTime("retriever", "Search", 2.0, 4.0, 1.0),
        HopTime("synthesizer", "Synthesize", 7.0, 1.0, None),
    ]
    own = own_time_s(hops, 10.0)
    # Two searches share 4 s, 2 s each: 2 * 3/4 + 2 * 1/4 inside, the rest network; 1 s of a failed call is network.
    assert own == {
        "decomposer.PlanFoci": 1.5,
        "retriever.Search": 2.0,
        "synthesizer.Synthesize": 0.0,
        "network": 0.5 + 2.0 + 1.0,
        "orchestrator": 1.0 + 2.0,
    }
    assert sum(own.values()) == 10.0


def test_a_service_that_reports_more_than_its_call_took_never_gives_negative_time() -> None:
    own = own_time_s([HopTime("retriever", "Search", 0.0, 1.0, 1.4)], 1.0)
    assert own == {"orchestrator": 0.0, "retriever.Search": 1.0, "network": 0.0}


def test_the_orchestrators_own_entries_are_no_calls() -> None:
    hops = [
        orchestrator_pb2.Hop(service="orchestrator", name="plan", start_s=0, duration_s=1),
        orchestrator_pb2.Hop(
            service="retriever",
            name="Search",
            start_s=1,
            duration_s=2,
            timing=types_pb2.Timing(queue_s=0.25, work_s=1.0),
        ),
        orchestrator_pb2.Hop(service="decomposer", name="PlanFoci", start_s=0, duration_s=1, error="UNAVAILABLE"),
    ]
    read = hop_times(hops)
    assert [(hop.service, hop.service_s) for hop in read] == [("retriever", pytest.approx(1.25)), ("decomposer", None)]
