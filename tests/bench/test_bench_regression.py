"""Each verdict of `check`, both ways."""

from pathlib import Path
from typing import Any

import pytest

from argo.errors import InvalidArgumentError
from bench.record import RecordFile, Run, read_record
from bench.regression import Bounds, Finding, Outcome, busier, judge

_LOGS = {"logs": ["synthesizer"], "lines": {}, "gone": [], "kernel_kills": 0}


def _run(
    folder: Path,
    *,
    per_s: float = 10.0,
    in_flight: int = 4,
    latency_ms: float = 100.0,
    tokens: int = 0,
    gpu: float | None = None,
    memory: dict[str, Any] | None = _LOGS,
    error: str = "",
    chunks: int = 1,
) -> Run:
    """A run of one level whose chunks have ten questions each."""
    with RecordFile(folder, "throughput", {"settings": {}}) as records:
        for chunk in range(chunks):
            for _ in range(10):
                row = {"in_flight": in_flight, "chunk": chunk, "error": error, "latency_ms": latency_ms}
                records.write("question", row if error else {**row, "completion_tokens": tokens})
            # Every other chunk a fifth slower and faster, so that there is noise.
            wall_s = 10 / per_s * (1.2 if chunk % 2 else 0.8 if chunks > 1 else 1.0)
            records.write("chunk", {"in_flight": in_flight, "chunk": chunk, "wall_s": wall_s})
        if gpu is not None:
            use = {"uuid": "a", "utilisation": gpu, "memory_used_bytes": 2**30, "samples": 1}
            records.write("gpu", {"in_flight": in_flight, **use})
        if memory is not None:
            records.write("memory", memory)
    return read_record(records.path)


def _judged(saved: Run, new: Run, what: str, **bounds: float) -> Finding:
    (finding,) = (each for each in judge(saved, new, Bounds(**bounds)) if each.what.startswith(what))
    return finding


@pytest.mark.parametrize(
    ("per_s", "outcome"),
    [(8.49, Outcome.FAILED), (8.51, Outcome.PASSED), (10.0, Outcome.PASSED), (20.0, Outcome.PASSED)],
)
def test_throughput_may_fall_by_15_percent_and_no_more(tmp_path: Path, per_s: float, outcome: Outcome) -> None:
    finding = _judged(_run(tmp_path / "a"), _run(tmp_path / "b", per_s=per_s), "throughput")
    assert finding.outcome is outcome
    assert "from 10.0; at least -15 %" in finding.why


def test_a_fall_is_named_with_both_figures(tmp_path: Path) -> None:
    finding = _judged(_run(tmp_path / "a"), _run(tmp_path / "b", per_s=7.0), "throughput")
    assert finding == Finding(
        "throughput, 4 in flight", Outcome.FAILED, "7.0 questions/s, -30.0 % from 10.0; at least -15 %"
    )


def test_tokens_a_second_are_held_to_the_same(tmp_path: Path) -> None:
    saved, new = _run(tmp_path / "a", tokens=100), _run(tmp_path / "b", tokens=50)
    outcomes = {each.why.split()[1].rstrip(","): each.outcome for each in judge(saved, new, Bounds())[:2]}
    assert outcomes == {"questions/s": Outcome.PASSED, "tokens/s": Outcome.FAILED}
    other = judge(saved, _run(tmp_path / "c"), Bounds())[1]
    assert (other.outcome, other.why) == (Outcome.UNKNOWN, "the new run has no tokens/s")


def test_a_fall_within_the_noise_of_the_chunks_says_so(tmp_path: Path) -> None:
    noisy = _judged(_run(tmp_path / "a", chunks=4), _run(tmp_path / "b", chunks=4, per_s=8.0), "throughput")
    assert noisy.outcome is Outcome.FAILED and "intervals over the chunks overlap" in noisy.why
    clear = _judged(_run(tmp_path / "c", chunks=4), _run(tmp_path / "d", chunks=4, per_s=2.0), "throughput")
    assert clear.outcome is Outcome.FAILED and "overlap" not in clear.why


def test_a_level_that_only_one_run_has_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"a level in common with the saved run, got \[8\] and \[4\]"):
        judge(_run(tmp_path / "a"), _run(tmp_path / "b", in_flight=8), Bounds())


