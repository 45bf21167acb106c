from __future__ import annotations

from itertools import pairwise

import pytest

from deploy.backoff import Backoff


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(initial_s=0.25, cap_s=2.0, reset_s=30.0)
    assert [backoff.next_s(0.0) for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_a_healthy_while_starts_the_count_again() -> None:
    backoff = Backoff(initial_s=0.25, cap_s=2.0, reset_s=30.0)
    for _ in range(5):
        backoff.next_s(0.0)
    assert backoff.next_s(29.9) == 2.0
    assert backoff.next_s(30.0) == 0.25
    assert backoff.deaths == 1


def test_capped_says_when_deaths_have_become_a_crash_loop() -> None:
    backoff = Backoff(initial_s=1.0, cap_s=4.0, reset_s=30.0)
    seen = []
    for _ in range(4):
        backoff.next_s(0.0)
        seen.append(backoff.capped)
    assert seen == [False, False, True, True]


@pytest.mark.parametrize("deaths", [100, 5_000])
def test_a_crash_loop_of_days_neither_overflows_nor_shortens(deaths: int) -> None:
    backoff = Backoff(initial_s=0.25, cap_s=30.0, reset_s=30.0)
    waits = [backoff.next_s(0.0) for _ in range(deaths)]
    assert waits[-1] == 30.0
    assert all(a <= b for a, b in pairwise(waits))
