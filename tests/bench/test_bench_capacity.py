"""Questions inside the budget at shares of the capacity."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from argo.errors import InvalidArgumentError, ResourceExhaustedError
from argo.result import Answer
from bench.asker import Asked, AskRequest
from bench.capacity import Level, Plan, capacity, measure_capacity, measure_loads, score
from bench.plot_capacity import plot_capacity
from bench.record import RecordFile, read_record


class _Asker:
    """Answers at once; the third question of each four that come with a budget is refused."""

    def __init__(self) -> None:
        self.put_: list[AskRequest] = []

    async def put(self, request: AskRequest) -> Asked:
        self.put_.append(request)
        await asyncio.sleep(0)
        if request.budget_ms and len(self.put_) % 4 == 3:
            raise ResourceExhaustedError("queue is full")
        return Asked(Answer(text="", strategy=request.strategy or "", searches=2), 0.001)


def _plan(**fields: Any) -> Plan:
    given = {"questions": ["a?", "b?"], "strategies": ["mdp", "fixed"], "shares": [0.5], "budget_ms": 700}
    return Plan(**{**given, "count": 8, "seed": 1, **fields})


async def test_the_capacity_is_looked_for_until_more_in_flight_brings_no_more(tmp_path: Path) -> None:
    told: list[str] = []
    with RecordFile(tmp_path, "capacity", {}) as records:
        levels = await measure_capacity(_Asker(), _plan(count=400), "mdp", (1, 2, 4, 8, 16, 32), records, told.append)
    assert 2 <= len(levels) == len(told)
    assert [level.in_flight for level in levels] == [1, 2, 4, 8, 16, 32][: len(levels)]
    assert [row["in_flight"] for row in read_record(records.path).of_kind("level")] == [
        level.in_flight for level in levels
    ]


def test_what_failed_is_no_capacity() -> None:
    # 10 of 12 answers in 2 s, and all of 12 in 4 s.
    assert capacity([Level(1, 12, 0, 4.0), Level(2, 12, 2, 2.0)]) == 5.0


async def test_each_load_is_put_to_each_strategy_with_the_budget_and_without(tmp_path: Path) -> None:
    asker = _Asker()
    with RecordFile(tmp_path, "capacity", {"settings": {"budget_ms": 700}}) as records:
        await measure_loads(asker, _plan(), 4_000.0, records, lambda _: None)
    assert [(one.strategy, one.budget_ms) for one in asker.put_[::8]] == [
        ("mdp", 700),
        ("mdp", 0),
        ("fixed", 700),
        ("fixed", 0),
    ]
    rows = read_record(records.path).of_kind("question")
    assert len(rows) == len(asker.put_) == 32
    # Half of 4,000 a second, and the same arrivals for all.
    assert {row["rate_per_s"] for row in rows} == {2_000.0}
    assert len({tuple(row["intended_ms"] for row in rows[at : at + 8]) for at in (0, 8, 16, 24)}) == 1


def _row(latency_ms: float, error: str = "", **fields: Any) -> dict[str, Any]:
    row = {
        "asked_strategy": "mdp",
        "told_budget_ms": 1000,
        "at": 0.8,
        "rate_per_s": 4.0,
        "intended_ms": 0.0,
        "sent_ms": 2.0,
        "latency_ms": latency_ms,
        "error": error,
    }
    if error:
        return row
    answer = {"searches": 2, "reasoning_steps": 0, "steps": 1, "progress": 1.0, "completion_tokens": 40}
    return {**row, **answer, "abstained": False, "degradations": [], **fields}


def _record(folder: Path, rows: list[dict[str, Any]]) -> Path:
    settings = {"budget_ms": 1000, "note": "", "engine": "scripted"}
    with RecordFile(folder, "capacity", {"settings": settings}) as records:
        for row in rows:
            records.write("question", row)
    return records.path


def test_a_failed_question_and_a_late_one_are_outside(tmp_path: Path) -> None:
    rows = [
        _row(400),
        _row(1000),
        _row(1000.5, searches=5, degradations=["extractive"], abstained=True),
        _row(20, "UNAVAILABLE: gone"),
    ]
    (only,) = score(read_record(_record(tmp_path, rows)))
    assert (only["inside"], only["errors"], only["questions"]) == (0.5, 1, 4)
    # Wilson by hand for 2 of 4: centre 0.5, half width sqrt(1/16 + z^2/64) z / (4 + z^2) with z = 1.96.
    assert only["inside_low"] == pytest.approx(0.15, abs=0.001)
    assert only["inside_high"] == pytest.approx(0.85, abs=0.001)
    # Of the three answers.
    assert only["p50_ms"] == 1000
    assert only["mean_searches"] == 3
    assert only["extractive"] == only["degraded"] == only["abstained"] == pytest.approx(1 / 3)


def test_loads_are_told_apart_and_one_without_an_answer_has_no_latency(tmp_path: Path) -> None:
    rows = [_row(100), {**_row(100), "told_budget_ms": 0}, {**_row(5, "INTERNAL: x"), "at": 0.95}]
    scores = score(read_record(_record(tmp_path, rows)))
    assert [(row["told_budget_ms"], row["at"], row["inside"]) for row in scores] == [
        (1000, 0.8, 1.0),
        (0, 0.8, 1.0),
        (1000, 0.95, 0.0),
    ]
    assert scores[2]["p99_ms"] is None and scores[2]["mean_searches"] is None


def test_the_figure_is_drawn_from_the_record_alone(tmp_path: Path) -> None:
    rows = [_row(100), {**_row(2_000), "told_budget_ms": 0}, {**_row(5, "INTERNAL: x"), "at": 0.95}]
    plot_capacity(read_record(_record(tmp_path, rows)), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"shares": [0.0]}, "at must be above 0"), ({"count": 0}, "count must be at least 1, got 0")],
)
def test_a_plan_that_cannot_be_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        _plan(**fields)


def test_rows_hold_no_text(tmp_path: Path) -> None:
    asker = _Asker()
    with RecordFile(tmp_path, "capacity", {"settings": {"budget_ms": 700}}) as records:
        asyncio.run(measure_loads(asker, _plan(), 4_000.0, records, lambda _: None))
    for line in records.path.read_text(encoding="utf-8").splitlines()[1:]:
        assert "question" not in json.loads(line) and "a?" not in line
