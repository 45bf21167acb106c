"""The adapter of chromadb: a collection in a folder. One of a server is in :mod:`services.retriever.chroma_server`."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import chromadb
import numpy as np
from chromadb.api.client import Client
from chromadb.config import Settings
from chromadb.errors import InternalError, NotFoundError
from numpy.typing import NDArray

from argo.errors import InvalidArgumentError, NotReadyError, UnavailableError
from services.retriever.chroma_metadata import from_chroma, to_metadata
from services.retriever.embedder import Vectors
from services.retriever.gate import Gate
from services.retriever.index_folder import DATABASE, IndexFolder, damaged, room_bytes
from services.retriever.store import StoredPassage

__all__ = [
    "ChromaStore",
    "EmbeddedChromaStore",
    "Named",
    "onnx_minilm_function",
    "open_collection",
    "open_embedded",
]

_FAULTS: Final = (InternalError, NotFoundError)
"""What Chroma raises where its files are not as they should be; of its other errors each is a bug of ours."""
_FAULTS_AT_START: Final = (*_FAULTS, ValueError)
"""A client that cannot read its own tables says so with a bare ValueError."""
_BATCH: Final = 1_000
"""Passages per call; SQLite bounds the number of variables of one statement."""
_EMBEDDER: Final = "argo:embedder"
_DIMENSION: Final = "argo:dimension"


class Named(Protocol):
    """What a collection records of its embedder."""

    @property
    def name(self) -> str:
        """Under which it was set."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers of its vectors."""
        ...


def open_embedded(path: Path, collection: str, embedder: Named) -> EmbeddedChromaStore:
    """Open a collection in a folder of this machine, which this process owns from now on.

    Raises:
        NotReadyError: Another process owns the folder, it cannot be written or is damaged, or the collection was built
            with another embedder.
        UnavailableError: Another program has the database locked.
    """

    def connect() -> tuple[Any, Any]:
        try:
            client: Any = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
        except BaseException:
            # Chroma keeps what could not be made, and the next client would be handed that.
            Client.clear_system_cache()
            raise
        try:
            return client, open_collection(client, collection, embedder)
        except BaseException:
            client.close()
            raise

    folder = IndexFolder(path)
    try:
        return EmbeddedChromaStore(folder, connect)
    except BaseException:
        folder.close()
        raise


def onnx_minilm_function() -> Callable[[list[str]], Sequence[Any]]:
    """Chroma's all-MiniLM-L6-v2 on the ONNX runtime; loads, and if need be downloads, on its first call."""
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

    function = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
    return lambda texts: function(texts)


def open_collection(client: Any, name: str, embedder: Named) -> Any:
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


