"""Refusals: who is counted as what, against an asker that is full when the test says so."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from argo.errors import ResourceExhaustedError
from bench.asker import Asked, AskRequest
from bench.histogram import Histogram
from bench.record import RecordFile, read_record
from bench.refusal import Refusals, run_refusals, score_refusals


class FullAsker:
    """Holds so many questions for good, and refuses every further one with a hint of half a second."""

    def __init__(self, places: int) -> None:
        self._free = places

    async def put(self, request: AskRequest) -> Asked:
        if not self._free:
            raise ResourceExhaustedError("full", 0.5)
        self._free -= 1
        await asyncio.Event().wait()
        raise AssertionError("never answered")


async def test_every_question_over_capacity_is_timed_and_recorded(tmp_path: Path) -> None:
    advanced: list[int] = []
    with RecordFile(tmp_path, "refusal", {}) as records:
        found = await run_refusals(
            FullAsker(2),
            ["What is E2?"],
            fill=2,
            probes=5,
            per_s=200,
            records=records,
            advance=lambda: advanced.append(1),
        )
    assert (len(found.refused_s), found.taken, found.filled, len(advanced)) == (5, 0, 0, 5)
    assert found.hints_s == [0.5] * 5
    # A wake-up is never early by more than the clock's own step.
    assert len(found.late_s) == 5 and min(found.late_s) > -0.001
    rows = read_record(records.path, "refusal").of_kind("refusal")
    assert [row["retry_after_s"] for row in rows] == [0.5] * 5


def test_percentiles_are_in_milliseconds() -> None:
    found = Refusals(refused_s=[n / 1000 for n in range(101)], hints_s=[0.5] * 101, taken=3, filled=7)
    expected: dict[str, Any] = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    score = score_refusals(found)
    assert score["refusal_ms"] == {key: pytest.approx(value) for key, value in expected.items()}
    assert (score["refused"], score["taken"], score["retry_after_s"]) == (101, 3, 0.5)


def test_a_run_without_a_refusal_has_no_percentiles() -> None:
    score = score_refusals(Refusals(taken=5))
    assert (score["refusal_ms"], score["handler_ms"], score["within_10_ms"]) == (None, None, None)


def test_the_handlers_percentiles_come_from_its_histogram_and_its_promise_from_a_bound() -> None:
    # Nine of ten within 5 ms, the last within 20 ms.
    served = Histogram((0.005, 0.01, 0.02, math.inf), (9.0, 9.0, 10.0, 10.0))
    score = score_refusals(Refusals(refused_s=[0.03], hints_s=[0.5], served=served))
    assert (score["served"], score["within_10_ms"]) == (10, 0.9)
    # The 5th of nine on the line to 5 ms; nine and a half, half way from 10 ms to 20 ms.
    assert score["handler_ms"]["p50"] == pytest.approx(5 * 5 / 9)
    assert score["handler_ms"]["p95"] == pytest.approx(15.0)
