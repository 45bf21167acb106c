"""The adapter of chromadb: the only module that imports it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import urlsplit

import chromadb
import httpx
import numpy as np
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError
from numpy.typing import NDArray

from argo.errors import ArgoError, InvalidArgumentError, NotReadyError, UnavailableError
from services.retriever.embedder import Vectors
from services.retriever.passage import Passage
from services.retriever.store import StoredPassage

__all__ = ["ChromaStore", "ServerChromaStore", "onnx_minilm_function", "open_embedded", "open_server"]

_LOCK_FILE: Final = "argo-retriever.lock"
_BATCH: Final = 1_000
"""Passages per call; SQLite bounds the number of variables of one statement."""
_EMBEDDER: Final = "argo:embedder"
_DIMENSION: Final = "argo:dimension"
_GENERATION: Final = "argo:generation"
"""Another random number after each change, by which the retrievers that share a collection see that it changed."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def dimension(self) -> int: ...


def open_embedded(path: Path, collection: str, embedder: _Named) -> ChromaStore:
    """Open a collection in a folder of this machine, which this process owns from now on.

    Raises:
        NotReadyError: Another process owns the folder, it cannot be written, or the collection was built with
            another embedder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK_FILE).open("a+")
    except OSError as error:
        raise NotReadyError(f"index path {str(path)!r} cannot be written: {error.strerror}") from error
    try:
        # Chroma's embedded client is for one process; two would each miss what the other wrote.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise NotReadyError(
            f"index path {str(path)!r} is in use by another retriever, process {owner}; stop it or use another path"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    try:
        client = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
        return ChromaStore(_collection(client, collection, embedder), lock)
    except BaseException:
        lock.close()
        raise


def open_server(url: str, collection: str, embedder: _Named) -> ServerChromaStore:
    """Open a collection of a Chroma server, which other retrievers may share.

    Raises:
        InvalidArgumentError: Not an http or https URL.
        UnavailableError: The server cannot be reached.
        NotReadyError: The collection was built with another embedder.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgumentError(f"chroma_url must be http://host:port or https://host:port, got {url!r}")
    port = parts.port or (443 if parts.scheme == "https" else 8000)
    # A line for each request otherwise, several a second.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with _reaching(url):
        client = chromadb.HttpClient(
            parts.hostname, port, ssl=parts.scheme == "https", settings=Settings(anonymized_telemetry=False)
        )
        return ServerChromaStore(url, lambda: _collection(client, collection, embedder))


@contextlib.contextmanager
def _reaching(url: str) -> Iterator[None]:
    try:
        yield
    except ArgoError:
        raise
    # Chroma's client says with a bare ValueError that it found no server.
    except (ValueError, ChromaError, httpx.HTTPError, OSError) as error:
        raise UnavailableError(f"Chroma server {url} cannot be reached: {error}") from error


def onnx_minilm_function() -> Callable[[list[str]], Sequence[Any]]:
    """Chroma's all-MiniLM-L6-v2 on the ONNX runtime; loads, and if need be downloads, on its first call."""
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

    function = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
    return lambda texts: function(texts)


def _collection(client: Any, name: str, embedder: _Named) -> Any:
    """The named collection, made where it is missing; refused where another embedder made it."""
    try:
        collection = client.get_or_create_collection(
            name,
            metadata={_EMBEDDER: embedder.name, _DIMENSION: embedder.dimension},
            configuration={"hnsw": {"space": "cosine", "ef_search": 128}},
            embedding_function=None,
        )
    except ValueError as error:
        raise InvalidArgumentError(f"collection {name!r} cannot be opened: {error}") from error
    except ChromaError as error:
        raise NotReadyError(f"collection {name!r} cannot be opened: {error}") from error
    metadata = collection.metadata or {}
    built_with = metadata.get(_EMBEDDER)
    if built_with != embedder.name:
        raise NotReadyError(
            f"collection {name!r} was built with embedder {built_with!r} and cannot be searched with "
            f"{embedder.name!r}; start with the former, name another collection, or ingest into an empty one"
        )
    if metadata.get(_DIMENSION) != embedder.dimension:
        raise NotReadyError(
            f"collection {name!r} holds vectors of {metadata.get(_DIMENSION)} numbers, and {embedder.name!r} now makes "
            f"{embedder.dimension}; ingest into an empty collection"
        )
    return collection


