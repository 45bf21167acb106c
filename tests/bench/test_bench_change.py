"""Differences and ratios of two samples, and whether they are noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.change import change

_SAMPLES = st.lists(st.floats(0.5, 100.0), min_size=1, max_size=20)


def test_a_constant_difference_is_known_exactly_where_questions_are_paired() -> None:
    first = [10.0, 200.0, 30.0, 400.0]
    found = change(first, [value + 5 for value in first], np.random.default_rng(0), paired=True)
    # Whatever questions are drawn, their means differ by 5; as loose samples they would not.
    assert (found.difference, found.low, found.high) == (5.0, 5.0, 5.0)
    assert found.beyond_noise
    assert not change(first, [value + 5 for value in first], np.random.default_rng(0)).beyond_noise


def test_a_constant_ratio_is_known_exactly_where_questions_are_paired() -> None:
    first = [10.0, 200.0, 30.0, 400.0]
    found = change(first, [value / 4 for value in first], np.random.default_rng(0), paired=True, block=2)
    assert (found.ratio, found.ratio_low, found.ratio_high) == pytest.approx((0.25, 0.25, 0.25))


def test_a_ratio_needs_something_to_be_a_ratio_of() -> None:
    found = change([0.0, 0.0, 1.0], [1.0, 1.0, 1.0], np.random.default_rng(0))
    # A resample of the first may be all zeros.
    assert (found.ratio, found.ratio_low, found.ratio_high) == (None, None, None)
    assert found.difference == pytest.approx(2 / 3)


def test_any_statistic_may_be_compared() -> None:
    found = change(
        [1.0, 2.0, 9.0], [10.0, 20.0, 90.0], np.random.default_rng(0), statistic=lambda rows: np.median(rows, axis=1)
    )
    assert (found.first, found.second, found.ratio) == (2.0, 20.0, 10.0)


@settings(max_examples=30)
@given(sample=_SAMPLES, paired=st.booleans())
def test_a_sample_does_not_differ_from_itself(sample: list[float], paired: bool) -> None:
    found = change(sample, sample, np.random.default_rng(0), paired=paired, resamples=200)
    assert found.difference == 0.0 and not found.beyond_noise


@settings(max_examples=30)
@given(first=_SAMPLES, second=_SAMPLES)
def test_the_difference_is_the_other_ways_negative(first: list[float], second: list[float]) -> None:
    one = change(first, second, np.random.default_rng(0), resamples=50)
    other = change(second, first, np.random.default_rng(0), resamples=50)
    assert one.difference == pytest.approx(-other.difference)
    assert one.ratio is not None and other.ratio is not None and one.ratio * other.ratio == pytest.approx(1.0)


def test_noise_is_called_a_difference_in_about_5_of_100_comparisons() -> None:
    rng = np.random.default_rng(7)
    called = sum(
        change(rng.normal(50, 9, 60).tolist(), rng.normal(50, 9, 60).tolist(), rng, resamples=500).beyond_noise
        for _ in range(200)
    )
    # 10 expected with a deviation of 3.1.
    assert 2 <= called <= 20


@pytest.mark.parametrize(
    ("first", "second", "paired", "named"),
    [([1.0], [], False, "got 1 and 0"), ([1.0, 2.0], [1.0], True, "one length, got 2 and 1")],
)
def test_samples_that_cannot_be_compared_are_named(
    first: list[float], second: list[float], paired: bool, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        change(first, second, np.random.default_rng(0), paired=paired)
