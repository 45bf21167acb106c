"""The gRPC face of the retriever."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import grpc

from argo import limits
from argo.errors import ArgoError, InvalidArgumentError, NotReadyError, UnavailableError
from argo.rpc import Stopwatch
from argo.server import Service
from argo.telemetry import Telemetry
from argo.v1 import retriever_pb2, retriever_pb2_grpc, types_pb2
from services.retriever.chroma import open_embedded
from services.retriever.chroma_server import open_server
from services.retriever.embedder import resolve_embedder
from services.retriever.frame import read_documents
from services.retriever.metric import RetrieverMetrics
from services.retriever.reading import ReaderProcess
from services.retriever.retriever import DocumentOutcome, IncomingDocument, Outcome, Retriever
from services.retriever.search import Filter, RankedPassage
from services.retriever.settings import RetrieverSettings

__all__ = ["RetrieverProcess", "RetrieverServicer"]

_LOG = logging.getLogger(__name__)
_Context = grpc.aio.ServicerContext[Any, Any]
_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Documents are indexed together up to this size, so that vectors and writes are batched."""
_BATCH_DOCUMENTS: Final = 64
_SOURCES: Final = (1, 1_000)
_SERVER_PATIENCE_S: Final = 60.0
"""Longest wait at the start for a Chroma server, which takes some seconds to start itself."""
_SERVER_PAUSE_S: Final = 0.5
_STATUS: Final = {
    Outcome.INDEXED: retriever_pb2.DOCUMENT_STATUS_INDEXED,
    Outcome.UNCHANGED: retriever_pb2.DOCUMENT_STATUS_UNCHANGED,
    Outcome.REPLACED: retriever_pb2.DOCUMENT_STATUS_REPLACED,
    Outcome.FAILED: retriever_pb2.DOCUMENT_STATUS_FAILED,
    Outcome.EMPTY: retriever_pb2.DOCUMENT_STATUS_EMPTY,
}


