"""Retrievers that share a collection: what one takes in or out, the others follow; on memory and on a Chroma server."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from chroma_process import ChromaProcess
from retriever_document import A1, E2, PTP, document

from argo.errors import UnavailableError
from argo.rpc import channel
from argo.server import RunningServer, start
from argo.telemetry import Telemetry
from argo.v1 import retriever_pb2, retriever_pb2_grpc
from services.retriever.chroma import open_embedded
from services.retriever.chroma_server import open_server
from services.retriever.embedder.hashing import HashingEmbedder
from services.retriever.memory import MemoryStore
from services.retriever.retriever import Outcome, Retriever
from services.retriever.servicer import RetrieverProcess
from services.retriever.settings import RetrieverSettings
from services.retriever.store import PassageStore

PATIENCE_S = 30.0
# Chroma leaves its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaProcess]:
    with ChromaProcess(tmp_path_factory.mktemp("chroma")) as started:
        yield started


@pytest.fixture
def collection(request: pytest.FixtureRequest) -> str:
    """A collection of this test's own."""
    return "c" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]


@pytest.fixture(params=["memory", pytest.param("server", marks=pytest.mark.system)])
def stores(request: pytest.FixtureRequest, collection: str) -> Callable[[], PassageStore]:
    """Opens the same collection once more."""
    if request.param == "memory":
        shared = MemoryStore()
        return lambda: shared
    url = request.getfixturevalue("server").url
    return lambda: open_server(url, collection, HashingEmbedder())


def _opened(stores: Callable[[], PassageStore]) -> Retriever:
    retriever = Retriever(HashingEmbedder(), stores())
    retriever.load()
    return retriever


def _ranked(retriever: Retriever, text: str) -> list[tuple[str, float, float | None]]:
    return [
        (found.passage.id, round(found.score, 6), found.lexical_score) for found in retriever.search([text], top_k=5)[0]
    ]


def test_what_one_takes_in_is_ranked_by_another_as_by_itself(stores: Callable[[], PassageStore]) -> None:
    one, other = _opened(stores), _opened(stores)
    one.ingest([document("a1.md", A1), document("e2.md", E2)])
    assert other.follow()
    assert not other.follow()
    for text in ("policies of the Non-RT RIC", "service models of E2"):
        assert _ranked(other, text) == _ranked(one, text) != []
    assert other.list_documents() == one.list_documents()


def test_what_one_takes_out_is_gone_from_another(stores: Callable[[], PassageStore]) -> None:
    one, other = _opened(stores), _opened(stores)
    one.ingest([document("a1.md", A1), document("e2.md", E2)])
    other.follow()
    one.delete_documents(["a1.md"])
    assert other.follow()
    assert [entry.source for entry in other.list_documents()] == ["e2.md"]


def test_one_that_has_not_looked_yet_still_replaces_what_another_wrote(stores: Callable[[], PassageStore]) -> None:
    one, other = _opened(stores), _opened(stores)
    one.ingest([document("a1.md", A1)])
    [outcome] = other.ingest([document("a1.md", E2)])
    assert outcome.outcome is Outcome.REPLACED
    one.follow()
    fresh = _opened(stores)
    for retriever in (one, other, fresh):
        assert {entry.content_hash for entry in retriever.snapshot.stored} == {hashlib.sha256(E2).hexdigest()}


def test_what_another_has_already_is_unchanged_and_can_be_deleted(stores: Callable[[], PassageStore]) -> None:
    one, other = _opened(stores), _opened(stores)
    one.ingest([document("a1.md", A1), document("e2.md", E2)])
    assert [entry.outcome for entry in other.ingest([document("a1.md", A1)])] == [Outcome.UNCHANGED]
    assert other.delete_documents(["e2.md"])[0] == 1


@pytest.mark.system
def test_an_ingest_that_was_killed_before_it_was_published_is_seen_by_its_count(
    server: ChromaProcess, collection: str
) -> None:
    one = Retriever(HashingEmbedder(), open_server(server.url, collection, HashingEmbedder()))
    one.load()
    before = one.store.revision()
    killed = open_server(server.url, collection, HashingEmbedder())
    source = Retriever(HashingEmbedder(), MemoryStore())
    source.ingest([document("a1.md", A1)])
    killed.add(*source.store.load())
    assert one.store.revision() != before
    assert one.follow() and len(one.snapshot.stored) == len(source.snapshot.stored)


@pytest.mark.system
def test_a_collection_that_was_dropped_on_the_server_is_empty_and_takes_documents_again(
    server: ChromaProcess, collection: str
) -> None:
    import chromadb

    retriever = Retriever(HashingEmbedder(), open_server(server.url, collection, HashingEmbedder()))
    retriever.ingest([document("a1.md", A1)])
    chromadb.HttpClient("127.0.0.1", server.port).delete_collection(collection)
    assert retriever.follow()
    assert not retriever.snapshot.stored
    assert [entry.outcome for entry in retriever.ingest([document("a1.md", A1)])] == [Outcome.INDEXED]


