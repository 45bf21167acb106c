"""Throughput and what it says of more questions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.extrapolation import block_of, throughput


def _row(sent_ms: float, ended_ms: float, error: str = "") -> dict[str, Any]:
    return {"sent_ms": sent_ms, "ended_ms": ended_ms, "error": error}


def _steady(n: int, in_flight: int, each_ms: float) -> list[dict[str, Any]]:
    """A closed loop in which every question takes as long as the others."""
    return [_row(number // in_flight * each_ms, (number // in_flight + 1) * each_ms) for number in range(n)]


def test_the_end_of_a_load_in_which_it_runs_empty_does_not_count() -> None:
    # 4 in flight, 200 ms each: 20 a second however long it lasts. The last ones are put at 800 ms, when 16 are done;
    # 20 answers over the whole second would be right by luck, so let the last one take five times as long.
    rows = [*_steady(20, 4, 200)[:-1], _row(800, 1_800)]
    found = throughput(rows, 4, np.random.default_rng(0))
    assert found is not None
    assert found.per_s == pytest.approx(20.0)
    assert (found.answers, found.until_s, found.later) == (16, pytest.approx(0.8), 4)
    # All four of a round end at once, and blocks of four neighbours keep the round together: no spread at all.
    assert (found.low, found.high) == (pytest.approx(20.0), pytest.approx(20.0))
    # 13,952 / 20 = 697.6 s.
    assert found.time_s(13_952) == pytest.approx((697.6, 697.6, 697.6))


def test_what_failed_is_no_answer() -> None:
    rows = [_row(0, 100), _row(100, 200, "UNAVAILABLE: gone"), _row(200, 300), _row(300, 400)]
    found = throughput(rows, 1, np.random.default_rng(0))
    # Answers at 100 and 300 before the last was put at 300.
    assert found is not None and (found.answers, found.later) == (2, 1)
    assert found.per_s == pytest.approx(2 / 0.3)


def test_without_an_answer_there_is_no_throughput() -> None:
    assert throughput([_row(0, 5, "INTERNAL: x")], 1, np.random.default_rng(0)) is None


def test_a_load_that_was_put_at_once_counts_whole() -> None:
    found = throughput([_row(0, 100), _row(0, 400)], 8, np.random.default_rng(0))
    assert found is not None and (found.per_s, found.answers) == (pytest.approx(5.0), 2)


def test_the_interval_holds_the_rate_in_95_of_100_loads() -> None:
    rng, held = np.random.default_rng(5), 0
    for _ in range(100):
        # One in flight, each 50 ms in the mean: 20 a second.
        ends = np.cumsum(rng.exponential(50.0, size=150))
        rows = [_row(start, end) for start, end in zip([0.0, *ends[:-1]], ends, strict=True)]
        found = throughput(rows, 1, rng)
        assert found is not None
        held += found.low <= 20.0 <= found.high
    # 95 with a deviation of 2.2; the bootstrap of 150 numbers is a little narrow.
    assert held >= 86


@given(n=st.integers(1, 5_000), least=st.integers(1, 64))
def test_a_block_is_never_longer_than_its_sample(n: int, least: int) -> None:
    assert 1 <= block_of(n, least) <= n
    assert block_of(1_000) == 10