class RetrieverServicer(retriever_pb2_grpc.RetrieverServiceServicer):
    """Implements argo.v1.RetrieverService.

    Args:
        settings: Defaults.
        describe: Makes this service's own ServiceInfo from its settings and collection.
        metrics: Where searches are counted; None for nowhere.
    """

    def __init__(
        self,
        settings: RetrieverSettings,
        describe: Callable[..., types_pb2.ServiceInfo],
        metrics: RetrieverMetrics | None = None,
    ) -> None:
        self._settings = settings
        self._describe = describe
        self._metrics = metrics
        self._retriever: Retriever | None = None

    def serve(self, retriever: Retriever) -> None:
        """Begin to answer from this retriever."""
        self._retriever = retriever
        if self._metrics is not None:
            self._metrics.show(retriever)

    @property
    def _ready(self) -> Retriever:
        if self._retriever is None:
            # A moment after the start, not a state that an operator must mend: the caller's retry finds it open.
            raise UnavailableError("the retriever is still opening its collection")
        return self._retriever

    async def Search(  # the generated base class names it
        self, request: retriever_pb2.SearchRequest, context: _Context
    ) -> retriever_pb2.SearchResponse:
        """Rank passages for one text or many."""
        watch = Stopwatch()
        retriever = self._ready
        limits.check_range("len(texts)", len(request.texts), limits.SEARCH_TEXTS)
        texts = [
            limits.check_text(f"texts[{index}]", text, limits.QUESTION_CHARACTERS)
            for index, text in enumerate(request.texts)
        ]
        limits.check_range("len(foci)", len(request.foci), (0, limits.FOCI[1]))
        foci = [
            limits.check_text(f"foci[{index}].text", focus.text, limits.QUESTION_CHARACTERS)
            for index, focus in enumerate(request.foci)
        ]
        top_k = limits.check_range(
            "top_k", request.top_k if request.HasField("top_k") else self._settings.top_k, limits.TOP_K
        )
        if request.HasField("embedder") and request.embedder != retriever.embedder.name:
            raise NotReadyError(
                f"the collection was built with embedder {retriever.embedder.name!r}, got {request.embedder!r}"
            )
        if not retriever.snapshot.stored and retriever.store.shared:
            # The first documents may have come through another retriever, a moment ago.
            await asyncio.to_thread(retriever.follow)
        if not retriever.snapshot.stored:
            raise NotReadyError("the collection is empty; ingest documents before searching")
        where = Filter(
            source_prefixes=tuple(request.filter.source_prefixes), working_groups=tuple(request.filter.working_groups)
        )

        def work() -> list[list[RankedPassage]]:
            return retriever.search(texts, foci=foci, top_k=top_k, where=where)

        # A thread costs more than a search of a small collection.
        found = work() if retriever.quick([*texts, *foci]) else await asyncio.to_thread(work)
        if self._metrics is not None:
            self._metrics.searched(found, watch.elapsed_s)
        return retriever_pb2.SearchResponse(
            results=[
                retriever_pb2.SearchResult(text=text, passages=[_passage(ranked, request.foci) for ranked in passages])
                for text, passages in zip(request.texts, found, strict=True)
            ],
            timing=types_pb2.Timing(work_s=watch.elapsed_s),
        )

    async def Ingest(
        self, request_iterator: AsyncIterator[retriever_pb2.IngestRequest], context: _Context
    ) -> retriever_pb2.IngestResponse:
        """Take in documents."""
        watch = Stopwatch()
        retriever = self._ready
        outcomes: list[DocumentOutcome] = []
        batch: list[IncomingDocument] = []
        async for document in read_documents(request_iterator):
            batch.append(document)
            if len(batch) >= _BATCH_DOCUMENTS or sum(len(entry.data) for entry in batch) >= _BATCH_BYTES:
                outcomes += await asyncio.to_thread(retriever.ingest, batch)
                batch = []
        if batch:
            outcomes += await asyncio.to_thread(retriever.ingest, batch)
        if self._metrics is not None:
            self._metrics.ingested(outcomes)
        return retriever_pb2.IngestResponse(
            outcomes=[
                retriever_pb2.DocumentOutcome(
                    source=outcome.source,
                    status=_STATUS[outcome.outcome],
                    passages=outcome.passages,
                    message=outcome.message,
                )
                for outcome in outcomes
            ],
            timing=types_pb2.Timing(work_s=watch.elapsed_s),
        )

    async def ListDocuments(
        self, request: retriever_pb2.ListDocumentsRequest, context: _Context
    ) -> AsyncIterator[retriever_pb2.Document]:
        """Every document, ordered by source."""
        for document in self._ready.list_documents(request.source_prefix):
            yield retriever_pb2.Document(
                source=document.source,
                content_hash=document.content_hash,
                media_type=document.media_type,
                passages=document.passages,
                stale=self._ready.is_stale(document),
            )

    async def DeleteDocuments(
        self, request: retriever_pb2.DeleteDocumentsRequest, context: _Context
    ) -> retriever_pb2.DeleteDocumentsResponse:
        """Take documents out."""
        watch = Stopwatch()
        limits.check_range("len(sources)", len(request.sources), _SOURCES)
        for index, source in enumerate(request.sources):
            if not source:
                raise InvalidArgumentError(f"sources[{index}] must not be empty, got ''")
        gone, passages = await asyncio.to_thread(self._ready.delete_documents, list(request.sources))
        return retriever_pb2.DeleteDocumentsResponse(
            deleted_documents=gone, deleted_passages=passages, timing=types_pb2.Timing(work_s=watch.elapsed_s)
        )

    async def GetCollection(
        self, request: retriever_pb2.GetCollectionRequest, context: _Context
    ) -> retriever_pb2.GetCollectionResponse:
        """The collection that is served."""
        watch = Stopwatch()
        return retriever_pb2.GetCollectionResponse(
            collection=self._collection(), timing=types_pb2.Timing(work_s=watch.elapsed_s)
        )

    async def GetInfo(self, request: types_pb2.GetInfoRequest, context: _Context) -> types_pb2.ServiceInfo:
        """This service and its collection."""
        shown = {
            "embedder": self._settings.embedder,
            "top_k": str(self._settings.top_k),
            "passage_words": str(self._settings.passage_words),
            "table_words": str(self._settings.table_words),
            "overlap_words": str(self._settings.overlap_words),
            "exact_passages": str(self._settings.exact_passages),
            "reader_timeout_s": f"{self._settings.reader_timeout_s:g}",
            "reader_memory_mib": str(self._settings.reader_memory_mib),
        }
        return self._describe(shown, collection=self._collection())

    def _collection(self) -> types_pb2.CollectionInfo:
        retriever = self._ready
        snapshot = retriever.snapshot
        return types_pb2.CollectionInfo(
            name=retriever.store.name,
            embedder=retriever.embedder.name,
            dimension=retriever.embedder.dimension,
            documents=len(snapshot.by_source),
            passages=len(snapshot.stored),
            store=retriever.store.kind,
        )