@pytest.mark.system
def test_while_the_server_is_away_searches_go_on_and_writes_are_refused(tmp_path: Path) -> None:
    with ChromaProcess(tmp_path) as own:
        retriever = Retriever(HashingEmbedder(), open_server(own.url, "argo", HashingEmbedder()), exact_passages=0)
        retriever.load()
        retriever.ingest([document("a1.md", A1), document("e2.md", E2)])
        found = {passage for passage, _, _ in _ranked(retriever, "service models of E2")}
        own.kill()
        assert {passage for passage, _, _ in _ranked(retriever, "service models of E2")} == found
        for write in (
            retriever.follow,
            lambda: retriever.ingest([document("ptp.md", PTP)]),
            lambda: retriever.delete_documents(["a1.md"]),
        ):
            with pytest.raises(UnavailableError, match=rf"Chroma server {own.url} cannot be reached"):
                write()
        own.start()
        assert [entry.outcome for entry in retriever.ingest([document("ptp.md", PTP)])] == [Outcome.INDEXED]


@pytest.mark.system
def test_a_frozen_server_fails_what_writes_after_a_while_and_no_search(tmp_path: Path) -> None:
    timeout_s = 0.5
    with ChromaProcess(tmp_path) as own:
        store = open_server(own.url, "argo", HashingEmbedder(), timeout_s)
        retriever = Retriever(HashingEmbedder(), store, exact_passages=0)
        retriever.load()
        retriever.ingest([document("a1.md", A1), document("e2.md", E2)])
        own.freeze()
        try:
            started = time.monotonic()
            with pytest.raises(UnavailableError, match=rf"Chroma server {own.url} cannot be reached: timed out"):
                retriever.ingest([document("ptp.md", PTP)])
            assert time.monotonic() - started < 5 * timeout_s
            assert retriever.search(["service models of E2"])[0][0].passage.source == "e2.md"
        finally:
            own.thaw()
        [outcome] = retriever.ingest([document("ptp.md", PTP)])
        assert outcome.outcome in (Outcome.INDEXED, Outcome.UNCHANGED)


@pytest.fixture
async def replicas(server: ChromaProcess, collection: str) -> AsyncIterator[list[RunningServer]]:
    running = []
    for _ in range(2):
        settings = RetrieverSettings(port=0, chroma_url=server.url, collection=collection, follow_s=0.05)
        running.append(await start(RetrieverProcess(settings), settings, Telemetry(None)))
    yield running
    for one in running:
        await one.stop(0)


async def _ingest(stub: Any, source: str, data: bytes) -> None:
    async def frames() -> AsyncIterator[retriever_pb2.IngestRequest]:
        digest = hashlib.sha256(data).hexdigest()
        header = retriever_pb2.DocumentHeader(source=source, content_hash=digest, size_bytes=len(data))
        yield retriever_pb2.IngestRequest(header=header)
        yield retriever_pb2.IngestRequest(data=data)

    await stub.Ingest(frames(), timeout=PATIENCE_S)


@pytest.mark.system
async def test_documents_ingested_through_one_service_are_found_through_another(replicas: list[RunningServer]) -> None:
    async with (
        channel(f"127.0.0.1:{replicas[0].port}") as into,
        channel(f"127.0.0.1:{replicas[1].port}") as out_of,
    ):
        one: Any = retriever_pb2_grpc.RetrieverServiceStub(into)
        other: Any = retriever_pb2_grpc.RetrieverServiceStub(out_of)
        with pytest.raises(grpc.aio.AioRpcError, match="the collection is empty"):
            await other.Search(retriever_pb2.SearchRequest(texts=["E2"]), timeout=PATIENCE_S)
        await _ingest(one, "e2.md", E2)
        # At once: a service that knows of no document looks before it says so.
        reply = await other.Search(retriever_pb2.SearchRequest(texts=["service models of E2"]), timeout=PATIENCE_S)
        assert {passage.source for passage in reply.results[0].passages} == {"e2.md"}
        await _ingest(one, "a1.md", A1)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                info = await other.GetCollection(retriever_pb2.GetCollectionRequest(), timeout=PATIENCE_S)
                if info.collection.documents == 2:
                    break
                await asyncio.sleep(0.01)
        assert info.collection.store == "server"


@pytest.mark.system
async def test_a_service_waits_for_a_server_that_starts_later_over_the_folder_of_an_embedded_index(
    tmp_path: Path,
) -> None:
    embedded = Retriever(HashingEmbedder(), open_embedded(tmp_path, "argo", HashingEmbedder()))
    embedded.ingest([document("a1.md", A1)])
    embedded.close()
    own = ChromaProcess(tmp_path)
    settings = RetrieverSettings(port=0, chroma_url=own.url, collection="argo")
    starting = asyncio.create_task(start(RetrieverProcess(settings), settings, Telemetry(None)))
    try:
        await asyncio.to_thread(own.start)
        running = await asyncio.wait_for(starting, PATIENCE_S)
        async with channel(f"127.0.0.1:{running.port}") as opened:
            stub: Any = retriever_pb2_grpc.RetrieverServiceStub(opened)
            info = await stub.GetCollection(retriever_pb2.GetCollectionRequest(), timeout=PATIENCE_S)
        assert (info.collection.documents, info.collection.store) == (1, "server")
        await running.stop(0)
    finally:
        own.kill()
