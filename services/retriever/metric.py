"""What is counted of searches and ingests, and how large the collection is at each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import TYPE_CHECKING

from argo import metric as names
from argo.metric import Metrics
from services.retriever.retriever import DocumentOutcome, Retriever

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["RetrieverMetrics"]


class RetrieverMetrics:
    """Counts searches and documents.

    Args:
        metrics: Of this process.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._duration = metrics.histogram(names.SEARCH_DURATION)
        self._texts = metrics.counter(names.SEARCHED_TEXTS)
        self._passages = metrics.histogram(names.SEARCH_PASSAGES)
        self._ingested = metrics.counter(names.INGESTED_DOCUMENTS)
        self._retriever: Retriever | None = None
        metrics.collect(self._read)

    def show(self, retriever: Retriever) -> None:
        """Show the size of this collection from now on."""
        self._retriever = retriever

    def searched(self, found: Sequence[Sized], seconds: float) -> None:
        """Count a search.

        Args:
            found: The passages of each text.
            seconds: Time of the whole call.
        """
        self._duration.observe(seconds)
        self._texts.inc(len(found))
        for passages in found:
            self._passages.observe(len(passages))

    def ingested(self, outcomes: Iterable[DocumentOutcome]) -> None:
        """Count documents that were sent."""
        for outcome in outcomes:
            self._ingested.labels(outcome.outcome.value).inc()

    def _read(self) -> Iterable[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        if self._retriever is None:
            return
        snapshot = self._retriever.snapshot
        for declared, held in (
            (names.COLLECTION_PASSAGES, snapshot.stored),
            (names.COLLECTION_DOCUMENTS, snapshot.by_source),
        ):
            yield GaugeMetricFamily(declared.name, declared.help, value=len(held))
