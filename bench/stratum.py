"""Accuracy over difficulties: each with the same say, or with the say that it has among all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.statistic import resampled

__all__ = ["Mean", "macro_mean", "weighted_mean"]


@dataclass(frozen=True)
class Mean:
    """A mean over strata with its 95 % interval."""

    value: float
    low: float
    high: float


def macro_mean(strata: Mapping[str, Sequence[float]], rng: np.random.Generator) -> Mean:
    """Mean of the strata's means, each with the same weight; for the arguments see :func:`weighted_mean`."""
    return weighted_mean(strata, dict.fromkeys(strata, 1.0), rng)


def weighted_mean(
    strata: Mapping[str, Sequence[float]],
    weights: Mapping[str, float],
    rng: np.random.Generator,
    *,
    resamples: int = 2_000,
) -> Mean:
    """Weighted mean of the strata's means, with a percentile-bootstrap interval that resamples within each stratum.

    With the number of rows that each stratum has in the whole benchmark as weights, a sample of equal shares tells what
    the whole would come to.

    Args:
        strata: Figures of each, at least one number in each of at least one.
        weights: Of each stratum, above 0; only their ratios count.
        rng: Draws the resamples.
        resamples: Their number.

    Raises:
        ValueError: A stratum has no weight above 0, or there are none.

    Source: Cochran (1977), section 5.3, for the stratified mean.
    """
    if not strata or not all(weights.get(name, 0.0) > 0 for name in strata):
        raise ValueError(f"weights must be above 0 for each of {sorted(strata)}, got {dict(weights)}")
    total = sum(weights[name] for name in strata)
    value = sum(weights[name] / total * float(np.mean(figures)) for name, figures in strata.items())
    drawn = np.zeros(resamples)
    for name, figures in strata.items():
        means = resampled(figures, lambda rows: rows.mean(axis=1), rng, resamples=resamples)
        drawn += weights[name] / total * means
    return Mean(value, float(np.percentile(drawn, 2.5)), float(np.percentile(drawn, 97.5)))
