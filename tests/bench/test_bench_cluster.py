"""Intervals of what comes in clusters: as wide as the clusters make them, and never drawn from nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.cluster import ClusterSums, cluster_interval, cluster_mean_interval, cluster_percentile_interval


def _ratio(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(totals[:, 0] / totals[:, 1])


def test_sums_are_those_of_each_cluster_whatever_the_order_of_the_rows() -> None:
    rows = [("b", (1.0, 1.0)), ("a", (0.0, 1.0)), ("b", (1.0, 1.0))]
    for order in (rows, rows[::-1]):
        sums = ClusterSums(order)
        assert sums.sums.tolist() == [[0.0, 1.0], [2.0, 2.0]]
        assert sums.total.tolist() == [2.0, 3.0]


def test_two_clusters_that_each_agree_within_give_the_interval_from_one_to_the_other() -> None:
    # Drawn with replacement from {0 of 50, 50 of 50}, both are the same one in half of the resamples.
    sums = ClusterSums([("a", (0.0, 1.0))] * 50 + [("b", (1.0, 1.0))] * 50)
    assert cluster_interval(sums, _ratio, np.random.default_rng(0)) == (0.0, 1.0)


def test_one_cluster_alone_has_no_interval() -> None:
    assert cluster_interval(ClusterSums([("a", (1.0, 2.0))]), _ratio, np.random.default_rng(0)) is None
    assert cluster_percentile_interval([1.0, 2.0], ["a", "a"], 50, np.random.default_rng(0)) == (None, None)


def test_resamples_that_hold_nothing_to_estimate_from_are_left_out() -> None:
    # Only cluster "a" was observed; a resample of "b" alone says nothing.
    sums = ClusterSums([("a", (3.0, 4.0)), ("b", (0.0, 0.0))])
    with np.errstate(invalid="ignore"):
        assert cluster_interval(sums, _ratio, np.random.default_rng(0)) == (0.75, 0.75)


def test_intervals_cover_the_mean_of_the_clusters_distribution_about_as_often_as_they_say() -> None:
    # Ten questions share the luck of each of 30 repositories: drawn one by one, intervals would be far too narrow.
    rng = np.random.default_rng(1)
    covered = alone = 0
    for _ in range(150):
        luck = rng.beta(1.0, 1.0, size=30)
        values = (rng.random((30, 10)) < luck[:, None]).astype(float)
        clusters = [str(n) for n in range(30) for _ in range(10)]
        interval = cluster_mean_interval(values.ravel().tolist(), clusters, rng, resamples=200)
        single = cluster_mean_interval(values.ravel().tolist(), list(range(300)), rng, resamples=200)
        assert interval is not None and single is not None
        covered += interval[0] <= 0.5 <= interval[1]
        alone += single[0] <= 0.5 <= single[1]
    assert 0.88 <= covered / 150 <= 0.99
    assert alone / 150 < 0.8


def test_percentile_of_clusters_of_one_is_within_its_interval_and_ends_that_cannot_be_known_are_left_out() -> None:
    values = [float(value) for value in range(1, 101)]
    low, high = cluster_percentile_interval(values, [str(value) for value in values], 50, np.random.default_rng(0))
    assert low is not None and high is not None
    # The order statistics 40 and 61 of 100 are the exact 95 % interval of a median (binomial).
    assert low == pytest.approx(40, abs=3) and high == pytest.approx(61, abs=3)
    low, high = cluster_percentile_interval(values, [str(value) for value in values], 99, np.random.default_rng(0))
    # All 100 lie below the 99th percentile with a chance of 0.99 ** 100 = 0.37.
    assert low is not None and high is None
