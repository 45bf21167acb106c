"""Expected values are worked by hand or quoted from the source named beside them."""

import numpy as np
import pytest

from bench.statistic import (
    bootstrap_mean_interval,
    brier,
    calibration,
    percentile,
    reliability,
    summary,
    wilson_interval,
)


def test_percentile_lies_between_order_statistics() -> None:
    # Positions 0..4; the 95th percentile is at 0.95 * 4 = 3.8, a fifth of the way back from 50 to 40.
    assert percentile([10, 20, 30, 40, 50], 95) == pytest.approx(48)
    assert percentile([50, 10, 30, 20, 40], 50) == 30
    assert percentile([7], 95) == 7


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        percentile([], 50)


def test_summary_of_a_small_sample() -> None:
    result = summary([1, 2, 3, 6])
    assert (result.n, result.mean, result.p50, result.max) == (4, 3.0, 2.5, 6.0)
    assert result.p95 == pytest.approx(3 + 0.85 * 3)


def test_brier_score_is_the_mean_squared_difference() -> None:
    # (0.1^2 + 0.4^2 + 0.8^2) / 3 = (0.01 + 0.16 + 0.64) / 3
    assert brier([0.9, 0.6, 0.8], [True, True, False]) == pytest.approx(0.27)
    assert brier([1.0, 0.0], [True, False]) == 0.0
    assert brier([0.5] * 4, [True, False, True, False]) == 0.25


def test_brier_score_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        brier([1.2], [True])
    with pytest.raises(ValueError, match="one length"):
        brier([0.2], [True, False])


def test_reliability_bins_are_half_open_and_the_last_is_closed() -> None:
    table = reliability([0.0, 0.09, 0.1, 0.95, 1.0], [False, True, True, True, False])
    assert [(row.from_probability, row.n, row.share_true) for row in table] == [
        (0.0, 2, 0.5),
        (0.1, 1, 1.0),
        (0.9, 2, 0.5),
    ]
    assert table[2].mean_probability == pytest.approx(0.975)


def test_calibration_error_weighs_bins_by_their_size() -> None:
    # Bin 0.2: 4 of mean 0.25, 1 true; no error. Bin 0.8: 1 of 0.85, not true; error 0.85, weight 1/5.
    result = calibration([0.25] * 4 + [0.85], [True, False, False, False, False])
    assert result is not None
    assert result.base_rate == 0.2
    assert result.expected_error == pytest.approx(0.17)
    assert result.brier == pytest.approx((0.75**2 + 3 * 0.25**2 + 0.85**2) / 5)
    assert calibration([], []) is None


def test_wilson_interval_agrees_with_its_textbook_example() -> None:
    # Newcombe (1998), table I, method 3: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_bootstrap_interval_covers_the_mean_and_repeats_with_its_seed() -> None:
    sample = [0.0, 1.0] * 50
    low, high = bootstrap_mean_interval(sample, np.random.default_rng(3))
    assert (low, high) == bootstrap_mean_interval(sample, np.random.default_rng(3))
    # Normal approximation of 100 coin flips: 0.5 +- 1.96 * 0.05.
    assert (low, high) == pytest.approx((0.402, 0.598), abs=0.02)
    assert bootstrap_mean_interval([2.0] * 5, np.random.default_rng(0)) == (2.0, 2.0)