class ChromaStore(ABC):
    """A Chroma collection behind the store port.

    Args:
        collection: As the client has opened it.
    """

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self._name = str(collection.name)

    @abstractmethod
    def _calling(self, *, wait: bool = True) -> contextlib.AbstractContextManager[None]:
        """Around each call into Chroma; tells of its faults in our words. Without `wait` nothing is waited for."""

    def _writing(self, needed_bytes: int) -> contextlib.AbstractContextManager[None]:
        """The same around a call that writes so much."""
        return self._calling()

    @property
    def name(self) -> str:
        """Name of the collection."""
        return self._name

    def ids(self) -> set[str]:
        """Ids of all passages."""
        with self._calling():
            return set(self._collection.get(include=[])["ids"])

    def load(self) -> tuple[list[StoredPassage], Vectors]:
        """Every passage and its vector."""
        with self._calling():
            count = self._collection.count()
            return self._pages({"limit": _BATCH, "offset": offset} for offset in range(0, count, _BATCH))

    def read(self, ids: Sequence[str]) -> tuple[list[StoredPassage], Vectors]:
        """Passages by id with their vectors."""
        with self._calling():
            return self._pages({"ids": list(ids[at : at + _BATCH])} for at in range(0, len(ids), _BATCH))

    def _pages(self, selections: Iterable[Mapping[str, Any]]) -> tuple[list[StoredPassage], Vectors]:
        stored: list[StoredPassage] = []
        vectors: list[Vectors] = []
        for selection in selections:
            page = self._collection.get(**selection, include=["documents", "metadatas", "embeddings"])
            if page["ids"]:
                vectors.append(np.asarray(page["embeddings"], np.float32))
            rows = zip(page["ids"], page["documents"], page["metadatas"], strict=True)
            stored.extend(from_chroma(*row) for row in rows)
        return stored, np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32)

    def add(self, passages: Sequence[StoredPassage], vectors: Vectors) -> None:
        """Add passages, or write them anew."""
        for at in range(0, len(passages), _BATCH):
            batch = passages[at : at + _BATCH]
            text_bytes = sum(len(stored.passage.text.encode()) for stored in batch)
            with self._writing(room_bytes(len(batch), vectors.shape[1], text_bytes)):
                self._collection.upsert(
                    ids=[stored.passage.id for stored in batch],
                    documents=[stored.passage.text for stored in batch],
                    metadatas=[to_metadata(stored) for stored in batch],
                    embeddings=vectors[at : at + _BATCH],
                )

    def delete(self, ids: Sequence[str]) -> None:
        """Take passages out by id."""
        dimension = int(self._collection.metadata[_DIMENSION])
        for at in range(0, len(ids), _BATCH):
            with self._writing(room_bytes(len(ids), dimension, 0)):
                self._collection.delete(ids=list(ids[at : at + _BATCH]))

    def nearest(self, vectors: Vectors, count: int) -> list[tuple[list[str], NDArray[np.float32]]]:
        """For each vector the ids of the nearest passages and their cosines, best first; one call for all."""
        # Whoever asks can do without, and does not wait for another program.
        with self._calling(wait=False):
            found = self._collection.query(query_embeddings=vectors, n_results=count, include=["distances"])
        return [
            (list(ids), 1.0 - np.asarray(distances, np.float32))
            for ids, distances in zip(found["ids"], found["distances"], strict=True)
        ]


class EmbeddedChromaStore(ChromaStore):
    """A collection in a folder that this process owns; made by open_embedded.

    A client whose write has failed is not used to write again: after a full disk, a statement that it left open kept
    its next write waiting for itself.

    Args:
        folder: The folder, owned.
        connect: Makes a client and opens the collection with it.
    """

    def __init__(self, folder: IndexFolder, connect: Callable[[], tuple[Any, Any]]) -> None:
        self._folder = folder
        self._connect = connect
        self._is_spent = False
        self._is_closed = False
        with folder.using(_FAULTS_AT_START):
            self._client, collection = connect()
        super().__init__(collection)
        self._busy = f"collection {self._name!r} is being opened again"
        self._gate = Gate(self._busy)

    @contextlib.contextmanager
    def _calling(self, *, wait: bool = True) -> Iterator[None]:
        if wait and self._is_spent:
            self._renew()
        with self._folder.using(_FAULTS, wait=wait), self._gate.inside(wait=wait):
            if self._is_closed:
                raise UnavailableError(self._busy)
            try:
                yield
            except _FAULTS:
                # Whoever does not wait only reads, and has no part in this.
                self._is_spent = self._is_spent or wait
                raise

    def _writing(self, needed_bytes: int) -> contextlib.AbstractContextManager[None]:
        self._folder.check_room(needed_bytes)
        return self._calling()

    def _renew(self) -> None:
        """A new client in the place of the old one; called by the one writer."""
        # A new client would make anew what is gone, and all that is known here would be gone with it.
        self._folder.check()
        with self._folder.using(_FAULTS_AT_START), self._gate.alone():
            self._client.close()
            self._is_closed = True
            self._client, collection = self._connect()
            if collection.id != self._collection.id:
                self._client.close()
                raise damaged(self._folder.path, f"{DATABASE} is another one than was opened")
            self._collection = collection
            self._is_closed = self._is_spent = False

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

    def load(self) -> tuple[list[StoredPassage], Vectors]:
        """Every passage and its vector."""
        try:
            return super().load()
        finally:
            self._folder.opened()

    def publish(self) -> None:
        """Nobody else is to be told."""

    def close(self) -> None:
        """Give the folder free for another process."""
        with self._gate.alone():
            self._client.close()
            self._is_closed = True
        self._folder.close()
