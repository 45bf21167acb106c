"""Spans to a collector: what it does not take is dropped, is told of once a minute, and is never waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

__all__ = ["CollectorExporter", "otlp_exporter"]

_LOG = logging.getLogger(__name__)
_LIBRARY: Final = logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter")
_TIMEOUT_S: Final = 2
"""For one batch, with the library's own retries."""
_TELL_EVERY_S: Final = 60.0
_UNTOLD: Final = "no reason given"


class _Heard(logging.Filter):
    """Keeps what the library says of a failed batch out of the log, and the status in it.

    It writes two long lines for each batch, all day long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.status = _UNTOLD

    def filter(self, record: logging.LogRecord) -> bool:
        """False, having looked."""
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, grpc.StatusCode):
                self.status = argument.name
        return False


class CollectorExporter(SpanExporter):
    """Hands batches to an exporter, and says what becomes of them.

    Args:
        exporter: Sends a batch.
        endpoint: Where to, for the log.
        clock: Seconds that only grow.
    """

    def __init__(self, exporter: SpanExporter, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._clock = clock
        self._heard = _Heard()
        _LIBRARY.addFilter(self._heard)
        self._dropped = 0
        self._told_at: float | None = None
        self._ending = threading.Event()
        self._gave_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; once :meth:`end` was called, the first one that fails is the last that is tried."""
        if self._gave_up:
            return SpanExportResult.FAILURE
        # What an earlier batch failed for says nothing of this one.
        self._heard.status = _UNTOLD
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._taken()
        else:
            self._gave_up = self._ending.is_set()
            self._lost(len(spans))
        return result

    def _taken(self) -> None:
        if self._told_at is not None:
            _LOG.warning("the collector at %s takes spans again: %d were dropped", self._endpoint, self._dropped)
        self._dropped, self._told_at = 0, None

    def _lost(self, count: int) -> None:
        self._dropped += count
        now = self._clock()
        if self._told_at is None or now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            _LOG.warning(
                "the collector at %s takes no spans (%s): %d were dropped, answers are unaffected",
                self._endpoint,
                self._heard.status,
                self._dropped,
            )

    def end(self) -> None:
        """The process is about to end: a collector that takes nothing holds it for one batch and not for all."""
        self._ending.set()

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()
        _LIBRARY.removeFilter(self._heard)


def otlp_exporter(endpoint: str) -> CollectorExporter:
    """An exporter to an OTLP/gRPC collector, such as http://127.0.0.1:4317."""
    insecure = endpoint.startswith("http://")
    return CollectorExporter(OTLPSpanExporter(endpoint=endpoint, insecure=insecure, timeout=_TIMEOUT_S), endpoint)
