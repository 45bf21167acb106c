"""Two strategies on the same questions: whether one is better, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.statistic import bootstrap_mean_interval

__all__ = ["PairedComparison", "compare_paired", "mcnemar_p"]


@dataclass(frozen=True)
class PairedComparison:
    """First less second, on the questions that both were asked."""

    n: int
    difference: float
    """Mean of the differences, in the unit of the figures compared."""
    low: float
    """Lower end of its 95 % paired-bootstrap interval."""
    high: float
    """Upper end of it."""
    only_first: int
    """Questions that the first alone got right; 0 where the figures are not right or wrong."""
    only_second: int
    """The same for the second."""
    p: float | None
    """Exact McNemar p-value; None where the figures are not right or wrong."""


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p-value: how likely a split at least this uneven is if both are equally good.

    Args:
        only_first: Questions that the first alone got right.
        only_second: Questions that the second alone got right.

    Source: McNemar (1947), in the exact binomial form.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"only_first and only_second must be at least 0, got {only_first} and {only_second}")
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    # Whole numbers until here: 2.0 ** n overflows where n is in the thousands.
    return min(1.0, float(2 * tail / (1 << n))) if n else 1.0


def compare_paired(
    first: Sequence[float], second: Sequence[float], rng: np.random.Generator, *, resamples: int = 2_000
) -> PairedComparison:
    """Compare two figures of each question.

    Args:
        first: Figures of the first, (questions,); right and wrong as 1 and 0.
        second: Figures of the second, in the same order.
        rng: Draws the resamples.
        resamples: Their number.

    Raises:
        ValueError: The lengths differ, or there is nothing to compare.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"first and second must have one length of at least 1, got {len(first)} and {len(second)}")
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    low, high = bootstrap_mean_interval((a - b).tolist(), rng, resamples=resamples)
    binary = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    only_first = int(((a == 1.0) & (b == 0.0)).sum()) if binary else 0
    only_second = int(((a == 0.0) & (b == 1.0)).sum()) if binary else 0
    return PairedComparison(
        n=len(a),
        difference=float((a - b).mean()),
        low=low,
        high=high,
        only_first=only_first,
        only_second=only_second,
        p=mcnemar_p(only_first, only_second) if binary else None,
    )
