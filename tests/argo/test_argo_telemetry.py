"""Telemetry: what is switched on, and the span file."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Status, StatusCode

from argo.metric import SPANS_OPEN, Metrics
from argo.settings import SettingsError, TelemetrySettings
from argo.telemetry import SpanFileExporter, Telemetry, configure, tracer
from argo.trace import read_traces


def test_without_a_destination_tracing_is_off() -> None:
    telemetry = configure("test", TelemetrySettings())
    assert not telemetry.enabled
    with telemetry.tracer.start_as_current_span("argo.ask") as span:
        assert not span.is_recording()
    telemetry.flush()
    telemetry.shutdown()


def test_no_telemetry_gives_a_tracer_that_records_nothing() -> None:
    with tracer(None).start_as_current_span("argo.ask") as span:
        assert not span.is_recording()


def test_spans_are_written_as_lines_that_the_trace_reader_reads(tmp_path: Path) -> None:
    telemetry = configure("retriever", TelemetrySettings(span_dir=tmp_path / "spans"))
    with telemetry.tracer.start_as_current_span("parent", attributes={"argo.progress": 0.5}):
        with telemetry.tracer.start_as_current_span("child") as child:
            child.set_status(Status(StatusCode.ERROR, "UNAVAILABLE"))
    telemetry.shutdown()
    (path,) = (tmp_path / "spans").iterdir()
    assert path.name.startswith("retriever-") and path.suffix == ".jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {record["name"]: record["status"] for record in records} == {"parent": "UNSET", "child": "ERROR"}
    (trace,) = read_traces(tmp_path / "spans")
    ((root, _), (leaf, depth)) = trace.tree.walk()
    assert (root.name, root.service, root.attributes) == ("parent", "retriever", {"argo.progress": 0.5})
    assert (leaf.name, leaf.failed, depth) == ("child", True, 1)
    assert root.start_ns <= leaf.start_ns <= leaf.end_ns <= root.end_ns


def test_spans_that_were_started_and_have_not_ended_are_counted(tmp_path: Path) -> None:
    metrics = Metrics("unit")
    telemetry = configure("unit", TelemetrySettings(span_dir=tmp_path), metrics)

    def counted() -> float | None:
        return metrics.registry.get_sample_value(SPANS_OPEN.name)

    assert counted() == 0
    with telemetry.tracer.start_as_current_span("outer"), telemetry.tracer.start_as_current_span("inner"):
        left_open = telemetry.tracer.start_span("leaf")
        assert counted() == 3
    assert counted() == 1
    left_open.end()
    left_open.end()
    assert counted() == 0
    telemetry.shutdown()


def test_a_full_file_is_rotated_once(tmp_path: Path) -> None:
    path = tmp_path / "a-1.jsonl"
    exporter = SpanFileExporter(path, "a", rotate_bytes=10)
    telemetry = configure("a", TelemetrySettings(span_dir=tmp_path / "other"))
    with telemetry.tracer.start_as_current_span("one") as span:
        pass
    for _ in range(3):
        assert exporter.export([span]) is SpanExportResult.SUCCESS  # type: ignore[list-item]
    telemetry.shutdown()
    assert sorted(item.name for item in tmp_path.glob("a-1*")) == ["a-1.jsonl", "a-1.jsonl.1"]
    assert len(path.read_text().splitlines()) == 1


def test_a_folder_that_is_gone_fails_the_export_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "spans"
    exporter = SpanFileExporter(folder / "a-1.jsonl", "a", rotate_bytes=4096)
    folder.rmdir()
    assert exporter.export([]) is SpanExportResult.FAILURE


@contextlib.contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """For this process a disk that takes a part of what is written and no more; Python ignores the signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_spans_that_do_not_fit_are_dropped_whole_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a-1.jsonl"
    exporter = SpanFileExporter(path, "a", rotate_bytes=1 << 20)
    telemetry = configure("a", TelemetrySettings(span_dir=tmp_path / "other"))
    with telemetry.tracer.start_as_current_span("one") as span:
        pass
    assert exporter.export([span]) is SpanExportResult.SUCCESS  # type: ignore[list-item]
    whole = path.read_bytes()
    with _files_of_at_most(len(whole) + 20):
        for _ in range(3):
            assert exporter.export([span]) is SpanExportResult.FAILURE  # type: ignore[list-item]
        assert path.read_bytes() == whole
    assert exporter.export([span]) is SpanExportResult.SUCCESS  # type: ignore[list-item]
    assert path.read_bytes() == whole * 2
    assert caplog.text.count(f"spans are dropped: {path} cannot be written: File too large") == 1
    telemetry.shutdown()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"span_dir must be a folder that can be written to, got .*file/spans: Not"):
        configure("test", TelemetrySettings(span_dir=tmp_path / "file" / "spans"))


def test_text_goes_into_spans_only_where_it_is_switched_on() -> None:
    assert Telemetry(None).text("What is A1?") == {}
    assert Telemetry(None, record_text=True).text("What is A1?") == {"argo.text": "What is A1?"}
