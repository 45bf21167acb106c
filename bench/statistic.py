"""Figures of a sample: percentiles, calibration, and how far a figure may be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Calibration",
    "ReliabilityBin",
    "Summary",
    "bootstrap_interval",
    "bootstrap_mean_interval",
    "brier",
    "calibration",
    "percentile",
    "percentile_interval",
    "reliability",
    "resampled",
    "summary",
    "wilson_interval",
]

_Z_95: Final = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""
_BATCH: Final = 1_000_000
"""Numbers that are resampled at once."""


def percentile(sample: Sequence[float], q: float) -> float:
    """The q-th percentile, with linear interpolation between order statistics.

    Args:
        sample: At least one number.
        q: In [0, 100].

    Raises:
        ValueError: The sample is empty or q is out of range.

    Source: Hyndman and Fan (1996), definition 7.
    """
    if not len(sample):
        raise ValueError("sample must hold at least 1 number, got 0")
    return float(np.percentile(np.asarray(sample, dtype=np.float64), q))


@dataclass(frozen=True)
class Summary:
    """A sample of times in the unit of its samples."""

    n: int
    mean: float
    p50: float
    p95: float
    max: float


def summary(sample: Sequence[float]) -> Summary:
    """Mean, median, 95th percentile and largest of at least one number."""
    return Summary(
        n=len(sample),
        p50=percentile(sample, 50),
        p95=percentile(sample, 95),
        mean=float(np.mean(sample)),
        max=float(np.max(sample)),
    )


def _pairs(probability: Sequence[float], outcome: Sequence[bool]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(probability) != len(outcome) or not len(outcome):
        raise ValueError(
            f"probability and outcome must have one length of at least 1, got {len(probability)} and {len(outcome)}"
        )
    p = np.asarray(probability, dtype=np.float64)
    if not bool(np.all((p >= 0) & (p <= 1))):
        raise ValueError(f"probability must be in 0..1, got {p.min()}..{p.max()}")
    return p, np.asarray(outcome, dtype=np.float64)


def brier(probability: Sequence[float], outcome: Sequence[bool]) -> float:
    """Mean squared difference of probability and outcome; 0 is perfect, 0.25 is what a constant 0.5 gets.

    Source: Brier (1950), in the one-class form.
    """
    p, y = _pairs(probability, outcome)
    return float(np.mean((p - y) ** 2))


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of one range of probability, and how often they came true."""

    from_probability: float
    to_probability: float
    n: int
    mean_probability: float
    share_true: float
    low: float
    """Lower end of the 95 % interval of share_true."""
    high: float
    """Upper end of it."""


