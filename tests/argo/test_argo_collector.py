"""Spans to a collector that does not take them, by a scripted exporter and a clock that stands still by itself."""

from __future__ import annotations

import logging
import socket
import time

import grpc
import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from argo.collector import CollectorExporter
from argo.settings import TelemetrySettings
from argo.telemetry import configure

OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
SPANS = [None] * 3


class Scripted(SpanExporter):
    """Ends each batch as it is told to."""

    def __init__(self) -> None:
        self.result = OK
        self.batches = 0
        self.status: grpc.StatusCode | None = None
        """Told of each batch as the library tells it."""

    def export(self, spans: object) -> SpanExportResult:
        self.batches += 1
        if self.status is not None:
            logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").error("failed: %s", self.status)
        return self.result


class Watched:
    def __init__(self) -> None:
        self.now = 0.0
        self.inner = Scripted()
        self.exporter = CollectorExporter(self.inner, "http://collector:4317", lambda: self.now)

    def export(self, result: SpanExportResult) -> SpanExportResult:
        self.inner.result = result
        return self.exporter.export(SPANS)  # type: ignore[arg-type]


def test_what_is_not_taken_is_told_once_a_minute_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    for now, result in (
        (0, OK),
        (1, FAILED),
        (2, FAILED),
        (60.9, FAILED),
        (61, FAILED),
        (62, OK),
        (63, OK),
        (64, FAILED),
    ):
        watched.now = now
        assert watched.export(result) is result
    begin = "the collector at http://collector:4317 takes"
    assert [record.getMessage() for record in caplog.records] == [
        f"{begin} no spans (no reason given): 3 were dropped, answers are unaffected",
        f"{begin} no spans (no reason given): 12 were dropped, answers are unaffected",
        f"{begin} spans again: 12 were dropped",
        f"{begin} no spans (no reason given): 3 were dropped, answers are unaffected",
    ]
    watched.exporter.shutdown()


def test_a_failure_is_told_with_its_own_cause_and_not_an_earlier_ones(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    watched.inner.status = grpc.StatusCode.UNAVAILABLE
    watched.export(FAILED)
    watched.inner.status = None
    watched.export(OK)
    watched.export(FAILED)
    told = [record.getMessage() for record in caplog.records if "takes no spans" in record.getMessage()]
    assert ["(UNAVAILABLE)" in told[0], "(no reason given)" in told[1], len(told)] == [True, True, 2]
    watched.exporter.shutdown()


def test_at_the_end_everything_goes_out_until_a_batch_fails() -> None:
    watched = Watched()
    assert watched.export(FAILED) is FAILED
    watched.exporter.end()
    assert [watched.export(result) for result in (OK, OK, FAILED, OK, OK)] == [OK, OK, FAILED, FAILED, FAILED]
    assert watched.inner.batches == 4
    watched.exporter.shutdown()


def test_a_collector_that_hangs_holds_the_end_for_one_batch_and_says_so_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung, caplog.at_level(logging.DEBUG):
        endpoint = f"http://127.0.0.1:{hung.getsockname()[1]}"
        telemetry = configure("test", TelemetrySettings(otlp_endpoint=endpoint, export_delay_ms=60_000))
        # Eight batches, of 2 s each.
        for _ in range(4_096):
            with telemetry.tracer.start_as_current_span("span"):
                pass
        began = time.perf_counter()
        telemetry.shutdown()
        assert time.perf_counter() - began < 10
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said.startswith(f"the collector at {endpoint} takes no spans (DEADLINE_EXCEEDED): 512 were dropped")