def _passage(ranked: RankedPassage, foci: Sequence[types_pb2.Focus]) -> types_pb2.Passage:
    passage = ranked.passage
    return types_pb2.Passage(
        id=passage.id,
        text=passage.text,
        source=passage.source,
        section=passage.section,
        page=passage.page,
        dense_score=ranked.dense_score,
        lexical_score=ranked.lexical_score,
        score=ranked.score,
        relevance=ranked.relevance,
        focus_relevance=[
            types_pb2.FocusRelevance(focus_id=focus.id, relevance=relevance)
            for focus, relevance in zip(foci, ranked.focus_relevance, strict=True)
        ],
        document_number=passage.number,
        version=passage.version,
        working_group=passage.working_group,
    )


class RetrieverProcess(Service):
    """The retriever's process: opens the collection before it serves.

    Args:
        settings: Which collection and embedder.
        telemetry: Where searches are counted; None for nowhere.
    """

    name = "retriever"
    full_name = "argo.v1.RetrieverService"

    def __init__(self, settings: RetrieverSettings, telemetry: Telemetry | None = None) -> None:
        super().__init__()
        self._settings = settings
        metrics = None if telemetry is None or telemetry.metrics is None else RetrieverMetrics(telemetry.metrics)
        self._servicer = RetrieverServicer(settings, self.info, metrics)
        self._reader = ReaderProcess(settings.reader_timeout_s, settings.reader_memory_mib)
        self._retriever: Retriever | None = None
        self._following: asyncio.Task[None] | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(self._servicer, server)

    async def warm_up(self) -> None:
        """Load the embedder and the collection, and search once; wait for a Chroma server that is not there yet."""
        deadline = time.monotonic() + _SERVER_PATIENCE_S
        while self._retriever is None:
            try:
                self._retriever = await asyncio.to_thread(self._open)
            except UnavailableError as error:
                # A folder's lock is not waited for: whoever starts this again does that, and has been told.
                if self._settings.chroma_url is None or time.monotonic() > deadline:
                    raise
                _LOG.warning("%s; waiting for it", error)
                await asyncio.sleep(_SERVER_PAUSE_S)
        self._servicer.serve(self._retriever)
        if self._retriever.store.shared:
            self._following = asyncio.create_task(self._follow(self._retriever))

    async def _follow(self, retriever: Retriever) -> None:
        """Look again and again whether another retriever has changed the collection."""
        away = False
        while True:
            await asyncio.sleep(self._settings.follow_s)
            try:
                await asyncio.to_thread(retriever.follow)
                away = False
            except ArgoError as error:
                if not away:
                    _LOG.warning("%s; searches go on with the %d passages known", error, len(retriever.snapshot.stored))
                away = True
            except Exception:
                # One bad look must not end the watch.
                _LOG.exception("the collection could not be looked at")

    def _open(self) -> Retriever:
        settings = self._settings
        embedder = resolve_embedder(settings.embedder)
        store = (
            open_embedded(settings.index_path, settings.collection, embedder)
            if settings.chroma_url is None
            else open_server(settings.chroma_url, settings.collection, embedder)
        )
        retriever = Retriever(embedder, store, settings.passage_rules(), settings.exact_passages, self._reader.read)
        retriever.load()
        if retriever.snapshot.stored:
            retriever.search(["What is O-RAN?"], foci=["What is O-RAN?"], top_k=settings.top_k)
        return retriever

    async def close(self) -> None:
        """Release the collection."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        await asyncio.to_thread(self._reader.close)
        if self._retriever is not None:
            await asyncio.to_thread(self._retriever.close)
