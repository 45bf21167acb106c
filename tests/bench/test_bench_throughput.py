"""Throughput: the load of a level, its chunks and figures by hand, GPUs, memory, and the engine by itself."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from argo.errors import InvalidArgumentError, ResourceExhaustedError
from argo.result import Answer, Hop, QuestionTiming, Timing, Usage
from argo.v1 import types_pb2
from bench.__main__ import main
from bench.asker import Asked, AskRequest
from bench.bare_engine import engine_rows, measure_engine
from bench.gpu import GpuWatch
from bench.load import Attempt
from bench.memory import MemoryWatch, ran_out
from bench.plot_throughput import plot_throughput
from bench.record import RecordFile, Run, read_record
from bench.throughput import Plan, best_level, measure_level, question_row, score, spread
from bench.workload import Item, Workload


class _Asker:
    """Answers after a few turns of the loop."""

    def __init__(self) -> None:
        self.asked = self.in_flight = 0
        self.seen: list[int] = []

    async def put(self, request: AskRequest) -> Asked:
        self.asked += 1
        self.in_flight += 1
        self.seen.append(self.in_flight)
        for _ in range(3):
            await asyncio.sleep(0)
        self.in_flight -= 1
        if request.question == "refused?":
            raise ResourceExhaustedError("queue is full")
        return Asked(Answer(text="It is."), 0.001)


async def _no_gpu() -> Sequence[types_pb2.Gpu]:
    return []


def _plan(**fields: Any) -> Plan:
    given: dict[str, Any] = {
        "workload": Workload((Item("a", "a?"), Item("b", "b?")), "here"),
        "levels": [3],
        "chunk": 5,
        "repeat": 2,
        "warm_up": 2,
        "strategy": "mdp",
        "budget_ms": 0,
        "seed": 1,
    }
    return Plan(**{**given, **fields})


async def _level(folder: Path, plan: Plan, asker: _Asker, in_flight: int, gpus: GpuWatch | None = None) -> Run:
    with RecordFile(folder, "throughput", {"settings": {}}) as records:
        await measure_level(asker, plan, in_flight, records, gpus=gpus or GpuWatch(_no_gpu))
    return read_record(records.path)


async def test_a_level_runs_on_from_its_warm_up_until_its_last_chunk_has_ended(tmp_path: Path) -> None:
    asker = _Asker()
    run = await _level(tmp_path, _plan(), asker, 3)
    # Three before the first chunk, as many as are in flight though two were asked for; two chunks of five; and two
    # that keep the places taken until the last of those ends.
    assert asker.asked == 3 + 10 + 2
    assert max(asker.seen) == 3
    chunks = [row["chunk"] for row in run.of_kind("question")]
    assert chunks == [None] * 3 + [0] * 5 + [1] * 5 + [None] * 2
    rows = run.of_kind("question")
    assert [row["ended_ms"] for row in rows] == sorted(row["ended_ms"] for row in rows)
    (load,) = run.of_kind("load")
    # Whose processor time the rest is cannot be told where the stack's processes are not known.
    assert (load["others_s"], list(load["cpu_s"])) == (None, ["load generator"])
    first, second = run.of_kind("chunk")
    # From the end of the question before to the end of its own last one.
    assert first["wall_s"] == pytest.approx((rows[7]["ended_ms"] - rows[2]["ended_ms"]) / 1000)
    assert second["wall_s"] == pytest.approx((rows[12]["ended_ms"] - rows[7]["ended_ms"]) / 1000)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"levels": []}, "concurrency must be numbers from 1, none twice, got []"),
        ({"levels": [4, 4]}, "concurrency must be numbers from 1, none twice, got [4, 4]"),
        ({"levels": [0]}, "concurrency must be numbers from 1"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"repeat": 0}, "repeat must be at least 1, got 0"),
    ],
)
def test_a_level_that_cannot_be_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        _plan(**fields)
    assert message in str(error.value)


def _hop(ttft_s: float | None, decode_s: float | None) -> Hop:
    timing = Timing(queue_s=0.0, work_s=1.0, prefill_s=None, decode_s=decode_s, ttft_s=ttft_s)
    return Hop(service="synthesizer", name="Synthesize", step=0, start_s=0.0, duration_s=1.0, timing=timing, error="")


def test_time_per_output_token_is_all_decoding_for_all_tokens_but_each_first() -> None:
    answer = Answer(
        text="",
        usage=Usage(prompt_tokens=900, completion_tokens=252),
        timing=QuestionTiming(total_s=1.0, hops=(_hop(0.02, 0.1), _hop(0.04, 0.4), _hop(None, None))),
    )
    row = question_row(Attempt(AskRequest("a?"), 0.0, 0.0, 1.0, Asked(answer, 1.0, 0.3)))
    # Two generations of 252 tokens: 250 intervals in 500 ms.
    assert row["tpot_ms"] == pytest.approx(2.0)
    assert row["engine_ttft_ms"] == pytest.approx(30.0)
    assert row["ttft_ms"] == pytest.approx(300.0)
    without = question_row(Attempt(AskRequest("a?"), 0.0, 0.0, 1.0, Asked(Answer(text=""), 1.0)))
    assert (without["tpot_ms"], without["engine_ttft_ms"], without["ttft_ms"]) == (None, None, None)
    assert "tpot_ms" not in question_row(Attempt(AskRequest("a?"), 0.0, 0.0, 1.0, None, "INTERNAL: x"))


def test_the_interval_of_three_chunks_is_students() -> None:
    found = spread([10.0, 12.0, 14.0])
    # Mean 12, standard deviation 2, and t = 4.3027 for two degrees of freedom: half width 4.3027 * 2 / sqrt(3).
    assert found.mean == 12.0
    assert (found.low, found.high) == (pytest.approx(12 - 4.9683, abs=1e-3), pytest.approx(12 + 4.9683, abs=1e-3))
    assert (spread([7.0]).mean, spread([7.0]).low) == (7.0, None)


def _question(in_flight: int, chunk: int | None, latency_ms: float, tokens: int = 0, **fields: Any) -> dict[str, Any]:
    given = {"in_flight": in_flight, "chunk": chunk, "latency_ms": latency_ms, "completion_tokens": tokens, "error": ""}
    return {**given, "ttft_ms": None, "tpot_ms": None, **fields}


_SETTINGS = {"note": "", "engine": "scripted engine", "chunk": 2, "repeat": 2}


def _record(folder: Path, rows: Sequence[tuple[str, dict[str, Any]]]) -> Run:
    with RecordFile(folder, "throughput", {"settings": _SETTINGS}) as records:
        for kind, row in rows:
            records.write(kind, row)
    return read_record(records.path)


def _rows() -> list[tuple[str, dict[str, Any]]]:
    return [
        ("question", _question(4, None, 9_999, 1_000)),
        ("question", _question(4, 0, 100, 40, ttft_ms=30.0, tpot_ms=2.0)),
        ("question", _question(4, 0, 300, 60, ttft_ms=50.0, tpot_ms=4.0)),
        ("question", _question(4, 1, 200, 50, ttft_ms=40.0, tpot_ms=3.0)),
        ("question", {"in_flight": 4, "chunk": 1, "latency_ms": 1.0, "error": "UNAVAILABLE: gone"}),
        ("chunk", {"in_flight": 4, "chunk": 0, "wall_s": 0.5}),
        ("chunk", {"in_flight": 4, "chunk": 1, "wall_s": 0.25}),
        ("question", _question(8, 0, 500)),
        ("chunk", {"in_flight": 8, "chunk": 0, "wall_s": 0.1}),
    ]


def test_tokens_and_questions_a_second_are_those_of_the_chunks(tmp_path: Path) -> None:
    four, eight = score(_record(tmp_path, _rows()))
    # Two answers in 0.5 s and one in 0.25 s, both 4 a second; 100 tokens in 0.5 s, and 50 in 0.25 s.
    assert (four["questions_per_s"], four["tokens_per_s"]) == (4.0, 200.0)
    assert (four["questions_per_s_low"], four["questions_per_s_high"]) == (4.0, 4.0)
    assert (four["chunks"], four["questions"], four["errors"]) == (2, 4, 1)
    # Of the three answers in chunks: the warm-up's and the failed one's times are no latency.
    assert (four["p50_ms"], four["ttft_p50_ms"], four["tpot_p50_ms"]) == (200, 40, 3)
    # Without a language model there are no tokens, which is not none a second.
    assert (eight["questions_per_s"], eight["tokens_per_s"], eight["tpot_p50_ms"]) == (10.0, None, None)
    assert (eight["gpu_use"], eight["gpu_memory_gib"], eight["gpus"]) == (None, None, 0)
    assert best_level([four, eight])["in_flight"] == 8


def _gpu_row(uuid: str, utilisation: float | None, gib: float, samples: int = 1) -> tuple[str, dict[str, Any]]:
    return "gpu", {
        "in_flight": 4,
        "uuid": uuid,
        "utilisation": utilisation,
        "memory_used_bytes": int(gib * 2**30),
        "samples": samples,
    }


def test_gpu_use_is_the_mean_of_the_gpus_and_memory_the_most_that_one_held(tmp_path: Path) -> None:
    gpus = [_gpu_row("a", 0.5, 10), _gpu_row("a", 0.9, 12, samples=3), _gpu_row("b", 0.4, 11), _gpu_row("c", None, 1)]
    (four, _) = score(_record(tmp_path, [*_rows(), *gpus]))
    # a: (0.5 + 3 * 0.9) / 4 = 0.8; b: 0.4; the driver does not tell c's.
    assert four["gpu_use"] == pytest.approx(0.6)
    assert four["gpu_use_least"] == pytest.approx(0.4)
    assert (four["gpu_memory_gib"], four["gpus"]) == (12.0, 3)


async def test_gpus_are_read_while_the_level_runs_and_those_of_the_chunks_are_kept(tmp_path: Path) -> None:
    async def read() -> Sequence[types_pb2.Gpu]:
        return [types_pb2.Gpu(uuid="a", name="H200", memory_bytes=100, memory_used_bytes=60, utilisation=0.9)]

    run = await _level(tmp_path, _plan(chunk=200), _Asker(), 3, GpuWatch(read, every_s=0.0))
    rows = run.of_kind("gpu")
    assert rows and {(row["uuid"], row["utilisation"], row["in_flight"]) for row in rows} == {("a", 0.9, 3)}
    questions = [row["ended_ms"] for row in run.of_kind("question") if row["chunk"] is not None]
    assert all(row["at_s"] * 1000 <= max(questions) + 1 for row in rows)


async def test_a_stack_without_a_gpu_is_asked_once() -> None:
    asked: list[int] = []

    async def read() -> Sequence[types_pb2.Gpu]:
        asked.append(1)
        return []

    async with GpuWatch(read, every_s=0.0).watching() as samples:
        for _ in range(5):
            await asyncio.sleep(0)
    assert (len(asked), samples.rows(0.0, 1e9)) == (1, [])


async def test_a_reading_that_fails_does_not_end_the_watch() -> None:
    gpu = types_pb2.Gpu(uuid="a", memory_bytes=100)
    answers: list[Sequence[types_pb2.Gpu] | None] = [None, [gpu], None, None, [gpu], []]

    async def read() -> Sequence[types_pb2.Gpu] | None:
        return answers.pop(0)

    async with GpuWatch(read, every_s=0.0).watching() as samples:
        for _ in range(20):
            await asyncio.sleep(0)
    assert (len(samples.readings), answers) == (2, [])


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", 1),
        ("Out of memory: Killed process 4711 (python)", 1),
        ("MemoryError", 1),
        ("memory of the GPU: 12 GiB", 0),
    ],
)
def test_what_runs_out_of_memory_says_so_in_these_words(line: str, count: int) -> None:
    assert ran_out([line]) == count


def test_only_what_the_logs_say_during_the_run_counts(tmp_path: Path) -> None:
    proc, log = tmp_path / "proc", tmp_path / "synthesizer.log"
    (proc / "11" / "fd").mkdir(parents=True)
    (proc / "12" / "fd").mkdir(parents=True)
    log.write_text("CUDA out of memory, long ago\n", encoding="utf-8")
    (proc / "11" / "fd" / "2").symlink_to(log)
    (proc / "12" / "fd" / "2").symlink_to(tmp_path / "pipe:[1]")
    (proc / "vmstat").write_text("nr_free_pages 5\noom_kill 2\n", encoding="utf-8")
    watch = MemoryWatch({"synthesizer": 11, "retriever": 12, "decomposer": 13}, proc=proc)
    assert watch.row() == {"logs": ["synthesizer"], "lines": {}, "gone": ["decomposer"], "kernel_kills": 0}
    with log.open("a", encoding="utf-8") as file:
        file.write("fine\nRuntimeError: CUDA error: out of memory\n")
    (proc / "vmstat").write_text("oom_kill 3\n", encoding="utf-8")
    row = watch.row()
    assert (row["lines"], row["kernel_kills"]) == ({"synthesizer": 1}, 1)


def test_figures_have_a_panel_for_what_there_is(tmp_path: Path) -> None:
    for rows in ([*_rows(), _gpu_row("a", 0.9, 60)], _rows()[-2:]):
        run = _record(tmp_path / str(len(rows)), rows)
        path = run.path.with_suffix(".png")
        plot_throughput(run, path)
        assert path.stat().st_size > 10_000


def test_a_line_of_the_engines_own_benchmark_reads_as_a_chunk(tmp_path: Path) -> None:
    line = {
        "engine": "scripted",
        "model": "m",
        "engine_version": "",
        "profile": "default@1",
        "engine_options": {},
        "gpus": [],
        "stages": [],
        "engines": 1,
        "shared": 0.0,
        "repeat": 1,
        "in_flight": 4,
        "wall_s": 2.0,
        "prompt_tokens": 600.0,
        "completion_tokens": 50.0,
        "tpot_s": {"p50": 0.002},
        "samples": [{"latency_s": 0.1, "ttft_s": 0.02}, {"latency_s": 0.3, "ttft_s": 0.04}],
        "gpu_use": [{"uuid": "a", "name": "H200", "utilisation": 0.8, "memory_used_bytes": 2**30, "samples": 3}],
    }
    assert [kind for kind, _ in engine_rows(line, first=True)] == ["engine", "chunk", "question", "question", "gpu"]
    (level,) = score(_record(tmp_path, list(engine_rows(line))))
    assert (level["in_flight"], level["questions_per_s"], level["tokens_per_s"]) == (4, 1.0, 50.0)
    assert (level["p50_ms"], level["tpot_p50_ms"], level["gpu_use"]) == (200.0, 2.0, pytest.approx(0.8))


def test_what_the_benchmark_gives_itself_is_refused_after_the_dashes(tmp_path: Path) -> None:
    with RecordFile(tmp_path, "throughput", {}) as records:
        with pytest.raises(InvalidArgumentError, match="--count is given by concurrency, chunk, repeat and seed"):
            measure_engine(["--count=3"], [1], 1, 1, 0, records)
        with pytest.raises(InvalidArgumentError, match="engine"):
            measure_engine(["--engine", "steam"], [1], 1, 1, 0, records)


def test_an_engine_by_itself_is_measured_and_checked_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--concurrency", "1,4", "--chunk", "4", "--repeat", "2", "--out", str(tmp_path)]
    engine = ["--", "--engine", "scripted", "--prompt-tokens", "50", "--completion-tokens", "4"]
    assert main(["throughput", "--bare", *own, *engine]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["in_flight"], row["chunks"], row["questions"]) for row in told["levels"]] == [(1, 2, 8), (4, 2, 8)]
    assert all(row["tokens_per_s"] > 0 for row in told["levels"])
    (record,) = tmp_path.glob("*.jsonl")
    assert {path.suffix for path in tmp_path.iterdir()} == {".jsonl", ".csv", ".md", ".png"}
    assert main(["throughput", "--from", str(record), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["levels"] == told["levels"]
    # A run keeps up with itself; and one that must not take a tenth of a millisecond does not.
    assert main(["check", str(record), str(record), "--json"]) == 0
    passed = json.loads(capsys.readouterr().out)
    assert passed["passed"] and passed["reasons"] == []
    assert passed["not_judged"] == ["GPU use, 4 in flight: no service holds a GPU"]
    assert main(["check", str(record), str(record), "--json", "--p50-s", "0.0001"]) == 1
    out, err = capsys.readouterr()
    assert len(json.loads(out)["reasons"]) == 2
    assert "FAILED median latency, 1 in flight" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--concurrency", "four"], "concurrency must be numbers from 1 parted by commas, got 'four'"),
        (["--budget-ms", "7"], "budget_ms must be in 50..60000, got 7"),
        (["--bare", "--target", "127.0.0.1:1"], "target is of a stack"),
        (["--", "--engine", "vllm"], "engine options need --bare, got '--engine vllm'"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["throughput", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
