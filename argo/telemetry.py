"""Traces: names, set-up, and a span exporter to a local file. The names of metrics are in :mod:`argo.metric`.

One trace a question, from the SDK's root span to the leaves. OpenTelemetry's own names come first (`rpc.*`,
`gen_ai.*`); what is ARGO's own is declared here and nowhere else. Question and passage text go to no span unless
ARGO_TELEMETRY_RECORD_TEXT is on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Status, StatusCode

from argo import __version__
from argo.errors import ArgoError
from argo.settings import SettingsError, TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from argo.collector import CollectorExporter
    from argo.metric import Metrics

__all__ = [
    "ACTION",
    "ANSWER_MODE",
    "BUDGET_MS",
    "DEGRADED",
    "END_REASON",
    "FAN_OUT",
    "FOCI",
    "GENERATION_KIND",
    "GEN_AI_CACHED_TOKENS",
    "GEN_AI_CHAT",
    "GEN_AI_FINISH_REASONS",
    "GEN_AI_INPUT_TOKENS",
    "GEN_AI_MAX_TOKENS",
    "GEN_AI_MODEL",
    "GEN_AI_OPERATION",
    "GEN_AI_OUTPUT_TOKENS",
    "GEN_AI_PROVIDER",
    "GEN_AI_TEMPERATURE",
    "GEN_AI_TIME_PER_OUTPUT_TOKEN",
    "GEN_AI_TIME_TO_FIRST_TOKEN",
    "PASSAGES",
    "PROGRESS",
    "PROGRESS_AFTER",
    "QUEUE_MS",
    "Q_REASON",
    "Q_RETRIEVE",
    "Q_TERMINATE",
    "SEARCHES",
    "SESSION_ID",
    "SPAN_ANSWER",
    "SPAN_ASK",
    "SPAN_DECODE",
    "SPAN_PREFILL",
    "SPAN_QUEUE",
    "SPAN_STEP",
    "STEP",
    "STRATEGY",
    "TEXT",
    "TIME_LEFT_MS",
    "TRACKER",
    "WITHIN_BUDGET",
    "SpanFileExporter",
    "Telemetry",
    "configure",
    "tracer",
]

SPAN_ASK: Final = "argo.ask"
SPAN_STEP: Final = "argo.step"
SPAN_ANSWER: Final = "argo.answer"

SESSION_ID: Final = "argo.session.id"
STRATEGY: Final = "argo.strategy"
TRACKER: Final = "argo.tracker"
ANSWER_MODE: Final = "argo.answer_mode"
BUDGET_MS: Final = "argo.budget_ms"
QUEUE_MS: Final = "argo.queue_ms"
"""Milliseconds that a question waited for its turn."""
WITHIN_BUDGET: Final = "argo.within_budget"
TIME_LEFT_MS: Final = "argo.time_left_ms"
STEP: Final = "argo.step.index"
ACTION: Final = "argo.action"
FAN_OUT: Final = "argo.fan_out"
FOCI: Final = "argo.foci"
PROGRESS: Final = "argo.progress"
PROGRESS_AFTER: Final = "argo.progress.after"
Q_RETRIEVE: Final = "argo.q.retrieve"
Q_REASON: Final = "argo.q.reason"
Q_TERMINATE: Final = "argo.q.terminate"
SEARCHES: Final = "argo.searches"
PASSAGES: Final = "argo.passages"
END_REASON: Final = "argo.end_reason"
DEGRADED: Final = "argo.degraded"
TEXT: Final = "argo.text"

# Names of OpenTelemetry's GenAI conventions: attributes, and the last two its server metrics, which have no attribute.
SPAN_QUEUE: Final = "argo.engine.queue"
SPAN_PREFILL: Final = "argo.engine.prefill"
SPAN_DECODE: Final = "argo.engine.decode"
GEN_AI_CHAT: Final = "chat"
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_MODEL: Final = "gen_ai.request.model"
GEN_AI_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_TIME_TO_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"
GEN_AI_TIME_PER_OUTPUT_TOKEN: Final = "gen_ai.server.time_per_output_token"
GENERATION_KIND: Final = "argo.generation.kind"

_LOG = logging.getLogger(__name__)
_SCOPE: Final = "argo"
# json.dumps makes a new encoder at each call that has options.
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


class SpanFileExporter(SpanExporter):
    """Writes finished spans as JSON lines, one file a process, with one rotation.

    Args:
        path: File to append to; its folder is made when missing.
        service: Value of `service` in every line.
        rotate_bytes: Size at which the file becomes `<name>.1`.
    """

    def __init__(self, path: Path, service: str, rotate_bytes: int) -> None:
        self._path = path
        self._service = service
        self._rotate_bytes = rotate_bytes
        self._lock = threading.Lock()
        self._is_failing = False
        path.parent.mkdir(parents=True, exist_ok=True)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append the spans; a full or unwritable disk drops them, since tracing never stops an answer."""
        data = "".join(_encode(self._record(span)) + "\n" for span in spans).encode()
        try:
            with self._lock:
                if self._path.exists() and self._path.stat().st_size > self._rotate_bytes:
                    os.replace(self._path, self._path.with_suffix(".jsonl.1"))
                self._append(data)
        except OSError as error:
            if not self._is_failing:
                _LOG.warning("spans are dropped: %s cannot be written: %s", self._path, error.strerror)
            self._is_failing = True
            return SpanExportResult.FAILURE
        self._is_failing = False
        return SpanExportResult.SUCCESS

    def _append(self, data: bytes) -> None:
        """All of it or nothing: half a line would spoil the one that is written behind it."""
        with self._path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError:
                file.truncate(end)
                raise

    def _record(self, span: ReadableSpan) -> dict[str, Any]:
        context = span.context
        return {
            "trace_id": trace.format_trace_id(context.trace_id) if context else "",
            "span_id": trace.format_span_id(context.span_id) if context else "",
            "parent_id": trace.format_span_id(span.parent.span_id) if span.parent else None,
            "name": span.name,
            "kind": span.kind.name.lower(),
            "service": self._service,
            "start_ns": span.start_time,
            "end_ns": span.end_time,
            "status": span.status.status_code.name,
            "attributes": dict(span.attributes or {}),
        }

    def shutdown(self) -> None:
        """Nothing is held open between exports."""


