"""The span of a served call, over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from argo.edge import ErrorInterceptor
from argo.errors import InvalidArgumentError
from argo.rpc import Caller, channel
from argo.telemetry import Telemetry
from argo.v1 import retriever_pb2, retriever_pb2_grpc

_SECRET = "what the user asked"


class _Servicer(retriever_pb2_grpc.RetrieverServiceServicer):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self.error: Exception | None = None
        self.waiting = asyncio.Event()
        self.left = asyncio.Event()

    async def GetCollection(self, request: Any, context: Any) -> retriever_pb2.GetCollectionResponse:
        if self.error is not None:
            raise self.error
        with self._telemetry.tracer.start_as_current_span("work"):
            return retriever_pb2.GetCollectionResponse()

    async def ListDocuments(self, request: Any, context: Any) -> AsyncIterator[retriever_pb2.Document]:
        try:
            for source in ("a", "b"):
                with self._telemetry.tracer.start_as_current_span(f"read {source}"):
                    pass
                yield retriever_pb2.Document(source=source)
            if request.HasField("source_prefix"):
                self.waiting.set()
                await asyncio.Event().wait()
        finally:
            self.left.set()


class _Traced:
    """A server and a client in one process, with the spans of each."""

    def __init__(self) -> None:
        self.server_spans, self.client_spans = InMemorySpanExporter(), InMemorySpanExporter()
        self.server_telemetry, self.client_telemetry = _telemetry(self.server_spans), _telemetry(self.client_spans)
        self.servicer = _Servicer(self.server_telemetry)

    @asynccontextmanager
    async def calls(self, telemetry: Telemetry | None) -> AsyncIterator[tuple[Caller, Any]]:
        server = grpc.aio.server(interceptors=[ErrorInterceptor(5.0, self.server_telemetry)])
        retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(self.servicer, server)
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        caller = Caller(channel(target), target, telemetry)
        try:
            yield caller, retriever_pb2_grpc.RetrieverServiceStub(caller.channel)
        finally:
            await caller.close()
            await server.stop(5.0)

    def served(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.server_spans.get_finished_spans() if span.name == name]
        return span


def _telemetry(exporter: InMemorySpanExporter) -> Telemetry:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Telemetry(provider)


async def _collection(caller: Caller, stub: Any) -> None:
    request = retriever_pb2.GetCollectionRequest()
    await caller.unary("argo.v1.RetrieverService/GetCollection", stub.GetCollection, request, 5.0)


def _parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


async def test_served_calls_are_spans_under_the_callers_and_over_the_handlers_own() -> None:
    traced = _Traced()
    async with traced.calls(traced.client_telemetry) as (caller, stub):
        await _collection(caller, stub)
        replies = caller.stream(
            "argo.v1.RetrieverService/ListDocuments", stub.ListDocuments, retriever_pb2.ListDocumentsRequest(), 5.0
        )
        assert [reply.source async for reply in replies] == ["a", "b"]
    unary, stream = traced.client_spans.get_finished_spans()
    served = traced.served("argo.v1.RetrieverService/GetCollection")
    listed = traced.served("argo.v1.RetrieverService/ListDocuments")
    assert served.kind is SpanKind.SERVER
    assert dict(served.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "argo.v1.RetrieverService",
        "rpc.method": "GetCollection",
        "rpc.grpc.status_code": 0,
    }
    assert (served.context.trace_id, _parent_id(served)) == (unary.context.trace_id, unary.context.span_id)
    assert (listed.context.trace_id, _parent_id(listed)) == (stream.context.trace_id, stream.context.span_id)
    assert _parent_id(traced.served("work")) == served.context.span_id
    assert {_parent_id(traced.served(f"read {source}")) for source in "ab"} == {listed.context.span_id}


async def test_a_call_without_a_trace_begins_one() -> None:
    traced = _Traced()
    async with traced.calls(None) as (caller, stub):
        await _collection(caller, stub)
        await _collection(caller, stub)
    spans = [span for span in traced.server_spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert [span.parent for span in spans] == [None, None]
    assert spans[0].context.trace_id != spans[1].context.trace_id


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (InvalidArgumentError(f"question must be shorter, got {_SECRET}"), 3, StatusCode.UNSET),
        (RuntimeError(f"broke on {_SECRET}"), 13, StatusCode.ERROR),
    ],
)
async def test_a_failed_call_keeps_its_status_and_none_of_its_words(
    error: Exception, code: int, status: StatusCode
) -> None:
    traced = _Traced()
    traced.servicer.error = error
    async with traced.calls(None) as (caller, stub):
        with pytest.raises(Exception):  # noqa: B017  # which one is not this test's matter
            await _collection(caller, stub)
    (span,) = traced.server_spans.get_finished_spans()
    assert (span.attributes or {})["rpc.grpc.status_code"] == code
    assert span.status.status_code is status
    assert _SECRET not in span.to_json()


async def test_a_reader_that_leaves_ends_the_handler_and_its_span() -> None:
    traced = _Traced()
    async with traced.calls(None) as (caller, stub):
        request = retriever_pb2.ListDocumentsRequest(source_prefix="wait")
        replies: Any = caller.stream("argo.v1.RetrieverService/ListDocuments", stub.ListDocuments, request, 5.0)
        assert (await anext(replies)).source == "a"
        await traced.servicer.waiting.wait()
        await replies.aclose()
        await asyncio.wait_for(traced.servicer.left.wait(), 5)
    assert traced.served("argo.v1.RetrieverService/ListDocuments").attributes == {
        "rpc.system": "grpc",
        "rpc.service": "argo.v1.RetrieverService",
        "rpc.method": "ListDocuments",
        "rpc.grpc.status_code": 1,
    }
    assert trace.get_current_span() is trace.INVALID_SPAN
