"""Spans as Jaeger's query API shows those that it received by OTLP, and the recording that the tests read.

Run as a program it asks a real stack some questions and writes tests/data/jaeger-traces.json again:

    python tests/argo/jaeger_shape.py

No Jaeger was at hand to record from; what is recorded are real spans of real processes, in the shape that Jaeger's
documentation and its own pages show: microseconds, CHILD_OF references, typed tags, processes by key.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from argo import Client
from argo.trace import Span, read_traces

RECORDING = Path(__file__).parents[1] / "data" / "jaeger-traces.json"
_KINDS = {bool: "bool", int: "int64", float: "float64", str: "string"}
_QUESTIONS = (
    "What is the difference between the near-RT RIC and the non-RT RIC?",
    "What is the A1 interface for?",
    "Which interface connects the O-DU and the O-RU, and what does E2 connect?",
)


def jaeger_traces(traces: dict[str, Iterable[Span]]) -> dict[str, Any]:
    """The answer of /api/traces that holds these spans, by trace id."""
    return {
        "data": [_trace(trace_id, list(spans)) for trace_id, spans in traces.items()],
        "total": 0,
        "limit": 0,
        "offset": 0,
        "errors": None,
    }


def _trace(trace_id: str, spans: list[Span]) -> dict[str, Any]:
    keys = {name: f"p{number}" for number, name in enumerate(dict.fromkeys(span.service for span in spans), start=1)}
    return {
        "traceID": trace_id,
        "spans": [_span(trace_id, span, keys[span.service]) for span in spans],
        "processes": {
            key: {"serviceName": f"argo-{name}", "tags": [_tag("service.version", "0.1.0")]}
            for name, key in keys.items()
        },
        "warnings": None,
    }


def _span(trace_id: str, span: Span, process: str) -> dict[str, Any]:
    references = []
    if span.parent_id is not None:
        references.append({"refType": "CHILD_OF", "traceID": trace_id, "spanID": span.parent_id})
    tags = [_tag(key, value) for key, value in span.attributes.items()]
    tags += [_tag("otel.scope.name", "argo"), _tag("internal.span.format", "otlp")]
    if span.failed:
        tags += [_tag("error", True), _tag("otel.status_code", "ERROR")]
    return {
        "traceID": trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": references,
        "startTime": span.start_ns // 1_000,
        "duration": (span.end_ns - span.start_ns) // 1_000,
        "tags": tags,
        "logs": [],
        "processID": process,
        "warnings": None,
    }


def _tag(key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list | tuple):
        # Jaeger has no lists and shows them as JSON.
        value = json.dumps(value)
    return {"key": key, "type": _KINDS[type(value)], "value": value}


def _record() -> None:
    root = Path(__file__).parents[2]
    sys.path.append(str(root / "tests" / "deploy"))
    from running_stack import running

    from argo.settings import TelemetrySettings
    from argo.telemetry import configure

    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        engines = {f"ARGO_{name}_ENGINE": "scripted" for name in ("DECOMPOSER", "SYNTHESIZER")}
        with running(state, engines) as stack:
            targets = stack.record["targets"]
            telemetry = configure("sdk", TelemetrySettings(span_dir=state / "span"))

            async def ask() -> None:
                async with Client.connect(
                    targets["orchestrator"], retriever_target=targets["retriever"], telemetry=telemetry
                ) as client:
                    for question in _QUESTIONS:
                        await client.ask(question, budget_ms=0)
                        await client.ask(question, budget_ms=400, strategy="single_shot")

            asyncio.run(ask())
            telemetry.shutdown()
            stack.process.terminate()
            stack.process.wait(30)
        spans: dict[str, Iterable[Span]] = defaultdict(tuple)
        for trace in read_traces(state / "span"):
            if trace.is_question:
                spans[trace.trace_id] = trace.spans
    RECORDING.write_text(json.dumps(jaeger_traces(spans), indent=1) + "\n")
    sys.stdout.write(f"{len(spans)} traces: {RECORDING}\n")


if __name__ == "__main__":
    _record()
