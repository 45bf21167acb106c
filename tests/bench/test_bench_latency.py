"""Latency: the load as it is put, and its figures against values worked by hand."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from argo.errors import InvalidArgumentError, ResourceExhaustedError
from argo.result import Answer, QuestionTiming
from bench.asker import Asked, AskRequest
from bench.component import COMPONENTS
from bench.latency import GENERATOR, Plan, measure
from bench.latency_report import duration, report
from bench.latency_score import distribution, score, summary_rows
from bench.record import RecordFile, Run, read_record
from bench.workload import Item

_SETTINGS = {"budget_ms": 100, "seed": 1, "concurrency": 1, "rate_per_s": None, "extrapolate_to": 13_952, "note": ""}


class _Asker:
    """Answers in 4 ms by its own account; refuses every question that says so."""

    def __init__(self) -> None:
        self.put_: list[AskRequest] = []
        self.in_flight = self.most = 0

    async def put(self, request: AskRequest) -> Asked:
        self.put_.append(request)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        for _ in range(3):
            await asyncio.sleep(0)
        self.in_flight -= 1
        if request.question == "refused?":
            raise ResourceExhaustedError("queue is full")
        return Asked(Answer(text="It is.", timing=QuestionTiming(total_s=0.004)), 0.005)


def _plan(**fields: Any) -> Plan:
    given: dict[str, Any] = {
        "warm_up": [Item("w", "warm?")] * 3,
        "items": [Item("a", "a?"), Item("b", "refused?", ("x", "y")), Item("c", "c?")],
        "concurrency": 2,
        "rate_per_s": None,
        "strategy": "mdp",
        "budget_ms": 700,
        "seed": 1,
    }
    return Plan(**{**given, **fields})


async def _measured(folder: Path, plan: Plan, asker: _Asker, **fields: Any) -> Run:
    with RecordFile(folder, "latency", {"settings": {**_SETTINGS, "concurrency": plan.concurrency}}) as records:
        await measure(asker, plan, records, pids={}, **fields)
    return read_record(records.path)


async def test_the_warm_up_is_asked_first_and_not_written_down(tmp_path: Path) -> None:
    asker, told = _Asker(), []
    run = await _measured(tmp_path, _plan(), asker, advance=told.append)
    assert [one.question for one in asker.put_] == ["warm?"] * 3 + ["a?", "refused?", "c?"]
    assert (asker.put_[4].options, asker.put_[4].strategy, asker.put_[4].budget_ms) == (("x", "y"), "mdp", 700)
    assert asker.most == 2
    rows = run.of_kind("question")
    assert [(row["number"], row["id"], bool(row["error"])) for row in rows] == [
        (0, "a", False),
        (1, "b", True),
        (2, "c", False),
    ]
    assert len(told) == 3
    (load,) = run.of_kind("load")
    assert load["wall_s"] > 0 and set(load["cpu_s"]) == {GENERATOR}
    assert load["others_s"] is None  # without the stack's processes the rest of the machine is not known


async def test_an_open_loop_keeps_to_arrivals_that_the_seed_fixes(tmp_path: Path) -> None:
    plan = _plan(concurrency=None, rate_per_s=2_000.0)
    runs = [await _measured(tmp_path / str(number), plan, _Asker()) for number in range(2)]
    intended = [[row["intended_ms"] for row in run.of_kind("question")] for run in runs]
    assert intended[0] == intended[1]
    assert intended[0] == sorted(intended[0]) and len(set(intended[0])) == 3
    for row in runs[0].of_kind("question"):
        assert row["latency_ms"] == pytest.approx(row["ended_ms"] - row["intended_ms"])


async def test_rows_hold_no_text_unless_the_answer_is_asked_for(tmp_path: Path) -> None:
    run = await _measured(tmp_path / "without", _plan(), _Asker())
    assert "It is." not in run.path.read_text(encoding="utf-8")
    run = await _measured(tmp_path / "with", _plan(), _Asker(), answer_text=True, fields={"profile": "fast"})
    assert [row.get("answer") for row in run.of_kind("question")] == ["It is.", None, "It is."]
    assert {row["profile"] for row in run.rows} == {"fast"}
    assert "refused?" not in run.path.read_text(encoding="utf-8")


async def test_a_load_that_is_broken_off_keeps_what_ended(tmp_path: Path) -> None:
    reached = asyncio.Event()

    class _Stuck(_Asker):
        async def put(self, request: AskRequest) -> Asked:
            if request.question == "c?":
                reached.set()
                await asyncio.Event().wait()
            return await super().put(request)

    with RecordFile(tmp_path, "latency", {"settings": _SETTINGS}) as records:
        load = asyncio.create_task(measure(_Stuck(), _plan(warm_up=[], concurrency=1), records, pids={}))
        await reached.wait()
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load
    assert [row["id"] for row in read_record(records.path).of_kind("question")] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"rate_per_s": 2.0}, "exactly one of concurrency and rate"),
        ({"concurrency": None}, "exactly one of concurrency and rate"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"concurrency": None, "rate_per_s": -1.0}, r"rate must be above 0 and finite, got -1\.0"),
        ({"items": []}, "items must hold at least 1 question"),
    ],
)
def test_a_plan_that_cannot_be_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        _plan(**fields)


def test_a_distribution_of_four_numbers_by_hand() -> None:
    found = distribution([40.0, 10.0, 30.0, 20.0], 0)
    assert {name: figure["value"] for name, figure in found.items()} == {
        "mean": 25.0,
        # Squares of 15, 15, 5, 5 add up to 500; over n - 1 = 3.
        "sd": pytest.approx((500 / 3) ** 0.5),
        "min": 10.0,
        "max": 40.0,
        "p50": 25.0,
        # Between the order statistics at 3 q: 2.7, 2.85, 2.97.
        "p90": pytest.approx(37.0),
        "p95": pytest.approx(38.5),
        "p99": pytest.approx(39.7),
    }
    low, high = found["mean"]["low"], found["mean"]["high"]
    assert low is not None and high is not None and 10 <= low <= 25 <= high <= 40
    # Four numbers say nothing of where the 95th percentile ends, and an extreme has no interval.
    assert (found["p95"]["high"], found["max"]["low"], found["min"]["high"]) == (None, None, None)


def test_one_number_has_no_spread() -> None:
    found = distribution([7.0], 0)
    assert (found["mean"]["value"], found["sd"]["value"], found["p99"]["value"]) == (7.0, 0.0, 7.0)


def test_intervals_of_mean_and_sd_cover() -> None:
    rng, held = np.random.default_rng(2), {"mean": 0, "sd": 0}
    truth = {"mean": 100.0, "sd": 20.0}
    for seed in range(60):
        found = distribution(rng.normal(100.0, 20.0, size=80).tolist(), seed)
        for name, value in truth.items():
            low, high = found[name]["low"], found[name]["high"]
            held[name] += low is not None and high is not None and low <= value <= high
    # 57 of 60 with a deviation of 1.7; percentile bootstraps of a deviation are a little narrow.
    assert held["mean"] >= 51 and held["sd"] >= 49


def _hop(service: str, start_ms: float, duration_ms: float, work_ms: float) -> dict[str, Any]:
    none = dict.fromkeys(("prefill_ms", "decode_ms", "ttft_ms"))
    times = {"start_ms": start_ms, "duration_ms": duration_ms, "queue_ms": 0.0, "work_ms": work_ms}
    return {"service": service, "name": "Call", "step": 0, "error": "", **times, **none}


def _row(number: int, latency_ms: float, total_ms: float, *hops: dict[str, Any], error: str = "") -> dict[str, Any]:
    at_ms = 200.0 * number
    row: dict[str, Any] = {
        "number": number,
        "id": f"q{number % 2}",
        "intended_ms": at_ms,
        "sent_ms": at_ms,
        "ended_ms": at_ms + latency_ms,
        "latency_ms": latency_ms,
        "error": error,
    }
    if error:
        return row
    return {
        **row,
        "first_delta_ms": None,
        "strategy": "mdp",
        "total_ms": total_ms,
        "budget_ms": 100,
        "degradations": ["retriever", "extractive"] if number == 1 else [],
        "abstained": False,
        "option_probabilities": [],
        **dict.fromkeys(("searches", "steps", "reasoning_steps", "prompt_tokens", "completion_tokens"), number),
        "cached_tokens": 0,
        "hops": list(hops),
    }


def _run(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Run:
    with RecordFile(folder, "latency", {"settings": {**_SETTINGS, "engine": "scripted", **settings}}) as records:
        for row in rows:
            records.write("question", row)
        records.write("load", {"wall_s": 2.0, "cpu_s": {"a": 1.0, "b": 0.5}, "others_s": 0.2})
    return read_record(records.path)


def _rows() -> list[dict[str, Any]]:
    return [
        # 60: 6 the caller's, 54 in all, of which 30 retriever (24 its work) and 20 synthesizer (20), one after another.
        _row(0, 60, 54, _hop("retriever", 0, 30, 24), _hop("synthesizer", 30, 20, 20)),
        # 100, which is inside: 50 retriever and 50 synthesizer at the same time.
        _row(1, 100, 100, _hop("retriever", 0, 50, 50), _hop("synthesizer", 0, 50, 50)),
        _row(2, 101, 101),
        _row(3, 5, 0, error="UNAVAILABLE: gone"),
    ]


def test_figures_of_a_record_by_hand(tmp_path: Path) -> None:
    found = score(_run(tmp_path, _rows()))
    assert (found["questions"], found["distinct"], found["errors"], found["degraded"]) == (4, 2, 1, 1)
    # Exactly at the budget is inside; what failed is outside.
    assert (found["inside"]["value"], found["inside"]["n"]) == (0.5, 2)
    assert found["latency_ms"]["mean"]["value"] == pytest.approx(87.0)
    assert found["first_delta_ms"] is None
    components = {row["component"]: row for row in found["components"]}
    # Of three: retriever 24 + 25 + 0, synthesizer 20 + 25 + 0, network 6, caller 6, orchestrator 4 + 50 + 101.
    exclusive = {"retriever": 49, "synthesizer": 45, "network": 6, "caller": 6, "orchestrator": 155}
    assert {name: row["mean_ms"] * 3 for name, row in components.items()} == pytest.approx(exclusive)
    # The critical path of the second question goes through one of its two calls alone.
    assert components["retriever"]["critical_ms"] + components["synthesizer"]["critical_ms"] == pytest.approx(94 / 3)
    for share in ("share", "critical_share"):
        assert sum(row[share] for row in found["components"]) == pytest.approx(1.0)
    assert found["mean_searches"] == 1.0
    # Answers at 60, 300 and 501 ms before the last question was put at 600.
    assert found["throughput"]["questions_per_s"] == pytest.approx(3 / 0.501)
    assert found["throughput"]["extrapolated_s"] == pytest.approx(13_952 * 0.501 / 3)
    assert "with 1 in flight throughout" in found["throughput"]["how"]
    assert (found["cores_used"], found["others_cores_used"]) == (0.75, 0.1)


def test_an_open_load_says_that_its_rate_is_no_capacity(tmp_path: Path) -> None:
    found = score(_run(tmp_path, _rows(), concurrency=None, rate_per_s=5.0))
    assert "at an offered 5 questions/s" in found["throughput"]["how"]
    assert "not how fast the stack could go" in found["throughput"]["how"]


def test_a_record_of_failures_alone_has_neither_latency_nor_throughput(tmp_path: Path) -> None:
    run = _run(tmp_path, [_row(0, 5, 0, error="INTERNAL: x")])
    found = score(run)
    assert (found["latency_ms"], found["throughput"], found["components"]) == (None, None, [])
    assert found["inside"]["value"] == 0.0
    files = report(run, Console(quiet=True))["files"]
    assert "figure" not in files and "1 of which failed (1 INTERNAL)" in files["tables"].read_text(encoding="utf-8")


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_measurements_read_again_are_the_record(tmp_path: Path) -> None:
    run = _run(tmp_path, _rows())
    lines = _read_csv(report(run, Console(quiet=True))["files"]["measurements"])
    for line, row in zip(lines, run.of_kind("question"), strict=True):
        for name, value in row.items():
            if isinstance(value, int | float):
                assert type(value)(line[name] == "True" if isinstance(value, bool) else line[name]) == value
        assert line["id"] == row["id"] and line["error"] == row["error"]
        if row["error"]:
            assert line["retriever_ms"] == ""
            continue
        for ending in ("_ms", "_critical_ms"):
            assert sum(float(line[f"{name}{ending}"]) for name in COMPONENTS) == pytest.approx(row["latency_ms"])
    assert [line["inside"] for line in lines] == ["True", "True", "False", "False"]
    assert lines[1]["degradations"] == "retriever extractive"


def test_the_summary_read_again_is_the_score(tmp_path: Path) -> None:
    run = _run(tmp_path, _rows())
    found = {
        (line["measure"], line["statistic"]): line
        for line in _read_csv(report(run, Console(quiet=True))["files"]["summary"])
    }
    scores = score(run)
    for name, figure in scores["latency_ms"].items():
        line = found["latency", name]
        assert float(line["value"]) == figure["value"]
        assert (float(line["low"]) if line["low"] else None) == figure["low"]
    assert float(found["inside_budget", "share"]["high"]) == scores["inside"]["high"]
    assert float(found["retriever", "exclusive_mean"]["value"]) == pytest.approx(49 / 3)
    assert float(found["time_of_13952_questions", "extrapolated"]["value"]) == scores["throughput"]["extrapolated_s"]
    assert len(found) == len(summary_rows(scores))


def test_an_old_record_is_drawn_again_to_the_same_files(tmp_path: Path) -> None:
    run = _run(tmp_path, _rows())
    before = {name: path.read_bytes() for name, path in report(run, Console(quiet=True))["files"].items()}
    assert before["figure"].startswith(b"\x89PNG")
    again = report(read_record(run.path, "latency"), Console(quiet=True))["files"]
    assert {name: path.read_bytes() for name, path in again.items()} == before


def test_a_record_without_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="record must hold at least 1 question, got 0 in "):
        score(_run(tmp_path, []))


@pytest.mark.parametrize(("seconds", "said"), [(8.31, "8.3 s"), (750, "12.5 min"), (11_520, "3.2 h")])
def test_a_duration_is_said_as_a_reader_would(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_scores_are_plain_json(tmp_path: Path) -> None:
    assert json.loads(json.dumps(score(_run(tmp_path, _rows()))))["questions"] == 4
