"""What the orchestrator's own spans say, and what they must not."""

from __future__ import annotations

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from scripted_stack import Stack, refused

from argo import telemetry as names
from argo.telemetry import Telemetry

SECRET = "Which vendor runs Zanzibar?"


@pytest.mark.parametrize(("method", "span_name"), [("Search", names.SPAN_STEP), ("Synthesize", names.SPAN_ANSWER)])
async def test_a_failure_that_quotes_the_question_puts_no_text_into_a_span(
    peers: Stack, method: str, span_name: str
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    await peers.start_orchestrator(Telemetry(provider))
    peers.retriever.fail_note = peers.synthesizer.fail_note = SECRET
    for peer in (peers.retriever, peers.synthesizer):
        peer.fail[method] = grpc.StatusCode.FAILED_PRECONDITION
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await peers.ask(SECRET)
    assert SECRET in message[0]
    spans = exporter.get_finished_spans()
    provider.shutdown()
    assert not [span.name for span in spans if SECRET in span.to_json()]
    (failed,) = [span for span in spans if span.name == span_name]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "FAILED_PRECONDITION"
