from __future__ import annotations

import pytest

from services.engine.port import Generated, GenerationTiming
from services.engine.running_pace import RunningPace
from services.engine.warm_up import Pace

_ALONE = Pace(0.1, 0.01)
# 2.1 s to the first token, and 11 tokens 0.21 s apart.
_SLOW = Generated("text", "stop", completion_tokens=11, timing=GenerationTiming(2.0, 0.1, 2.1))


def test_a_slow_generation_moves_the_pace_by_a_tenth_of_the_way() -> None:
    pace = RunningPace(_ALONE)
    pace.note(_SLOW, 100.0)
    assert (pace.at(100.0).ttft_s, pace.at(100.0).tpot_s) == pytest.approx((0.3, 0.03))


def test_under_lasting_load_the_pace_becomes_that_of_the_load() -> None:
    pace = RunningPace(_ALONE)
    for number in range(100):
        pace.note(_SLOW, 100.0 + number / 100)
    assert pace.at(101.0).ttft_s == pytest.approx(2.1, rel=0.05)


def test_without_generations_the_pace_drifts_back_to_that_of_one_alone() -> None:
    pace = RunningPace(_ALONE)
    for number in range(100):
        pace.note(_SLOW, 100.0 + number / 100)
    seen = [pace.at(101.0 + seconds).ttft_s for seconds in range(0, 61, 5)]
    assert seen == sorted(seen, reverse=True)
    # Half of what is left of the load after each half-life.
    assert seen[1] - 0.1 == pytest.approx((seen[0] - 0.1) / 2, rel=0.01)
    assert seen[-1] == pytest.approx(0.1, rel=0.02)


def test_a_generation_of_one_token_says_nothing_of_further_ones() -> None:
    pace = RunningPace(_ALONE)
    pace.note(Generated("A", "length", completion_tokens=1, timing=GenerationTiming(2.0, 0.1, 0.0)), 1.0)
    assert pace.at(1.0).tpot_s == pytest.approx(0.01)
