"""Calls and the error edge, over real gRPC."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from fake_stack import serving
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from argo.errors import (
    ArgoError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    NotReadyError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    error_class,
)
from argo.rpc import Caller, channel
from argo.target import check_target
from argo.telemetry import Telemetry
from argo.tls import TlsFiles
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, retriever_pb2, retriever_pb2_grpc, types_pb2

SAMPLED = 1
"""The lowest flag of a W3C traceparent."""
SECRET = "/srv/private/secret.py"


class Probe(decomposer_pb2_grpc.DecomposerServiceServicer, retriever_pb2_grpc.RetrieverServiceServicer):
    """Raises what it is told to, in a unary and a streaming method."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.after = 0
        self.calls = 0
        self.metadata: dict[str, str] = {}
        self.slow = False
        self.reply_bytes = 0
        self.reply: Any = None
        self.heard = 0
        self.closed, self.refused = asyncio.Event(), asyncio.Event()

    async def PlanFoci(self, request: Any, context: Any) -> decomposer_pb2.PlanFociResponse:
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        if self.slow:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        if self.reply is not None:
            return self.reply
        return decomposer_pb2.PlanFociResponse(foci=[types_pb2.Focus(id="f1", text="x" * self.reply_bytes)])

    async def Ingest(self, request_iterator: Any, context: Any) -> retriever_pb2.IngestResponse:
        self.calls += 1
        async for _ in request_iterator:
            self.heard += 1
            if self.error is not None:
                self.refused.set()
                raise self.error
        return retriever_pb2.IngestResponse()

    async def ListDocuments(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.calls += 1
        try:
            for number in range(self.after):
                yield self.reply or retriever_pb2.Document(source=str(number), content_hash="x" * self.reply_bytes)
        finally:
            self.closed.set()
        if self.slow:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


def added(probe: Probe) -> list[tuple[Any, Any]]:
    return [
        (probe, decomposer_pb2_grpc.add_DecomposerServiceServicer_to_server),
        (probe, retriever_pb2_grpc.add_RetrieverServiceServicer_to_server),
    ]


class Calls:
    """The two methods through a Caller."""

    def __init__(self, target: str, telemetry: Telemetry | None = None, token: str | None = None) -> None:
        self.caller = Caller(channel(target), target, telemetry, token)
        self._plan: Any = decomposer_pb2_grpc.DecomposerServiceStub(self.caller.channel)
        self._list: Any = retriever_pb2_grpc.RetrieverServiceStub(self.caller.channel)

    async def unary(self, question: str = "q", timeout_s: float | None = 5.0) -> Any:
        return await self.caller.unary(
            "argo.v1.DecomposerService/PlanFoci",
            self._plan.PlanFoci,
            decomposer_pb2.PlanFociRequest(question=question),
            timeout_s,
        )

    async def stream(self, timeout_s: float | None = 5.0) -> list[str]:
        got = []
        async for document in self.caller.stream(
            "argo.v1.RetrieverService/ListDocuments",
            self._list.ListDocuments,
            retriever_pb2.ListDocumentsRequest(),
            timeout_s,
        ):
            got.append(document.source)
        return got

    async def __aenter__(self) -> Calls:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.caller.close()


DOMAIN_CODES = [
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "INTERNAL",
]


@pytest.mark.parametrize("code", DOMAIN_CODES)
@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_raised_error_arrives_as_its_class_with_its_message(code: str, kind: str) -> None:
    probe = Probe()
    cls = error_class(grpc.StatusCode[code])
    probe.error = cls("field must be in 1..2, got 3")
    async with serving(added(probe)) as target, Calls(target) as calls:
        with pytest.raises(ArgoError) as caught:
            await (calls.unary() if kind == "unary" else calls.stream())
    assert type(caught.value) is cls
    assert caught.value.message == "field must be in 1..2, got 3"


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_bug_arrives_as_a_reference_and_nothing_of_the_inside(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    probe = Probe()
    probe.error, probe.after = KeyError(SECRET), 2
    async with serving(added(probe)) as target, Calls(target) as calls:
        with caplog.at_level(logging.ERROR, "argo.edge"), pytest.raises(InternalError) as caught:
            await (calls.unary() if kind == "unary" else calls.stream())
    found = re.fullmatch(r"internal error, reference ([0-9a-f]{8})", caught.value.message)
    assert found is not None
    record = next(record for record in caplog.records if found[1] in record.getMessage())
    assert record.exc_info is not None and SECRET in str(record.exc_info[1])


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_cancellation_that_nobody_asked_for_is_a_bug_like_any_other(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    # gRPC takes it for the caller's leaving, and would send no status at all.
    probe = Probe()
    probe.error = asyncio.CancelledError()  # type: ignore[assignment]
    async with serving(added(probe)) as target, Calls(target) as calls:
        with caplog.at_level(logging.ERROR, "argo.edge"), pytest.raises(InternalError, match="reference"):
            await (calls.unary() if kind == "unary" else calls.stream())


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_reply_that_is_no_message_is_a_bug_like_any_other(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe()
    probe.reply, probe.after = SECRET, 1
    async with serving(added(probe)) as target, Calls(target) as calls:
        with caplog.at_level(logging.ERROR, "argo.edge"), pytest.raises(InternalError, match="reference"):
            await (calls.unary() if kind == "unary" else calls.stream())


async def test_a_refusal_never_overtakes_what_its_caller_still_sends() -> None:
    # The client of grpc.aio makes INTERNAL of one that does (grpc issue 36066).
    probe = Probe()
    probe.error = InvalidArgumentError("source must not be empty, got ''")
    async with serving(added(probe)) as target, Calls(target) as calls:
        stub: Any = retriever_pb2_grpc.RetrieverServiceStub(calls.caller.channel)
        call = stub.Ingest(timeout=5.0)
        await call.write(retriever_pb2.IngestRequest(data=b"refused"))
        await probe.refused.wait()
        for _ in range(64):
            await call.write(retriever_pb2.IngestRequest(data=b"x" * 65_536))
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError, match="source must not be empty") as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert probe.heard == 1


async def test_what_a_caller_that_nobody_knows_goes_on_sending_is_not_read_to_its_end() -> None:
    probe = Probe()
    probe.error = UnauthenticatedError("no token was sent")
    message, sent = retriever_pb2.IngestRequest(data=b"x" * 65_536), 0
    async with serving(added(probe)) as target, Calls(target) as calls:
        stub: Any = retriever_pb2_grpc.RetrieverServiceStub(calls.caller.channel)
        call = stub.Ingest(timeout=30.0)
        # Which status it sees hangs on what it was sending; it is the end of the call that counts.
        with pytest.raises(grpc.aio.AioRpcError):
            while True:
                await call.write(message)
                sent += 1
                # More than the buffers of both ends hold beside what is read.
                assert sent < 16 * 16, "the server goes on reading"
    assert sent >= 16


async def test_a_client_stream_that_never_ends_ends_with_the_servers_deadline() -> None:
    probe = Probe()
    async with serving(added(probe), default_deadline_s=0.1) as target, Calls(target) as calls:
        stub: Any = retriever_pb2_grpc.RetrieverServiceStub(calls.caller.channel)
        call = stub.Ingest()
        await call.write(retriever_pb2.IngestRequest())
        with pytest.raises(grpc.aio.AioRpcError, match=r"the server's own of 0\.1 s"):
            await asyncio.wait_for(call, 5.0)


async def test_a_reader_that_stands_still_for_longer_than_the_servers_deadline_hears_of_it() -> None:
    probe = Probe()
    probe.after, probe.reply_bytes = 1_000, 65_536
    async with serving(added(probe), default_deadline_s=0.1) as target, Calls(target) as calls:
        stub: Any = retriever_pb2_grpc.RetrieverServiceStub(calls.caller.channel)
        call = stub.ListDocuments(retriever_pb2.ListDocumentsRequest())
        async with asyncio.timeout(5.0):
            first = await call.read()
            await probe.closed.wait()
            # What was on its way comes first.
            with pytest.raises(grpc.aio.AioRpcError, match=r"the server's own of 0\.1 s"):
                while await call.read() is not grpc.aio.EOF:
                    pass
    assert first.source == "0"


async def test_an_error_in_mid_stream_comes_after_what_was_sent() -> None:
    probe = Probe()
    probe.error, probe.after = NotReadyError("an operator must act"), 2
    got: list[str] = []
    async with serving(added(probe)) as target, Calls(target) as calls:
        stub: Any = retriever_pb2_grpc.RetrieverServiceStub(calls.caller.channel)
        with pytest.raises(NotReadyError, match="an operator must act"):
            async for document in calls.caller.stream(
                "argo.v1.RetrieverService/ListDocuments", stub.ListDocuments, retriever_pb2.ListDocumentsRequest(), 5.0
            ):
                got.append(document.source)
    assert got == ["0", "1"]


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_call_without_a_deadline_gets_the_servers(kind: str) -> None:
    probe = Probe()
    probe.slow = True
    async with serving(added(probe), default_deadline_s=0.05) as target, Calls(target) as calls:
        with pytest.raises(DeadlineExceededError, match=r"the server's own of 0\.05 s"):
            await (calls.unary(timeout_s=None) if kind == "unary" else calls.stream(timeout_s=None))


async def test_a_timeout_inside_a_service_is_not_blamed_on_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe()
    probe.error = TimeoutError("an inner wait")
    async with serving(added(probe)) as target, Calls(target) as calls:
        with caplog.at_level(logging.ERROR, "argo.edge"), pytest.raises(InternalError, match="reference"):
            await calls.unary()


async def test_an_expired_deadline_says_which_and_is_sent_once() -> None:
    probe = Probe()
    probe.slow = True
    async with serving(added(probe)) as target, Calls(target) as calls:
        with pytest.raises(DeadlineExceededError, match=r"PlanFoci did not finish by its deadline \(0\.050 s\)"):
            await calls.unary(timeout_s=0.05)
    assert probe.calls == 1


async def test_a_request_over_the_limit_says_size_and_limit_and_is_not_sent() -> None:
    probe = Probe()
    async with serving(added(probe)) as target, Calls(target) as calls:
        with pytest.raises(ResourceExhaustedError, match=r"request is over its limit of 262144 bytes.*300\d\d\d"):
            await calls.unary("a" * 300_000)
    assert probe.calls == 0


async def test_a_reply_over_the_limit_says_size_and_limit_and_is_not_asked_again() -> None:
    probe = Probe()
    probe.reply_bytes = 5_000_000
    async with serving(added(probe)) as target, Calls(target) as calls:
        with pytest.raises(ResourceExhaustedError, match=r"reply is over its limit of 4194304 bytes.*5000\d\d\d"):
            await calls.unary()
    assert probe.calls == 1


async def test_a_peer_that_is_not_there_is_named_with_its_address() -> None:
    async with Calls("127.0.0.1:1") as calls:
        with pytest.raises(UnavailableError, match=r"PlanFoci could not reach 127\.0\.0\.1:1: .*refused"):
            await calls.unary(timeout_s=5.0)


async def test_an_unavailable_peer_is_asked_three_times() -> None:
    probe = Probe()
    probe.error = UnavailableError("the index is loading")
    async with serving(added(probe)) as target, Calls(target) as calls:
        with pytest.raises(UnavailableError, match=r"^the index is loading$"):
            await calls.unary()
    assert probe.calls == 3


async def test_a_wrong_request_is_asked_once() -> None:
    probe = Probe()
    probe.error = InvalidArgumentError("question must not be empty")
    async with serving(added(probe)) as target, Calls(target) as calls:
        with pytest.raises(InvalidArgumentError):
            await calls.unary()
    assert probe.calls == 1


async def test_the_address_of_another_service_is_unimplemented() -> None:
    async with serving([]) as target, Calls(target) as calls:
        with pytest.raises(UnimplementedError):
            await calls.unary()


async def test_leaving_a_stream_cancels_the_call() -> None:
    cancelled = asyncio.Event()

    class Endless(retriever_pb2_grpc.RetrieverServiceServicer):
        async def ListDocuments(self, request: Any, context: Any) -> AsyncIterator[retriever_pb2.Document]:
            try:
                yield retriever_pb2.Document(source="one")
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    add = retriever_pb2_grpc.add_RetrieverServiceServicer_to_server
    async with serving([(Endless(), add)]) as target, Calls(target) as calls:
        stub: Any = retriever_pb2_grpc.RetrieverServiceStub(calls.caller.channel)
        replies = calls.caller.stream(
            "argo.v1.RetrieverService/ListDocuments", stub.ListDocuments, retriever_pb2.ListDocumentsRequest(), 30.0
        )
        assert (await anext(replies)).source == "one"
        await replies.aclose()
        await asyncio.wait_for(cancelled.wait(), 5)


def recording() -> tuple[Telemetry, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Telemetry(provider), exporter


async def test_a_call_has_a_client_span_whose_context_goes_along() -> None:
    probe = Probe()
    telemetry, exporter = recording()
    async with serving(added(probe)) as target, Calls(target, telemetry) as calls:
        await calls.unary()
    (span,) = exporter.get_finished_spans()
    assert span.name == "argo.v1.DecomposerService/PlanFoci"
    assert span.attributes is not None and span.attributes["rpc.grpc.status_code"] == 0
    assert span.context is not None
    version, trace_id, span_id, flags = probe.metadata["traceparent"].split("-")
    assert (version, int(trace_id, 16), int(span_id, 16)) == ("00", span.context.trace_id, span.context.span_id)
    assert int(flags, 16) & SAMPLED


async def test_a_question_that_is_not_sampled_is_not_sampled_by_the_services_either() -> None:
    probe = Probe()
    async with (
        serving(added(probe)) as target,
        Calls(target, Telemetry(TracerProvider(sampler=ALWAYS_OFF))) as calls,
    ):
        await calls.unary()
    assert not int(probe.metadata["traceparent"].rpartition("-")[2], 16) & SAMPLED


async def test_the_span_of_a_failed_call_keeps_the_message_out() -> None:
    probe = Probe()
    probe.error = InvalidArgumentError("question text that is nobody's business")
    telemetry, exporter = recording()
    async with serving(added(probe)) as target, Calls(target, telemetry) as calls:
        with pytest.raises(InvalidArgumentError):
            await calls.unary()
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None and span.attributes["rpc.grpc.status_code"] == 3
    assert "business" not in span.to_json()


async def test_a_token_goes_along_as_a_bearer_token() -> None:
    probe = Probe()
    async with serving(added(probe)) as target, Calls(target, token="abc") as calls:
        await calls.unary()
    assert probe.metadata["authorization"] == "Bearer abc"


@pytest.mark.parametrize("target", ["localhost", "localhost:", ":50051", "host:0", "host:70000", "host:http", ""])
def test_an_address_without_host_or_port_is_refused(target: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"target must be host:port with a port in 1..65535"):
        check_target("target", target)


@pytest.mark.parametrize("target", ["127.0.0.1:50051", "[::1]:50051", "dns:///ric:50051", "unix:/run/argo.sock"])
def test_addresses_that_grpc_understands_pass(target: str) -> None:
    assert check_target("target", target) == target


def test_a_missing_pem_file_is_named(tmp_path: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"tls_ca must be a readable PEM file, got .*ca\.pem"):
        TlsFiles(tmp_path / "ca.pem").credentials()


def test_half_of_a_client_pair_is_refused(tmp_path: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="tls_certificate and tls_key must be given together"):
        TlsFiles(tmp_path / "ca.pem", certificate=tmp_path / "client.pem").credentials()
