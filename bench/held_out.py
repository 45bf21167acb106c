"""What a fitted policy changes on questions that it was not fitted to: recall, searches, and whether it is as good."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from bench.cluster import cluster_mean_interval
from bench.paired import compare_paired
from bench.record import Run
from bench.statistic import percentile, wilson_interval

__all__ = ["MARGIN", "SAVING", "Comparison", "compare", "score"]

MARGIN: Final = 0.03
"""Evidence recall that may be lost and still count as none: 3 points."""
SAVING: Final = 0.25
"""Share of searches that must be saved where recall is only not inferior."""
_Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The first run less the second, on the questions of one split under one budget."""

    first: str
    second: str
    budget_ms: int
    n: int
    recall_difference: float
    low: float
    """Lower end of its 95 % paired-bootstrap interval; the question is the unit."""
    high: float
    cluster_low: float | None
    """The same, drawn by repository; None where there is one only."""
    cluster_high: float | None
    only_first: int
    """Questions whose evidence the first alone found."""
    only_second: int
    p: float | None
    """Exact McNemar p-value."""
    searches_ratio: float
    """Mean searches of the first over those of the second."""
    ratio_low: float
    """Lower end of its 95 % paired-bootstrap interval."""
    ratio_high: float

    @property
    def reached(self) -> str:
        """Which aim is reached: "fewer searches", "better recall", or "no"."""
        if self.low > -MARGIN and self.searches_ratio <= 1 - SAVING:
            return "fewer searches"
        if self.low > 0 and self.searches_ratio <= 1:
            return "better recall"
        return "no"

    def to_mapping(self) -> dict[str, Any]:
        """The fields for JSON."""
        return {**asdict(self), "reached": self.reached}


def score(run: Run, split: str) -> list[dict[str, Any]]:
    """Recall, searches and latency of each run of a split, by budget, in the order of the record."""
    groups: dict[tuple[str, int], list[_Row]] = {}
    for row in run.of_kind("question"):
        if row["split"] == split:
            groups.setdefault((row["run"], row["budget_ms"]), []).append(row)
    return [_score(name, budget_ms, rows) for (name, budget_ms), rows in groups.items()]


def _score(name: str, budget_ms: int, rows: Sequence[_Row]) -> dict[str, Any]:
    answered = [row for row in rows if not row["error"]]
    found = sum(row["found"] for row in rows)
    low, high = wilson_interval(found, len(rows))
    latency_ms = [row["latency_ms"] for row in answered]
    told = [row["within_budget"] for row in answered if row["within_budget"] is not None]
    return {
        "run": name,
        "budget_ms": budget_ms,
        "questions": len(rows),
        "found": found,
        "recall": found / len(rows),
        "recall_low": low,
        "recall_high": high,
        "evidence_share": statistics.fmean(row["held"] for row in rows),
        "searches": statistics.fmean(row["searches"] for row in answered) if answered else None,
        "steps": statistics.fmean(row["steps"] for row in answered) if answered else None,
        "p50_ms": percentile(latency_ms, 50) if latency_ms else None,
        "p95_ms": percentile(latency_ms, 95) if latency_ms else None,
        "within_budget": sum(told) / len(told) if told else None,
        "refused": sum(row["refused"] for row in answered) / len(answered) if answered else None,
        "errors": len(rows) - len(answered),
    }


def compare(run: Run, split: str, first: str, second: str, budget_ms: int, seed: int) -> Comparison | None:
    """Compare two runs question by question, on those that both answered or failed; None where there is none.

    A question that failed counts as not found, and its searches as none: those of both runs are left out.
    """
    sides: dict[str, dict[str, _Row]] = {first: {}, second: {}}
    for row in run.of_kind("question"):
        if row["split"] == split and row["budget_ms"] == budget_ms and row["run"] in sides:
            sides[row["run"]][row["id"]] = row
    pairs = [(row, sides[second][key]) for key, row in sides[first].items() if key in sides[second]]
    if not pairs:
        return None
    one = [float(a["found"]) for a, _ in pairs]
    other = [float(b["found"]) for _, b in pairs]
    rng = np.random.default_rng(seed)
    paired = compare_paired(one, other, rng)
    difference = [a - b for a, b in zip(one, other, strict=True)]
    clusters = cluster_mean_interval(difference, [a["cluster"] for a, _ in pairs], rng)
    ratio, ratio_low, ratio_high = _searches_ratio(pairs, rng)
    return Comparison(
        first=first,
        second=second,
        budget_ms=budget_ms,
        n=paired.n,
        recall_difference=paired.difference,
        low=paired.low,
        high=paired.high,
        cluster_low=clusters[0] if clusters else None,
        cluster_high=clusters[1] if clusters else None,
        only_first=paired.only_first,
        only_second=paired.only_second,
        p=paired.p,
        searches_ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
    )


def _searches_ratio(
    pairs: Sequence[tuple[_Row, _Row]], rng: np.random.Generator, resamples: int = 2_000
) -> tuple[float, float, float]:
    """Searches of the first over those of the second, with the paired-bootstrap interval."""
    counts = np.array([(a["searches"], b["searches"]) for a, b in pairs if not (a["error"] or b["error"])], float)
    if not len(counts):
        return float("nan"), float("nan"), float("nan")
    total = counts.sum(axis=0)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    drawn = weights @ counts
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    return float(total[0] / total[1]), float(low), float(high)
