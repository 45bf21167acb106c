"""Bring a collection up to a folder: send what is new or changed, in batches, and on request remove what has left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from argo import convert
from argo.document import DocumentOutcome, DocumentStatus, IngestProgress, IngestReport, SkippedFile
from argo.errors import InternalError, InvalidArgumentError
from argo.folder import LoadedFile, frames, read_file, select
from argo.rpc import Caller
from argo.v1 import retriever_pb2

__all__ = ["Ingester", "OnProgress", "delete_documents", "list_documents"]

_SERVICE: Final = "argo.v1.RetrieverService"
_LIST_TIMEOUT_S: Final = 60.0
_BATCH_TIMEOUT_S: Final = 600.0
"""Generous: a PDF of the largest size, or a slow embedder on a CPU."""
_BATCH_DOCUMENTS: Final = 64
_BATCH_BYTES: Final = 2 * 1024 * 1024
_DELETE_SOURCES: Final = 1_000
_DELETE_BYTES: Final = 192 * 1024
"""Below the largest request, since 1,000 sources of the longest kind are not."""

Stub = Any  # the generated stubs carry no annotations
OnProgress = Callable[[IngestProgress], None]


async def list_documents(caller: Caller, stub: Stub, source_prefix: str | None) -> list[retriever_pb2.Document]:
    """Every document of the collection, by source."""
    request = retriever_pb2.ListDocumentsRequest(source_prefix=source_prefix)
    replies = caller.stream(f"{_SERVICE}/ListDocuments", stub.ListDocuments, request, _LIST_TIMEOUT_S)
    return [document async for document in replies]


async def delete_documents(caller: Caller, stub: Stub, sources: Sequence[str]) -> retriever_pb2.DeleteDocumentsResponse:
    """Take documents out, in as many calls as their names need."""
    total = retriever_pb2.DeleteDocumentsResponse()
    for part in _parts(sources):
        reply = await caller.unary(
            f"{_SERVICE}/DeleteDocuments",
            stub.DeleteDocuments,
            retriever_pb2.DeleteDocumentsRequest(sources=part),
            _LIST_TIMEOUT_S,
        )
        total.deleted_documents += reply.deleted_documents
        total.deleted_passages += reply.deleted_passages
    return total


def _parts(sources: Sequence[str]) -> list[list[str]]:
    # An empty request still goes out, so that the server says what is wrong with it.
    parts: list[list[str]] = [[]]
    size = 0
    for source in sources:
        length = len(source.encode()) + 8
        if parts[-1] and (len(parts[-1]) == _DELETE_SOURCES or size + length > _DELETE_BYTES):
            parts.append([])
            size = 0
        parts[-1].append(source)
        size += length
    return parts


class Ingester:
    """One ingest.

    Args:
        caller: Calls to the retriever.
        stub: Its methods.
        on_progress: Told after every document.
    """

    def __init__(self, caller: Caller, stub: Stub, on_progress: OnProgress | None) -> None:
        self._caller = caller
        self._stub = stub
        self._on_progress = on_progress
        self._outcomes: dict[str, DocumentOutcome] = {}
        self._skipped: list[SkippedFile] = []
        self._total = 0

    async def run(self, paths: Sequence[Path], *, sync: bool) -> IngestReport:
        """Send what differs from the collection; with sync, remove what is in no given folder.

        Raises:
            InvalidArgumentError: See :func:`argo.folder.select`; or sync with a path that is no folder, which would
                remove everything else.
        """
        started = time.perf_counter()
        if sync and (single := next((path for path in paths if path.is_file()), None)) is not None:
            raise InvalidArgumentError(f"sync needs documents folders, got the single file {single}")
        selection = await asyncio.to_thread(select, paths)
        self._total = len(selection.files)
        self._skipped.extend(selection.skipped)
        known = {item.source: item for item in await list_documents(self._caller, self._stub, None)}
        batch: list[LoadedFile] = []
        for file in selection.files:
            try:
                loaded = await asyncio.to_thread(read_file, file)
            except OSError as error:
                self._skipped.append(SkippedFile(path=str(file.path), reason=f"cannot be read: {error.strerror}"))
                self._total -= 1
                continue
            if self._unchanged(loaded, known):
                continue
            if batch and _over(batch, loaded):
                await self._send(batch)
                batch = []
            batch.append(loaded)
        if batch:
            await self._send(batch)
        removed: tuple[str, ...] = ()
        if sync:
            # A file that is there but cannot be read has not left.
            removed = tuple(sorted(set(known) - {file.source for file in selection.files}))
            if removed:
                await delete_documents(self._caller, self._stub, removed)
        return IngestReport(
            outcomes=tuple(self._outcomes[file.source] for file in selection.files if file.source in self._outcomes),
            skipped=tuple(self._skipped),
            other_endings=selection.other_endings,
            removed=removed,
            duration_s=time.perf_counter() - started,
        )

    def _unchanged(self, loaded: LoadedFile, known: Mapping[str, retriever_pb2.Document]) -> bool:
        there = known.get(loaded.file.source)
        if there is None or there.stale or there.content_hash != loaded.content_hash:
            return False
        self._note(
            DocumentOutcome(source=there.source, status=DocumentStatus.UNCHANGED, passages=there.passages),
        )
        return True

    def _note(self, outcome: DocumentOutcome) -> None:
        self._outcomes[outcome.source] = outcome
        if self._on_progress is not None:
            failed = sum(one.status is DocumentStatus.FAILED for one in self._outcomes.values())
            self._on_progress(
                IngestProgress(done=len(self._outcomes), total=self._total, source=outcome.source, failed=failed)
            )

    async def _send(self, batch: Sequence[LoadedFile]) -> None:
        async def requests() -> AsyncIterator[retriever_pb2.IngestRequest]:
            for frame in frames(batch):
                yield frame

        try:
            reply = await self._caller.unary(f"{_SERVICE}/Ingest", self._stub.Ingest, requests(), _BATCH_TIMEOUT_S)
        except (InternalError, InvalidArgumentError) as error:
            # The call failed because of one document; alone it cannot take the others with it.
            if len(batch) == 1:
                self._note(
                    DocumentOutcome(source=batch[0].file.source, status=DocumentStatus.FAILED, message=error.message)
                )
                return
            for document in batch:
                await self._send([document])
            return
        for outcome in reply.outcomes:
            self._note(convert.outcome(outcome))


def _over(batch: Sequence[LoadedFile], following: LoadedFile) -> bool:
    size = sum(len(document.data) for document in batch)
    return len(batch) >= _BATCH_DOCUMENTS or size + len(following.data) > _BATCH_BYTES
