"""Engines: speed, queues, caches, GPUs and health."""

from __future__ import annotations

from typing import Final

from deploy.observability.panel import Dashboard, Query, lines
from deploy.observability.promql import quantile, rate

__all__ = ["BOARD"]

_SERVED: Final = 'service=~"$service", kind!="canary"'
BOARD: Final = Dashboard(
    "argo-engines",
    "ARGO engines",
    "Language models behind decomposer and synthesizer: speed, queues, caches, GPUs and health.",
    (
        (
            "Speed",
            (
                lines(
                    "Time to first token, P95",
                    "s",
                    Query(
                        quantile(0.95, "gen_ai_server_time_to_first_token_seconds", "service, kind", _SERVED),
                        "{{service}} {{kind}}",
                    ),
                ),
                lines(
                    "Time per output token, P95",
                    "s",
                    Query(
                        quantile(0.95, "gen_ai_server_time_per_output_token_seconds", "service, kind", _SERVED),
                        "{{service}} {{kind}}",
                    ),
                ),
                lines(
                    "Queue, P95",
                    "s",
                    Query(
                        quantile(0.95, "argo_engine_queue_seconds", "service, kind", _SERVED), "{{service}} {{kind}}"
                    ),
                ),
                lines(
                    "Whole generation, P95",
                    "s",
                    Query(
                        quantile(0.95, "gen_ai_server_request_duration_seconds", "service, kind", _SERVED),
                        "{{service}} {{kind}}",
                    ),
                ),
                lines(
                    "Tokens a second",
                    "short",
                    Query(rate(f"argo_engine_prompt_tokens_total{{{_SERVED}}}", "service"), "{{service}} prompt"),
                    Query(
                        rate(f"argo_engine_completion_tokens_total{{{_SERVED}}}", "service"), "{{service}} completion"
                    ),
                ),
                lines(
                    "Generations by their end",
                    "ops",
                    Query(rate(f"argo_engine_generations_total{{{_SERVED}}}", "ended_by"), "{{ended_by}}"),
                    stacked=True,
                ),
            ),
        ),
        (
            "Queues and caches",
            (
                lines(
                    "Generations running and waiting",
                    "short",
                    Query(
                        'sum by (service, instance) (argo_engine_running{service=~"$service"})',
                        "{{service}} {{instance}} running",
                    ),
                    Query(
                        'sum by (service, instance) (argo_engine_waiting{service=~"$service"})',
                        "{{service}} {{instance}} waiting",
                    ),
                ),
                lines(
                    "Generations that were not begun",
                    "ops",
                    Query(
                        rate(f"argo_engine_refused_total{{{_SERVED}}}", "service, kind, reason"),
                        "{{service}} {{kind}} {{reason}}",
                    ),
                ),
                lines(
                    "KV cache in use",
                    "percentunit",
                    Query('argo_engine_kv_cache_used_ratio{service=~"$service"}', "{{service}} {{instance}}"),
                    most=1,
                    thresholds=(0.95,),
                ),
                lines(
                    "Prompt tokens that the prefix cache saved",
                    "percentunit",
                    Query(
                        f"{rate(f'argo_engine_cached_tokens_total{{{_SERVED}}}', 'service')} / "
                        f"{rate(f'argo_engine_prompt_tokens_total{{{_SERVED}}}', 'service')}",
                        "{{service}}",
                    ),
                    most=1,
                ),
            ),
        ),
        (
            "GPUs and health",
            (
                lines(
                    "GPU use",
                    "percentunit",
                    Query('argo_gpu_utilisation_ratio{service=~"$service"}', "{{service}} {{instance}} GPU {{gpu}}"),
                    most=1,
                    thresholds=(0.75, 0.5),
                ),
                lines(
                    "GPU memory in use",
                    "percentunit",
                    Query(
                        'argo_gpu_memory_used_bytes{service=~"$service"} / argo_gpu_memory_bytes{service=~"$service"}',
                        "{{service}} {{instance}} GPU {{gpu}}",
                    ),
                    most=1,
                ),
                lines(
                    "Since the last sign of life",
                    "s",
                    Query('argo_engine_canary_age_seconds{service=~"$service"}', "{{service}} {{instance}}"),
                    thresholds=(10, 30),
                ),
                lines(
                    "Engine answers",
                    "bool_yes_no",
                    Query('argo_engine_serving{service=~"$service"}', "{{service}} {{instance}}"),
                    most=1,
                ),
                lines(
                    "Canaries that failed",
                    "short",
                    Query(
                        'increase(argo_engine_canary_failures_total{service=~"$service"}[5m])',
                        "{{service}} {{instance}}",
                    ),
                ),
                lines(
                    "Out of memory",
                    "short",
                    Query(
                        'increase(argo_engine_out_of_memory_total{service=~"$service"}[15m])',
                        "{{service}} {{instance}}",
                    ),
                ),
            ),
        ),
    ),
    (("service", "Service", "label_values(argo_engine_serving, service)"),),
)
