"""Intervals where observations come in clusters: what questions of one repository, or steps of one question, share.

Whole clusters are drawn, with everything that was observed in them, so that an interval is as wide as the number of
clusters warrants and not as narrow as the number of observations would have it.

Source: Davison and Hinkley (1997), section 3.8.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClusterSums", "cluster_interval", "cluster_mean_interval", "cluster_percentile_interval"]

RESAMPLES: Final = 2_000
_TAILS: Final = (2.5, 97.5)


class ClusterSums:
    """Sums of some quantities over each cluster; whatever is made of totals can be bootstrapped from them.

    Args:
        rows: The cluster of each observation, and its quantities, as many in each.
    """

    def __init__(self, rows: Iterable[tuple[Hashable, Sequence[float]]]) -> None:
        by_cluster: dict[Hashable, list[NDArray[np.float64]]] = defaultdict(list)
        for cluster, quantities in rows:
            by_cluster[cluster].append(np.asarray(quantities, dtype=np.float64))
        # Sorted, since the draws go by place: the same data give the same interval in whatever order they were written.
        self.sums = np.array([np.sum(by_cluster[key], axis=0) for key in sorted(by_cluster, key=repr)])
        """(clusters, quantities)."""

    @property
    def total(self) -> NDArray[np.float64]:
        """Over all clusters, (quantities,)."""
        return np.asarray(self.sums.sum(axis=0))

    def resampled(self, rng: np.random.Generator, resamples: int = RESAMPLES) -> NDArray[np.float64]:
        """Totals of resamples of whole clusters, (resamples, quantities)."""
        return np.asarray(_draws(len(self.sums), rng, resamples) @ self.sums)


def _draws(n: int, rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """How often each of n clusters is drawn in each resample, (resamples, n)."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(np.float64)


def cluster_interval(
    sums: ClusterSums,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """95 % percentile-bootstrap interval of a statistic of totals.

    Args:
        sums: At least one cluster.
        statistic: Of each row of totals, (resamples, quantities) to (resamples,); not a number where a resample holds
            nothing to estimate it from.
        rng: Draws the clusters.
        resamples: Their number.

    Returns:
        None where there is one cluster only, which says nothing of how clusters differ, or nothing to estimate from.
    """
    if len(sums.sums) < 2:
        return None
    drawn = statistic(sums.resampled(rng, resamples))
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None
    low, high = np.percentile(drawn, _TAILS)
    return float(low), float(high)


def cluster_mean_interval(
    values: Sequence[float], clusters: Sequence[Hashable], rng: np.random.Generator, *, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """95 % interval of a mean of values that come in clusters; give differences for a paired comparison."""
    sums = ClusterSums((cluster, (value, 1.0)) for cluster, value in zip(clusters, values, strict=True))
    return cluster_interval(sums, lambda totals: totals[:, 0] / totals[:, 1], rng, resamples=resamples)


def cluster_percentile_interval(
    values: Sequence[float], clusters: Sequence[Hashable], q: float, rng: np.random.Generator, *, resamples: int = 1_000
) -> tuple[float | None, float | None]:
    """95 % interval of the q-th percentile of values that come in clusters.

    Returns:
        Lower and upper end; None for an end that so few clusters cannot give: no resample reaches beyond the largest
        value, and the chance that every cluster lies below the percentile must not exceed the tail (the lower end
        likewise). One value a cluster is taken for that, which asks for too many clusters rather than too few.
    """
    by_cluster: dict[Hashable, list[float]] = defaultdict(list)
    for cluster, value in zip(clusters, values, strict=True):
        by_cluster[cluster].append(value)
    groups = [np.asarray(by_cluster[key]) for key in sorted(by_cluster, key=repr)]
    n, tail = len(groups), _TAILS[0] / 100
    if n < 2:
        return None, None
    joined, sizes = np.concatenate(groups), np.array([len(group) for group in groups])
    order = np.argsort(joined, kind="stable")
    ranked, owner = joined[order], np.repeat(np.arange(n), sizes)[order]
    drawn = np.array([_weighted_percentile(ranked, counts[owner], q) for counts in _draws(n, rng, resamples)])
    low, high = np.percentile(drawn, _TAILS)
    return float(low) if (1 - q / 100) ** n <= tail else None, float(high) if (q / 100) ** n <= tail else None


def _weighted_percentile(ranked: NDArray[np.float64], weights: NDArray[np.float64], q: float) -> float:
    """The q-th percentile of values that count so many times each, as definition 7 of Hyndman and Fan has it."""
    ends = np.cumsum(weights)
    position = q / 100 * (ends[-1] - 1)
    low, high = np.searchsorted(ends, (np.floor(position), np.ceil(position)), side="right")
    return float(ranked[low] + (position - np.floor(position)) * (ranked[high] - ranked[low]))
