"""How long many more questions would take, from the answers a second of a load that was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.statistic import bootstrap_interval

__all__ = ["Throughput", "block_of", "gaps_s", "pace", "throughput"]


@dataclass(frozen=True)
class Throughput:
    """Answers a second while the load was on, with its 95 % interval."""

    per_s: float
    low: float
    high: float
    answers: int
    """Those that it is made of, which came before the last question was put."""
    until_s: float
    """When the last of them came, from the beginning of the load."""
    later: int
    """Answers that came after it."""

    def time_s(self, questions: int) -> tuple[float, float, float]:
        """Seconds for so many answers at this rate, and the ends of the interval."""
        return questions / self.per_s, questions / self.high, questions / self.low


def block_of(n: int, least: int = 1) -> int:
    """Neighbours that a bootstrap draws together: the cube root of n, since questions in flight share their wait.

    Args:
        n: Size of the sample.
        least: Number of neighbours that surely depend on each other.

    Source: Hall, Horowitz and Jing (1995), "On blocking rules for the bootstrap with dependent data".
    """
    return min(n, max(least, round(math.cbrt(n))))


def throughput(rows: Sequence[Mapping[str, Any]], in_flight: int | None, rng: np.random.Generator) -> Throughput | None:
    """Answers a second between the beginning of a load and the moment when its last question was put.

    After that moment the stack runs empty: the shorter the load, the more its end would weigh.

    Args:
        rows: Of :func:`bench.row.attempt_row`, of one load.
        in_flight: Questions in flight of a closed loop; None of an open one.
        rng: Draws the resamples of the times between answers.

    Returns:
        None where nothing was answered. Where no answer came that early, all answers count.
    """
    gaps = gaps_s(rows)
    if not gaps:
        return None
    low, high = bootstrap_interval(gaps, pace, rng, block=block_of(len(gaps), in_flight or 1))
    answers = sum(not row["error"] for row in rows)
    return Throughput(len(gaps) / sum(gaps), low, high, len(gaps), sum(gaps), answers - len(gaps))


def gaps_s(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds between answers, from the beginning of the load until its last question was put; for rows as above."""
    ended = sorted(row["ended_ms"] for row in rows if not row["error"])
    last_put = max((row["sent_ms"] for row in rows), default=0.0)
    early = [at for at in ended if at <= last_put] or ended
    return [float(gap) / 1000 for gap in np.diff(np.asarray([0.0, *early]))]


def pace(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Answers a second, of each row of times between them."""
    return np.asarray(1 / gaps.mean(axis=1))
