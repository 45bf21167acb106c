"""Expected values are worked by hand or quoted from the source named beside them."""

import math

import numpy as np
import pytest

from bench.statistic import (
    bootstrap_interval,
    bootstrap_mean_interval,
    brier,
    calibration,
    percentile,
    percentile_interval,
    reliability,
    resampled,
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


def test_a_block_that_is_the_whole_sample_is_only_ever_turned() -> None:
    # Whatever the start, the same four numbers follow in a circle.
    drawn = resampled([1.0, 2.0, 3.0, 10.0], lambda rows: rows.sum(axis=1), np.random.default_rng(1), block=4)
    assert drawn.shape == (2_000,)
    assert set(drawn.tolist()) == {16.0}


def test_blocks_are_neighbours_and_the_last_one_is_cut() -> None:
    seen = resampled(
        [0.0, 1.0, 2.0, 3.0, 4.0], lambda rows: rows @ 10.0 ** np.arange(4, -1, -1), np.random.default_rng(2), block=2
    )
    for value in seen:
        a, b, c, d, _ = (int(digit) for digit in f"{int(value):05d}")
        assert (b - a) % 5 == 1 and (d - c) % 5 == 1


@pytest.mark.parametrize(("sample", "block"), [([], 1), ([1.0, 2.0], 0), ([1.0, 2.0], 3)])
def test_a_block_that_does_not_fit_its_sample_is_named(sample: list[float], block: int) -> None:
    with pytest.raises(ValueError, match=r"block must be in 1\.\.n"):
        resampled(sample, lambda rows: rows.mean(axis=1), np.random.default_rng(0), block=block)


def test_resamples_do_not_depend_on_how_many_are_held_at_once() -> None:
    # 3,000 numbers are drawn in batches of 333 resamples; 30 in one batch. The mean's standard error is 1 / sqrt(n).
    for n in (30, 3_000):
        drawn = resampled([-1.0, 1.0] * (n // 2), lambda rows: rows.mean(axis=1), np.random.default_rng(4))
        assert len(drawn) == 2_000
        assert drawn.std() == pytest.approx(1 / math.sqrt(n), rel=0.06)


_DRAWS = 400
# Three standard errors of a share of 0.95 among so many draws.
_WITHIN = 3 * math.sqrt(0.95 * 0.05 / _DRAWS)


def test_the_interval_of_a_mean_holds_it_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(_DRAWS):
        low, high = bootstrap_interval(rng.exponential(size=100), lambda rows: rows.mean(axis=1), rng, resamples=400)
        inside += low <= 1.0 <= high
    assert inside / _DRAWS == pytest.approx(0.95, abs=_WITHIN)


# A percentile's interval is short of its confidence until some tens of the sample lie beyond it: that of the 90th holds
# it in 92 of 100 samples of 100, and in 95 of samples of 1,000.
@pytest.mark.parametrize(("q", "n"), [(50, 100), (90, 1_000)])
def test_the_interval_of_a_percentile_holds_it_in_95_of_100_samples(q: float, n: int) -> None:
    rng = np.random.default_rng(12)
    truth = -math.log(1 - q / 100)  # of the exponential distribution
    inside = 0
    for _ in range(_DRAWS):
        low, high = percentile_interval(rng.exponential(size=n), q, rng, resamples=400)
        assert low is not None and high is not None
        inside += low <= truth <= high
    assert inside / _DRAWS == pytest.approx(0.95, abs=_WITHIN)


def test_blocks_keep_what_neighbours_share_and_single_draws_do_not() -> None:
    # An autoregression with factor 0.8 has a mean whose standard error is 1 / (1 - 0.8) = 5 times that of its noise,
    # and 3 times that which independent numbers of its spread 1 / sqrt(1 - 0.64) would have.
    rng = np.random.default_rng(13)
    n = 2_000
    sample = [0.0]
    for noise in rng.normal(size=n - 1):
        sample.append(0.8 * sample[-1] + noise)
    spread = {
        block: float(resampled(sample, lambda rows: rows.mean(axis=1), rng, block=block).std()) for block in (1, 50)
    }
    assert spread[1] * math.sqrt(n) == pytest.approx(5 / 3, rel=0.15)
    assert spread[50] * math.sqrt(n) == pytest.approx(5, rel=0.2)


@pytest.mark.parametrize(("q", "least"), [(50, 6), (90, 36), (95, 72), (99, 368)])
def test_a_percentile_has_an_upper_end_from_as_many_numbers_as_it_takes(q: float, least: int) -> None:
    # Smallest n with (q / 100) ** n <= 0.025, by logarithms: 5.3, 35.0, 71.9, 367.04.
    rng = np.random.default_rng(0)
    too_few = percentile_interval(list(range(least - 1)), q, rng)
    enough = percentile_interval(list(range(least)), q, rng)
    assert too_few[1] is None
    assert enough[1] is not None and enough[0] is not None


def test_a_low_percentile_lacks_its_lower_end_likewise() -> None:
    low, high = percentile_interval(list(range(100)), 1, np.random.default_rng(0))
    assert low is None
    assert high is not None