class ChromaStore:
    """A Chroma collection that this process owns, behind the store port; made by open_embedded."""

    def __init__(self, collection: Any, lock: IO[str] | None = None) -> None:
        self._collection = collection
        self._lock = lock

    @property
    def kind(self) -> str:
        """Where the collection is."""
        return "embedded"

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it as well."""
        return False

    def revision(self) -> str:
        """Always the same: nobody else writes."""
        return ""

    @property
    def name(self) -> str:
        """Name of the collection."""
        return str(self._collection.name)

    def ids(self) -> set[str]:
        """Ids of all passages."""
        return set(self._collection.get(include=[])["ids"])

    def load(self) -> tuple[list[StoredPassage], Vectors]:
        """Every passage and its vector."""
        return self._pages({"limit": _BATCH, "offset": offset} for offset in range(0, self._collection.count(), _BATCH))

    def read(self, ids: Sequence[str]) -> tuple[list[StoredPassage], Vectors]:
        """Passages by id with their vectors."""
        return self._pages({"ids": list(ids[at : at + _BATCH])} for at in range(0, len(ids), _BATCH))

    def _pages(self, selections: Iterable[Mapping[str, Any]]) -> tuple[list[StoredPassage], Vectors]:
        stored: list[StoredPassage] = []
        vectors: list[Vectors] = []
        for selection in selections:
            page = self._collection.get(**selection, include=["documents", "metadatas", "embeddings"])
            if page["ids"]:
                vectors.append(np.asarray(page["embeddings"], np.float32))
            rows = zip(page["ids"], page["documents"], page["metadatas"], strict=True)
            stored.extend(_from_chroma(*row) for row in rows)
        return stored, np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32)

    def add(self, passages: Sequence[StoredPassage], vectors: Vectors) -> None:
        """Add passages, or write them anew."""
        for at in range(0, len(passages), _BATCH):
            batch = passages[at : at + _BATCH]
            self._collection.upsert(
                ids=[stored.passage.id for stored in batch],
                documents=[stored.passage.text for stored in batch],
                metadatas=[_to_metadata(stored) for stored in batch],
                embeddings=vectors[at : at + _BATCH],
            )

    def delete(self, ids: Sequence[str]) -> None:
        """Take passages out by id."""
        for at in range(0, len(ids), _BATCH):
            self._collection.delete(ids=list(ids[at : at + _BATCH]))

    def publish(self) -> None:
        """Nobody else is to be told."""

    def nearest(self, vectors: Vectors, count: int) -> list[tuple[list[str], NDArray[np.float32]]]:
        """For each vector the ids of the nearest passages and their cosines, best first; one call for all."""
        found = self._collection.query(query_embeddings=vectors, n_results=count, include=["distances"])
        return [
            (list(ids), 1.0 - np.asarray(distances, np.float32))
            for ids, distances in zip(found["ids"], found["distances"], strict=True)
        ]

    def close(self) -> None:
        """Give the folder free for another process."""
        if self._lock is not None:
            self._lock.close()


class ServerChromaStore(ChromaStore):
    """A collection of a Chroma server, which several retrievers share; made by open_server.

    Args:
        url: Of the server, for messages.
        reopen: Opens the collection, or makes it; also after someone has deleted it on the server.
    """

    def __init__(self, url: str, reopen: Callable[[], Any]) -> None:
        super().__init__(reopen())
        self._url = url
        self._reopen = reopen

    @property
    def kind(self) -> str:
        """Where the collection is."""
        return "server"

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it as well."""
        return True

    def revision(self) -> str:
        """The generation that was published last, and the count, which also tells of a writer that was killed."""
        with _reaching(self._url):
            # Opened anew, since a collection's metadata is as it was when it was opened.
            self._collection = self._reopen()
            generation = (self._collection.metadata or {}).get(_GENERATION, "")
            return f"{self._collection.id} {generation} {self._collection.count()}"

    def publish(self) -> None:
        """Make the generation another. Of two that publish at once one wins, and both differ from what was seen."""
        with self._found():
            metadata = {**(self._collection.metadata or {}), _GENERATION: uuid.uuid4().hex}
            self._collection.modify(metadata=metadata)

    @contextlib.contextmanager
    def _found(self) -> Iterator[None]:
        with _reaching(self._url):
            try:
                yield
            except NotFoundError:
                # Deleted on the server; the next call finds a new one.
                self._collection = self._reopen()
                raise

    def ids(self) -> set[str]:
        """Ids of all passages."""
        with self._found():
            return super().ids()

    def load(self) -> tuple[list[StoredPassage], Vectors]:
        """Every passage and its vector."""
        with self._found():
            return super().load()

    def read(self, ids: Sequence[str]) -> tuple[list[StoredPassage], Vectors]:
        """Passages by id with their vectors."""
        with self._found():
            return super().read(ids)

    def add(self, passages: Sequence[StoredPassage], vectors: Vectors) -> None:
        """Add passages, or write them anew."""
        with self._found():
            super().add(passages, vectors)

    def delete(self, ids: Sequence[str]) -> None:
        """Take passages out by id."""
        with self._found():
            super().delete(ids)

    def nearest(self, vectors: Vectors, count: int) -> list[tuple[list[str], NDArray[np.float32]]]:
        """For each vector the ids of the nearest passages and their cosines, best first; one call for all."""
        with self._found():
            return super().nearest(vectors, count)


def _to_metadata(stored: StoredPassage) -> dict[str, str | int]:
    """What Chroma keeps beside a text; it takes no None."""
    passage = stored.passage
    metadata: dict[str, str | int] = {
        "source": passage.source,
        "title": passage.title,
        "section": passage.section,
        "media_type": passage.media_type,
        "number": passage.number,
        "version": passage.version,
        "working_group": passage.working_group,
        "content_hash": stored.content_hash,
        "rules": stored.rules,
        "index": stored.index,
        "count": stored.count,
    }
    if passage.page is not None:
        metadata["page"] = passage.page
    return metadata


def _from_chroma(identifier: str, text: str, metadata: Mapping[str, Any]) -> StoredPassage:
    passage = Passage(
        id=identifier,
        text=text,
        source=str(metadata["source"]),
        title=str(metadata["title"]),
        section=str(metadata["section"]),
        media_type=str(metadata["media_type"]),
        page=int(metadata["page"]) if "page" in metadata else None,
        number=str(metadata["number"]),
        version=str(metadata["version"]),
        working_group=str(metadata["working_group"]),
    )
    return StoredPassage(
        passage, str(metadata["content_hash"]), str(metadata["rules"]), int(metadata["index"]), int(metadata["count"])
    )
