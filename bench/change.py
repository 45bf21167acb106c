"""How far a figure of one sample is from the same figure of another, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.statistic import resampled, wilson_interval

__all__ = ["Change", "Statistic", "change", "mean_of", "share_interval"]

_ENDS = (2.5, 97.5)

Statistic: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Of each row of an array (some, n)."""


@dataclass(frozen=True)
class Change:
    """Second against first, with 95 % bootstrap intervals."""

    first: float
    second: float
    difference: float
    """Second less first."""
    low: float
    high: float
    ratio: float | None
    """Second by first; None where the first is not above 0 in every resample."""
    ratio_low: float | None
    ratio_high: float | None

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval of the difference leaves 0 out."""
        return self.low > 0 or self.high < 0


def mean_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row."""
    return np.asarray(rows.mean(axis=1))


def change(
    first: Sequence[float],
    second: Sequence[float],
    rng: np.random.Generator,
    *,
    statistic: Statistic = mean_of,
    paired: bool = False,
    block: int = 1,
    resamples: int = 2_000,
) -> Change:
    """Compare a statistic of two samples.

    Args:
        first: At least one number.
        second: Likewise; where paired, the same questions in the same order.
        rng: Draws the resamples.
        statistic: What is compared.
        paired: Whether both are of the same questions, which are then drawn together: how questions differ among
            themselves is no noise then.
        block: Neighbours that are drawn together; see :func:`bench.statistic.resampled`.
        resamples: Their number.

    Raises:
        ValueError: A sample is empty, or paired samples differ in length.
    """
    if paired and len(first) != len(second):
        raise ValueError(f"paired samples must have one length, got {len(first)} and {len(second)}")
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not len(a) or not len(b):
        raise ValueError(f"samples must hold at least 1 number each, got {len(a)} and {len(b)}")
    if paired:
        places = range(len(a))
        both = resampled(
            places,
            lambda rows: np.stack([statistic(a[rows.astype(np.intp)]), statistic(b[rows.astype(np.intp)])], axis=1),
            rng,
            resamples=resamples,
            block=min(block, len(a)),
        )
        drawn_a, drawn_b = both[:, 0], both[:, 1]
    else:
        drawn_a, drawn_b = (
            resampled(sample.tolist(), statistic, rng, resamples=resamples, block=min(block, len(sample)))
            for sample in (a, b)
        )
    one, other = float(statistic(a[None, :])[0]), float(statistic(b[None, :])[0])
    low, high = np.percentile(drawn_b - drawn_a, _ENDS)
    ratios: tuple[float | None, float | None, float | None] = (None, None, None)
    if one > 0 and drawn_a.min() > 0:
        ends = np.percentile(drawn_b / drawn_a, _ENDS)
        ratios = (other / one, float(ends[0]), float(ends[1]))
    return Change(one, other, other - one, float(low), float(high), *ratios)


def share_interval(true_first: int, n_first: int, true_second: int, n_second: int) -> tuple[float, float]:
    """95 % interval of the second share less the first, of different questions; open also where a share is 0 or 1.

    Source: Newcombe (1998), "Interval estimation for the difference between independent proportions", method 10.
    """
    one, other = true_first / n_first, true_second / n_second
    low_1, high_1 = wilson_interval(true_first, n_first)
    low_2, high_2 = wilson_interval(true_second, n_second)
    difference = other - one
    return (
        difference - math.hypot(other - low_2, high_1 - one),
        difference + math.hypot(high_2 - other, one - low_1),
    )