class _OpenSpans(SpanProcessor):
    """Counts the spans that were started and have not ended: nothing else shows one that never does.

    Args:
        metrics: Of this process.
    """

    def __init__(self, metrics: Metrics) -> None:
        # Here and not above, as for the metrics themselves: a process without any need not load them.
        from argo.metric import SPANS_OPEN

        self._open = metrics.gauge(SPANS_OPEN)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._open.inc()

    def on_end(self, span: ReadableSpan) -> None:
        self._open.dec()


class Telemetry:
    """The tracer of one process, how to flush it, and its metrics.

    Args:
        provider: None where tracing is off.
        record_text: Whether text may go into spans.
        metrics: None where nobody reads any.
        collector: None where spans go to none.
    """

    def __init__(
        self,
        provider: TracerProvider | None,
        *,
        record_text: bool = False,
        metrics: Metrics | None = None,
        collector: CollectorExporter | None = None,
    ) -> None:
        self.provider = provider
        self._collector = collector
        self.record_text = record_text
        self.metrics = metrics
        self.tracer = provider.get_tracer(_SCOPE, __version__) if provider else trace.NoOpTracer()

    @property
    def enabled(self) -> bool:
        """Whether spans go anywhere."""
        return self.provider is not None

    def text(self, value: str) -> Mapping[str, str]:
        """The text attribute, or nothing while text recording is off."""
        return {TEXT: value} if self.record_text else {}

    @contextlib.contextmanager
    def span(self, name: str, attributes: Mapping[str, str | int | float] | None = None) -> Iterator[trace.Span]:
        """A span of one's own work, under the current one; where the block fails, its status names how.

        OpenTelemetry by itself would also record the exception's text, which may quote a question.
        """
        with self.tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except ArgoError as error:
                span.set_status(Status(StatusCode.ERROR, error.code.name))
                raise
            except asyncio.CancelledError:
                span.set_status(Status(StatusCode.ERROR, "CANCELLED"))
                raise
            except BaseException:
                span.set_status(Status(StatusCode.ERROR, "INTERNAL"))
                raise

    def flush(self, timeout_s: float = 2.0) -> None:
        """Export what is waiting, for at most timeout_s seconds."""
        if self.provider is not None:
            self.provider.force_flush(int(timeout_s * 1000))

    def shutdown(self) -> None:
        """Export what is waiting and stop; a collector that takes nothing is waited for 2 s."""
        if self._collector is not None:
            self._collector.end()
        if self.provider is not None:
            self.provider.shutdown()


def configure(service: str, settings: TelemetrySettings, metrics: Metrics | None = None) -> Telemetry:
    """Make the tracer of this process.

    Args:
        service: service.name of every span, such as "orchestrator".
        settings: Where spans go.
        metrics: Of this process; None where nobody reads any.

    Raises:
        SettingsError: The folder for span files cannot be made.
    """
    if settings.otlp_endpoint is None and settings.span_dir is None:
        return Telemetry(None, metrics=metrics)
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
        resource=Resource.create(
            {
                "service.name": f"argo-{service}",
                "service.version": __version__,
                # Which of several replicas; a process id alone is given out again on another machine.
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            }
        ),
    )
    if metrics is not None:
        provider.add_span_processor(_OpenSpans(metrics))
    exporters: list[SpanExporter] = []
    # The file first, since they are shut down in this order, and a collector may take its time.
    if settings.span_dir is not None:
        path = settings.span_dir / f"{service}-{os.getpid()}.jsonl"
        try:
            exporters.append(SpanFileExporter(path, service, settings.span_file_bytes))
        except OSError as error:
            raise SettingsError(
                f"span_dir must be a folder that can be written to, got {settings.span_dir}: {error.strerror}"
            ) from None
    collector: CollectorExporter | None = None
    if settings.otlp_endpoint is not None:
        # Imported here, since a process without a collector need not pay for loading it.
        from argo.collector import otlp_exporter

        collector = otlp_exporter(settings.otlp_endpoint)
        exporters.append(collector)
    for exporter in exporters:
        provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=settings.export_delay_ms, max_queue_size=16_384)
        )
    return Telemetry(provider, record_text=settings.record_text, metrics=metrics, collector=collector)


def tracer(telemetry: Telemetry | None) -> trace.Tracer:
    """The tracer, or one that records nothing."""
    return telemetry.tracer if telemetry is not None else trace.NoOpTracer()
