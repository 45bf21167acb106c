"""The endpoint from which Prometheus reads the metrics of one process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from argo.errors import ArgoError
from argo.metric import OOM_KILLS, Metrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Endpoint", "EndpointError", "oom_kills"]

_OWN_GROUP: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")


class EndpointError(ArgoError):
    """The address for metrics cannot be listened on."""


class Endpoint:
    """Serves the metrics of this process over HTTP at /metrics, from a thread of its own, until it is closed.

    Args:
        metrics: What is served; the process's own figures (memory, processor time, start) are added.
        host: Address to listen on.
        port: 0 takes any free one.

    Raises:
        EndpointError: The address is in use or not ours.
    """

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        import prometheus_client

        # A second series for each, with the time at which it began, which nothing here reads.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        prometheus_client.ProcessCollector(registry=metrics.registry)
        prometheus_client.GCCollector(registry=metrics.registry)
        metrics.collect(oom_kills)
        try:
            self._server, self._thread = prometheus_client.start_http_server(port, host, metrics.registry)
        except OSError as error:
            raise EndpointError(
                f"metrics cannot listen on {host}:{port}: {error.strerror or error}; set metrics_port to a free one, "
                "or leave it unset"
            ) from None
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def oom_kills(own: Path = _OWN_GROUP, groups: Path = _GROUPS) -> Iterator[Metric]:
    """Kills that the kernel counts in this process's control group (version 2), which is its container's.

    Args:
        own: File that says which group it is.
        groups: Where groups are.

    Yields:
        The counter; nothing where there is no such group.
    """
    from prometheus_client.core import CounterMetricFamily

    with contextlib.suppress(OSError, ValueError):
        group = own.read_text().rpartition("::")[2].strip().lstrip("/")
        events = dict(line.split() for line in (groups / group / "memory.events").read_text().splitlines())
        if "oom_kill" in events:
            yield CounterMetricFamily(OOM_KILLS.name, OOM_KILLS.help, value=int(events["oom_kill"]))
