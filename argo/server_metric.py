"""How long each served call took, and with which status it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc.aio

from argo.metric import RPC_CLIENT_DURATION, RPC_SERVER_DURATION, Declared, Metrics
from argo.server_span import status_name

if TYPE_CHECKING:
    from prometheus_client import Histogram

__all__ = ["CallTimes", "measured"]

_ServicerContext = grpc.aio.ServicerContext[Any, Any]


class CallTimes:
    """Durations of calls by method and status.

    Args:
        metrics: Of this process.
        declared: Those that are served, or those that are made.
    """

    def __init__(self, metrics: Metrics, declared: Declared) -> None:
        self._histogram = metrics.histogram(declared)
        # The library looks a label set up under a lock; methods and statuses are few.
        self._known: dict[tuple[str, str], Histogram] = {}

    @classmethod
    def served(cls, metrics: Metrics) -> CallTimes:
        """Of the calls that this process answers."""
        return cls(metrics, RPC_SERVER_DURATION)

    @classmethod
    def made(cls, metrics: Metrics) -> CallTimes:
        """Of the calls that this process makes."""
        return cls(metrics, RPC_CLIENT_DURATION)

    def note(self, method: str, status: str, seconds: float) -> None:
        """Record one call.

        Args:
            method: "argo.v1.RetrieverService/Search".
            status: "OK", "CANCELLED".
            seconds: From its start to its end.
        """
        known = self._known.get((method, status))
        if known is None:
            known = self._known[method, status] = self._histogram.labels(method, status)
        known.observe(seconds)


def measured(behaviour: Callable[..., Any], method: str, times: CallTimes) -> Any:
    """Wrap a handler.

    Args:
        behaviour: The handler; raises whatever ends the call, after it has set its status.
        method: "/argo.v1.RetrieverService/Search".
        times: Where its time is noted.
    """
    name = method[1:]

    async def handle(request: Any, context: _ServicerContext) -> Any:
        started, status = time.perf_counter(), "OK"
        try:
            return await behaviour(request, context)
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except BaseException:
            status = status_name(context)
            raise
        finally:
            times.note(name, status, time.perf_counter() - started)

    return handle
