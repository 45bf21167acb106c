import pytest

from argo.result import Hop, Timing
from bench.hop import exclusive_s, own_time_s


def _hop(service: str, name: str, start_s: float, duration_s: float, work_s: float | None, queue_s: float = 0) -> Hop:
    timing = Timing(queue_s=queue_s, work_s=work_s) if work_s is not None else None
    error = "" if timing else "UNAVAILABLE"
    return Hop(service=service, name=name, step=1, start_s=start_s, duration_s=duration_s, timing=timing, error=error)


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
        _hop("decomposer", "PlanFoci", 0.0, 2.0, 1.0, queue_s=0.5),
        _hop("retriever", "Search", 2.0, 4.0, 3.0),
        _hop("retriever", "Search", 2.0, 4.0, 1.0),
        _hop("synthesizer", "Synthesize", 7.0, 1.0, None),
        _hop("orchestrator", "plan", 0.0, 10.0, None),
    ]
    own = own_time_s(hops, 10.0)
    # Two searches share 4 s, 2 s each: 2 * 3/4 + 2 * 1/4 inside, the rest network; 1 s of a failed call is network;
    # the orchestrator's own entry is no call.
    assert own == {
        "decomposer.PlanFoci": 1.5,
        "retriever.Search": 2.0,
        "synthesizer.Synthesize": 0.0,
        "network": 0.5 + 2.0 + 1.0,
        "orchestrator": 1.0 + 2.0,
    }
    assert sum(own.values()) == pytest.approx(10.0)


def test_a_service_that_reports_more_than_its_call_took_never_gives_negative_time() -> None:
    own = own_time_s([_hop("retriever", "Search", 0.0, 1.0, 1.4)], 1.0)
    assert own == {"orchestrator": 0.0, "retriever.Search": 1.0, "network": 0.0}
