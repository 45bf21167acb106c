"""Expressions that the panels share."""

from __future__ import annotations

from typing import Final

from deploy.observability.panel import Query

__all__ = ["ANSWERED", "mean", "quantile", "quantiles", "rate"]

ANSWERED: Final = 'argo_questions_total{outcome=~"answered|abstained"}'
"""Questions that got an answer."""
_QUANTILES: Final = ((0.5, "P50"), (0.95, "P95"), (0.99, "P99"))


def rate(counter: str, by: str = "") -> str:
    """Events a second of all processes together, by some labels."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({counter}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram, by some labels and of some series."""
    labels = f"le, {by}" if by else "le"
    chosen = f"{{{where}}}" if where else ""
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket{chosen}[$__rate_interval])))"


def quantiles(histogram: str) -> tuple[Query, ...]:
    """The median, the 95th and the 99th percentile of a histogram."""
    return tuple(Query(quantile(share, histogram), name) for share, name in _QUANTILES)


def mean(histogram: str, by: str = "", where: str = "") -> str:
    """The mean of a histogram, by some labels and of some series."""
    chosen = f"{{{where}}}" if where else ""
    return f"{rate(f'{histogram}_sum{chosen}', by)} / {rate(f'{histogram}_count{chosen}', by)}"
