"""Retriever: searches and the collection."""

from __future__ import annotations

from typing import Final

from deploy.observability.panel import Dashboard, Query, heatmap, lines
from deploy.observability.promql import mean, quantiles, rate

__all__ = ["BOARD"]

_NOTHING_FOUND: Final = 'argo_search_passages_bucket{le="0.0"}'
BOARD: Final = Dashboard(
    "argo-retriever",
    "ARGO retriever",
    "Searches, what they find, and the collection.",
    (
        (
            "Searches",
            (
                lines("Time of a search", "s", *quantiles("argo_search_duration_seconds")),
                heatmap("Time of a search", "s", "argo_search_duration_seconds_bucket"),
                lines(
                    "Searches and texts",
                    "ops",
                    Query(rate("argo_search_duration_seconds_count"), "searches"),
                    Query(rate("argo_searched_texts_total"), "texts"),
                ),
                lines("Passages a text", "short", Query(mean("argo_search_passages"), "mean")),
                lines(
                    "Texts that found nothing",
                    "percentunit",
                    Query(
                        f"{rate(_NOTHING_FOUND)} / {rate('argo_search_passages_count')}",
                        "nothing found",
                    ),
                    most=1,
                ),
                lines(
                    "Calls by status",
                    "reqps",
                    Query(
                        rate(
                            'rpc_server_call_duration_seconds_count{service="retriever"}',
                            "rpc_method, rpc_response_status_code",
                        ),
                        "{{rpc_method}} {{rpc_response_status_code}}",
                    ),
                ),
            ),
        ),
        (
            "Collection",
            (
                lines(
                    "Size",
                    "short",
                    Query("max(argo_collection_passages)", "passages"),
                    Query("max(argo_collection_documents)", "documents"),
                ),
                lines(
                    "Documents sent",
                    "short",
                    Query("sum by (outcome) (increase(argo_ingested_documents_total[5m]))", "{{outcome}}"),
                    stacked=True,
                ),
                lines("Memory", "bytes", Query('process_resident_memory_bytes{service="retriever"}', "{{instance}}")),
            ),
        ),
    ),
)
