"""Question: latency, budget, hops and what became of the answers."""

from __future__ import annotations

from typing import Final

from deploy.observability.panel import Dashboard, Query, heatmap, lines, stat
from deploy.observability.promql import ANSWERED, mean, quantile, quantiles, rate

__all__ = ["BOARD"]


def _within(bound_s: str) -> str:
    inside = f'argo_question_duration_seconds_bucket{{le="{bound_s}"}}'
    return f"{rate(inside)} / {rate('argo_question_duration_seconds_count')}"


_HOPS: Final = 'rpc_method!~".*/GetInfo|grpc.*"'
BOARD: Final = Dashboard(
    "argo-question",
    "ARGO question",
    "How fast and how well questions are answered, and where their time goes.",
    (
        (
            "",
            (
                stat("Questions a second", "reqps", f"sum(rate({ANSWERED}[5m]))"),
                stat("Median", "s", "argo:question_duration_seconds:p50_5m", thresholds=(1, 4)),
                stat(
                    "Within 1 s",
                    "percentunit",
                    _within("1.0").replace("$__rate_interval", "5m"),
                    thresholds=(0.95, 0.8),
                ),
                stat("Budget missed", "percentunit", "argo:budget_misses:ratio5m", thresholds=(0.01, 0.05)),
                stat("Degraded", "percentunit", "argo:degraded_questions:ratio5m", thresholds=(0.01, 0.05)),
                stat("Running", "short", "sum(argo_questions_running)"),
            ),
        ),
        (
            "Latency",
            (
                lines("Time to the answer", "s", *quantiles("argo_question_duration_seconds"), thresholds=(1, 4)),
                heatmap("Time to the answer", "s", "argo_question_duration_seconds_bucket"),
                lines("Time to the first words", "s", *quantiles("argo_question_first_delta_seconds")),
                lines(
                    "Share answered within",
                    "percentunit",
                    *(Query(_within(bound), f"{bound} s") for bound in ("0.5", "1.0", "2.0", "4.0")),
                    most=1,
                ),
                lines(
                    "Share of the budget used",
                    "percentunit",
                    *quantiles("argo_budget_used_ratio"),
                    thresholds=(0.9, 1),
                ),
                lines(
                    "Budget missed", "percentunit", Query("argo:budget_misses:ratio5m", "missed"), thresholds=(0.05,)
                ),
            ),
        ),
        (
            "Hops, as the orchestrator sees them",
            (
                lines(
                    "P95 of a call",
                    "s",
                    Query(quantile(0.95, "rpc_client_call_duration_seconds", "rpc_method", _HOPS), "{{rpc_method}}"),
                    width=12,
                ),
                lines(
                    "Time of all calls, for each second",
                    "short",
                    Query(rate(f"rpc_client_call_duration_seconds_sum{{{_HOPS}}}", "rpc_method"), "{{rpc_method}}"),
                    description="Calls under way at a time. A hop that grows while questions stay as many is the one "
                    "that slows them.",
                    stacked=True,
                    width=12,
                ),
                lines(
                    "Mean time between the processes",
                    "s",
                    Query(
                        f"({mean('rpc_client_call_duration_seconds', 'rpc_method', _HOPS)}) - "
                        f"({mean('rpc_server_call_duration_seconds', 'rpc_method', _HOPS)})",
                        "{{rpc_method}}",
                    ),
                    description="A call less what its service took: network, serialisation and event loops.",
                    least=None,
                    width=12,
                ),
                lines(
                    "Calls that failed",
                    "reqps",
                    Query(
                        rate(
                            'rpc_client_call_duration_seconds_count{rpc_response_status_code!="OK"}',
                            "rpc_method, rpc_response_status_code",
                        ),
                        "{{rpc_method}} {{rpc_response_status_code}}",
                    ),
                    width=12,
                ),
            ),
        ),
        (
            "Answers",
            (
                lines(
                    "By outcome", "reqps", Query(rate("argo_questions_total", "outcome"), "{{outcome}}"), stacked=True
                ),
                lines(
                    "Degraded, by kind",
                    "reqps",
                    Query(rate("argo_degradations_total", "kind"), "{{kind}}"),
                    stacked=True,
                ),
                lines(
                    "Throughput against the trend of this hour",
                    "reqps",
                    Query("argo:questions:rate30m", "now"),
                    Query("argo:questions:trend30m", "trend"),
                    Query("0.85 * argo:questions:trend30m", "15 % below"),
                ),
            ),
        ),
    ),
)