def reliability(probability: Sequence[float], outcome: Sequence[bool], *, bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """The reliability table: equal-width bins over [0, 1], the last one closed, empty ones left out."""
    p, y = _pairs(probability, outcome)
    index = np.minimum((p * bins).astype(np.int64), bins - 1)
    table = []
    for number in range(bins):
        inside = index == number
        n = int(inside.sum())
        if n:
            true = int(y[inside].sum())
            low, high = wilson_interval(true, n)
            table.append(
                ReliabilityBin(number / bins, (number + 1) / bins, n, float(p[inside].mean()), true / n, low, high)
            )
    return tuple(table)


@dataclass(frozen=True)
class Calibration:
    """How well probabilities agree with outcomes."""

    n: int
    brier: float
    base_rate: float
    """Share of outcomes that came true; base_rate * (1 - base_rate) is the Brier score of always saying it."""
    expected_error: float
    """Mean over the bins of |mean probability - share true|, weighted by their size."""
    bins: tuple[ReliabilityBin, ...]

    def to_mapping(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def calibration(probability: Sequence[float], outcome: Sequence[bool], *, bins: int = 10) -> Calibration | None:
    """Brier score and reliability table; None where there is nothing to compare."""
    if not len(outcome):
        return None
    table = reliability(probability, outcome, bins=bins)
    n = len(outcome)
    return Calibration(
        n=n,
        brier=brier(probability, outcome),
        base_rate=sum(outcome) / n,
        expected_error=sum(row.n * abs(row.mean_probability - row.share_true) for row in table) / n,
        bins=table,
    )


def wilson_interval(true: int, n: int) -> tuple[float, float]:
    """95 % score interval of a share; unlike the bootstrap it stays open at 0 of n and n of n.

    Source: Wilson (1927).
    """
    if not 0 <= true <= n or n == 0:
        raise ValueError(f"true must be in 0..n with n at least 1, got {true} of {n}")
    share, z2 = true / n, _Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 of n and n of n an end is the share itself, but for rounding.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def resampled(
    sample: Sequence[float],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    rng: np.random.Generator,
    *,
    resamples: int = 2_000,
    block: int = 1,
) -> NDArray[np.float64]:
    """A statistic of bootstrap resamples, (resamples,).

    Args:
        sample: At least one number, in their order of time where block is above 1.
        statistic: Of each row of an array (some resamples, n).
        rng: Draws the resamples.
        resamples: Their number.
        block: Neighbours that are drawn together, the sample's end being followed by its beginning. 1 is right for
            numbers that do not depend on each other; above it, what neighbours share stays in the resamples.

    Source: Efron (1979); Politis and Romano (1992) for the circular blocks.
    """
    values = np.asarray(sample, dtype=np.float64)
    n = len(values)
    if not n or not 1 <= block <= n:
        raise ValueError(f"block must be in 1..n with n at least 1, got {block} of {n}")
    blocks = -(-n // block)
    # In batches: of ten thousand numbers all resamples at once would take hundreds of megabytes.
    batch = max(1, _BATCH // n)
    found = []
    for first in range(0, resamples, batch):
        starts = rng.integers(0, n, size=(min(batch, resamples - first), blocks))
        index = (starts[:, :, None] + np.arange(block)).reshape(len(starts), -1)[:, :n] % n
        found.append(statistic(values[index]))
    return np.concatenate(found)


def bootstrap_interval(
    sample: Sequence[float],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    block: int = 1,
) -> tuple[float, float]:
    """Percentile-bootstrap interval of a statistic; for its arguments see :func:`resampled`."""
    drawn = resampled(sample, statistic, rng, resamples=resamples, block=block)
    tail = (1 - confidence) / 2 * 100
    return float(np.percentile(drawn, tail)), float(np.percentile(drawn, 100 - tail))


def bootstrap_mean_interval(
    sample: Sequence[float], rng: np.random.Generator, *, confidence: float = 0.95, resamples: int = 2_000
) -> tuple[float, float]:
    """Percentile-bootstrap interval of a mean; give differences for a paired comparison.

    Args:
        sample: At least one number.
        rng: Draws the resamples.
        confidence: Share of resampled means inside.
        resamples: Their number.
    """
    return bootstrap_interval(sample, lambda rows: rows.mean(axis=1), rng, confidence=confidence, resamples=resamples)


def percentile_interval(
    sample: Sequence[float],
    q: float,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    block: int = 1,
) -> tuple[float | None, float | None]:
    """Percentile-bootstrap interval of the q-th percentile, without the end that the sample is too small for.

    The upper end of such an interval is never above the largest number of the sample. Where the chance that all n lie
    below the percentile, (q / 100)^n, exceeds the upper tail, an end drawn from them would be too low too often: for
    the 99th percentile that is so up to n = 367, for the 95th up to 71, for the median up to 5. The lower end likewise.

    Args:
        sample: At least one number.
        q: In (0, 100).
        rng: Draws the resamples.
        confidence: Of the interval.
        resamples: Their number.
        block: See :func:`resampled`.

    Returns:
        Lower and upper end; None for one that cannot be given.
    """
    low, high = bootstrap_interval(
        sample,
        lambda rows: np.percentile(rows, q, axis=1),
        rng,
        confidence=confidence,
        resamples=resamples,
        block=block,
    )
    tail, n = (1 - confidence) / 2, len(sample)
    return (
        low if (1 - q / 100) ** n <= tail else None,
        high if (q / 100) ** n <= tail else None,
    )
