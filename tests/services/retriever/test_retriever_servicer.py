"""The retriever over real gRPC on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from retriever_document import A1, E2

from argo import limits
from argo.edge import ErrorInterceptor
from argo.server import start
from argo.telemetry import Telemetry
from argo.v1 import retriever_pb2, retriever_pb2_grpc, types_pb2
from services.retriever.servicer import RetrieverProcess
from services.retriever.settings import RetrieverSettings

Frames = list[retriever_pb2.IngestRequest]


# Chroma leaves its SQLite connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Any]:
    settings = RetrieverSettings(port=0, index_path=tmp_path / "index", collection="test")
    server = await start(RetrieverProcess(settings), settings, Telemetry(None))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield retriever_pb2_grpc.RetrieverServiceStub(channel)
    await server.stop(0)


def _frames(source: str, data: bytes, *, size: int | None = None, frame: int = 50) -> Frames:
    header = retriever_pb2.DocumentHeader(
        source=source,
        content_hash=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data) if size is None else size,
    )
    parts = [data[at : at + frame] for at in range(0, len(data), frame)]
    return [
        retriever_pb2.IngestRequest(header=header),
        *(retriever_pb2.IngestRequest(data=part) for part in parts),
    ]


async def _ingest(stub: Any, frames: Frames) -> retriever_pb2.IngestResponse:
    def stream() -> Iterator[retriever_pb2.IngestRequest]:
        yield from frames

    reply: retriever_pb2.IngestResponse = await stub.Ingest(stream())
    return reply


async def test_documents_in_frames_come_out_as_ranked_passages(stub: Any) -> None:
    reply = await _ingest(stub, _frames("a1.md", A1) + _frames("bad.pdf", b"no PDF") + _frames("e2.md", E2))
    assert [(outcome.source, outcome.status) for outcome in reply.outcomes] == [
        ("a1.md", retriever_pb2.DOCUMENT_STATUS_INDEXED),
        ("bad.pdf", retriever_pb2.DOCUMENT_STATUS_FAILED),
        ("e2.md", retriever_pb2.DOCUMENT_STATUS_INDEXED),
    ]
    found = await stub.Search(
        retriever_pb2.SearchRequest(
            texts=["What do A1 policies guide?", "E2SM-KPM measurements"],
            foci=[types_pb2.Focus(id="f1", text="A1 policies")],
            top_k=1,
        )
    )
    assert [result.text for result in found.results] == ["What do A1 policies guide?", "E2SM-KPM measurements"]
    first, second = (result.passages[0] for result in found.results)
    assert (first.source, second.source) == ("a1.md", "e2.md")
    assert not first.HasField("page")
    assert [entry.focus_id for entry in first.focus_relevance] == ["f1"]
    assert 0 <= second.focus_relevance[0].relevance < first.focus_relevance[0].relevance <= 1
    assert found.timing.work_s > 0


async def test_listing_deleting_and_describing(stub: Any) -> None:
    await _ingest(stub, _frames("x/a1.md", A1) + _frames("e2.md", E2))
    listed = [document async for document in stub.ListDocuments(retriever_pb2.ListDocumentsRequest())]
    assert [(item.source, item.content_hash) for item in listed] == [
        ("e2.md", hashlib.sha256(E2).hexdigest()),
        ("x/a1.md", hashlib.sha256(A1).hexdigest()),
    ]
    gone = await stub.DeleteDocuments(retriever_pb2.DeleteDocumentsRequest(sources=["x/a1.md"]))
    assert gone.deleted_documents == 1
    collection = (await stub.GetCollection(retriever_pb2.GetCollectionRequest())).collection
    assert (collection.documents, collection.embedder, collection.name) == (1, "hashing", "test")
    info = await stub.GetInfo(types_pb2.GetInfoRequest())
    assert info.service == "retriever"
    assert info.collection == collection


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (retriever_pb2.SearchRequest(), r"len\(texts\) must be in 1..9, got 0"),
        (retriever_pb2.SearchRequest(texts=["  "]), r"texts\[0\] must not be empty"),
        (retriever_pb2.SearchRequest(texts=["x"], top_k=0), "top_k must be in 1..20, got 0"),
        (retriever_pb2.SearchRequest(texts=["x"], top_k=21), "top_k must be in 1..20, got 21"),
        (retriever_pb2.SearchRequest(texts=["x"] * 10), r"len\(texts\) must be in 1..9, got 10"),
        (
            retriever_pb2.SearchRequest(texts=["x"], foci=[types_pb2.Focus(text="y")] * 9),
            r"len\(foci\) must be in 0..8, got 9",
        ),
    ],
)
async def test_a_wrong_search_is_refused_with_field_value_and_bound(
    stub: Any, request_: retriever_pb2.SearchRequest, message: str
) -> None:
    await _ingest(stub, _frames("a1.md", A1))
    with pytest.raises(grpc.aio.AioRpcError, match=message) as refused:
        await stub.Search(request_)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_another_embedder_and_an_empty_collection_need_an_operator(stub: Any) -> None:
    for request, message in [
        (retriever_pb2.SearchRequest(texts=["x"]), "is empty"),
        (retriever_pb2.SearchRequest(texts=["x"], embedder="onnx-minilm"), "'hashing'.*'onnx-minilm'"),
    ]:
        with pytest.raises(grpc.aio.AioRpcError, match=message) as refused:
            await stub.Search(request)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([retriever_pb2.IngestRequest(data=b"x")], "first frame must be a header"),
        ([retriever_pb2.IngestRequest()], "neither"),
        (_frames("a.md", b"abc", size=4), "size_bytes = 4 bytes, got 3"),
        (_frames("a.md", b"abcdef", size=4), "size_bytes = 4 bytes, got 6"),
        (_frames("", b"abc"), "source must not be empty"),
        (_frames("a.md", b"", size=limits.DOCUMENT_BYTES + 1), "size_bytes must be in 0..33554432, got 33554433"),
        (_frames("a.md", b"x" * 140_000, frame=140_000), "at most 131072 bytes a frame, got 140000"),
    ],
)
async def test_a_malformed_stream_is_refused(stub: Any, frames: Frames, message: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=message) as refused:
        await _ingest(stub, frames)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_document_cut_under_other_rules_is_listed_as_stale_until_it_is_sent_again(tmp_path: Path) -> None:
    async def listed(settings: RetrieverSettings, *, send: bool) -> list[bool]:
        server = await start(RetrieverProcess(settings), settings, Telemetry(None))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub: Any = retriever_pb2_grpc.RetrieverServiceStub(channel)
            if send:
                await _ingest(stub, _frames("a1.md", A1))
            found = [entry.stale async for entry in stub.ListDocuments(retriever_pb2.ListDocumentsRequest())]
        await server.stop(0)
        return found

    index_path = tmp_path / "index"
    assert await listed(RetrieverSettings(port=0, index_path=index_path), send=True) == [False]
    smaller = RetrieverSettings(port=0, index_path=index_path, passage_words=60)
    assert await listed(smaller, send=False) == [True]
    assert await listed(smaller, send=True) == [False]


async def test_a_call_before_the_collection_is_open_is_unavailable_not_an_operators_task(tmp_path: Path) -> None:
    server = grpc.aio.server(interceptors=[ErrorInterceptor(5.0, Telemetry(None))])
    RetrieverProcess(RetrieverSettings(port=0, index_path=tmp_path / "index")).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = retriever_pb2_grpc.RetrieverServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="still opening") as error:
            await stub.Search(retriever_pb2.SearchRequest(texts=["A1"]))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)