@pytest.mark.parametrize(("latency_ms", "outcome"), [(4_000.0, Outcome.PASSED), (4_001.0, Outcome.FAILED)])
def test_the_median_may_take_4_seconds_and_no_more(tmp_path: Path, latency_ms: float, outcome: Outcome) -> None:
    assert _judged(_run(tmp_path / "a"), _run(tmp_path / "b", latency_ms=latency_ms), "median").outcome is outcome


def test_a_stack_that_answers_nothing_fails(tmp_path: Path) -> None:
    new = _run(tmp_path / "b", error="UNAVAILABLE: gone")
    assert _judged(_run(tmp_path / "a"), new, "median").why == "none of 10 questions was answered"
    assert _judged(_run(tmp_path / "c"), new, "throughput").outcome is Outcome.FAILED


@pytest.mark.parametrize(("gpu", "outcome"), [(0.74, Outcome.FAILED), (0.75, Outcome.PASSED), (None, Outcome.UNKNOWN)])
def test_a_gpu_is_to_be_used_for_three_quarters_of_the_time(
    tmp_path: Path, gpu: float | None, outcome: Outcome
) -> None:
    finding = _judged(_run(tmp_path / "a"), _run(tmp_path / "b", gpu=gpu), "GPU use")
    assert finding.outcome is outcome
    if gpu is None:
        assert finding.why == "no service holds a GPU"


@pytest.mark.parametrize(
    ("memory", "why"),
    [
        ({**_LOGS, "lines": {"synthesizer": 2}}, "the log of synthesizer says so 2 times"),
        ({**_LOGS, "kernel_kills": 1}, "the kernel killed 1 processes for memory"),
        ({**_LOGS, "gone": ["synthesizer"]}, "synthesizer ended during the run"),
    ],
)
def test_any_out_of_memory_fails(tmp_path: Path, memory: dict[str, Any], why: str) -> None:
    finding = _judged(_run(tmp_path / "a"), _run(tmp_path / "b", memory=memory), "out of memory")
    assert (finding.outcome, finding.why) == (Outcome.FAILED, why)


def test_without_a_log_memory_is_not_judged_and_with_one_it_passes(tmp_path: Path) -> None:
    saved = _run(tmp_path / "a")
    assert _judged(saved, saved, "out of memory").outcome is Outcome.PASSED
    for number, memory in enumerate((None, {**_LOGS, "logs": []})):
        finding = _judged(saved, _run(tmp_path / str(number), memory=memory), "out of memory")
        assert finding.outcome is Outcome.UNKNOWN


def test_a_question_that_failed_for_memory_counts_without_any_log(tmp_path: Path) -> None:
    new = _run(tmp_path / "b", error="INTERNAL: CUDA out of memory", memory=None)
    finding = _judged(_run(tmp_path / "a"), new, "out of memory")
    assert (finding.outcome, finding.why) == (Outcome.FAILED, "10 questions failed so")


@pytest.mark.parametrize("bounds", [{"drop": 0.0}, {"drop": 1.5}, {"p50_s": -1.0}, {"gpu_use": 1.1}])
def test_a_bound_out_of_range_is_named(bounds: dict[str, float]) -> None:
    (name,) = bounds
    with pytest.raises(InvalidArgumentError, match=f"{name} must be in"):
        Bounds(**bounds)


def test_a_machine_that_was_busier_in_one_run_is_told_of(tmp_path: Path) -> None:
    runs = []
    for number, others_s in enumerate((0.4, 1.2, 3.0, None)):
        run = _run(tmp_path / str(number))
        load = {"in_flight": 4, "wall_s": 2.0, "cpu_s": {}, "others_s": others_s}
        runs.append(Run(run.path, run.head, (*run.rows, {"kind": "load", **load})))
    quiet, more, much, unknown = runs
    # 0.2 cores of other work, then 0.6, and 1.5.
    assert busier(quiet, more, 0.5) == busier(quiet, unknown, 0.5) == []
    assert busier(quiet, much, 0.5) == ["other work, 4 in flight: 0.2 cores then, 1.5 now"]


def test_a_run_that_never_finished_a_level_cannot_be_judged(tmp_path: Path) -> None:
    with RecordFile(tmp_path / "b", "throughput", {"settings": {}}) as records:
        pass
    with pytest.raises(InvalidArgumentError, match="a finished level"):
        judge(_run(tmp_path / "a"), read_record(records.path), Bounds())
