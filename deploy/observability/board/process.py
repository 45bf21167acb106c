"""Processes: whether they run, since when, and what they take."""

from __future__ import annotations

from typing import Any, Final

from deploy.observability.panel import Dashboard, Panel, Query, lines, share
from deploy.observability.promql import rate

__all__ = ["BOARD"]

_CALLS: Final = "rpc_server_call_duration_seconds_count"


def _process(title: str, unit: str, expression: str, **more: Any) -> Panel:
    return lines(title, unit, Query(expression, "{{service}} {{instance}}"), **more)


BOARD: Final = Dashboard(
    "argo-processes",
    "ARGO processes",
    "Every process: whether it runs, since when, and what it takes.",
    (
        (
            "",
            (
                _process("Can be scraped", "bool_yes_no", 'up{job="argo"}', most=1),
                _process("Running since", "s", 'time() - process_start_time_seconds{job="argo"}'),
                _process(
                    "Processor time", "percentunit", 'rate(process_cpu_seconds_total{job="argo"}[$__rate_interval])'
                ),
                _process("Memory", "bytes", 'process_resident_memory_bytes{job="argo"}'),
                _process("Open files", "short", 'process_open_fds{job="argo"}'),
                _process("Tasks of the event loop", "short", 'argo_event_loop_tasks{job="argo"}'),
                _process("Killed for want of memory", "short", "increase(argo_cgroup_oom_kills_total[15m])"),
                share(
                    "Calls by status",
                    Query(
                        f"{rate(_CALLS, 'rpc_response_status_code')} / on () group_left () {rate(_CALLS)}",
                        "{{rpc_response_status_code}}",
                    ),
                ),
                lines(
                    "What runs",
                    "short",
                    Query("count by (service, version) (argo_build_info)", "{{service}} {{version}}"),
                ),
            ),
        ),
    ),
)
