"""The collection of a Chroma server, which several retrievers share."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import chromadb
import httpx
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError

from argo.errors import ArgoError, InvalidArgumentError, NotReadyError, UnavailableError
from services.retriever.chroma import ChromaStore, Named, open_collection

__all__ = ["ServerChromaStore", "open_server"]

_LOG = logging.getLogger(__name__)
_TIMEOUT_S: Final = 60.0
"""Long enough for a thousand passages on a slow disk."""
_FULL: Final = "database or disk is full"
_GENERATION: Final = "argo:generation"
"""Another random number after each change, by which the retrievers that share a collection see that it changed."""


def open_server(url: str, collection: str, embedder: Named, timeout_s: float = _TIMEOUT_S) -> ServerChromaStore:
    """Open a collection of a Chroma server, which other retrievers may share.

    Args:
        url: Of the server.
        collection: Its name.
        embedder: What makes the vectors.
        timeout_s: Seconds without a word from the server after which a call to it fails.

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
        _bound(client, timeout_s)
        return ServerChromaStore(url, lambda: open_collection(client, collection, embedder))


def _bound(client: Any, timeout_s: float) -> None:
    """Bound the calls of a client, which has no setting for it, and would wait for a frozen server for good."""
    session = getattr(getattr(client, "_server", None), "_session", None)
    if isinstance(session, httpx.Client):
        session.timeout = httpx.Timeout(timeout_s)
    else:
        _LOG.warning("this version of Chroma's client cannot be bounded: calls to a frozen server will not end")


@contextlib.contextmanager
def _reaching(url: str) -> Iterator[None]:
    try:
        yield
    except ArgoError:
        raise
    except ChromaError as error:
        if _FULL in str(error):
            raise NotReadyError(
                f"Chroma server {url} cannot write: its disk is full; free some, and ingest again"
            ) from (error)
        raise UnavailableError(f"Chroma server {url} failed: {error}") from error
    # Chroma's client says with a bare ValueError that it found no server.
    except (ValueError, httpx.HTTPError, OSError) as error:
        raise UnavailableError(f"Chroma server {url} cannot be reached: {error}") from error


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
        with self._calling():
            metadata = {**(self._collection.metadata or {}), _GENERATION: uuid.uuid4().hex}
            self._collection.modify(metadata=metadata)

    @contextlib.contextmanager
    def _calling(self, *, wait: bool = True) -> Iterator[None]:
        with _reaching(self._url):
            try:
                yield
            except NotFoundError:
                # Deleted on the server; the next call finds a new one.
                self._collection = self._reopen()
                raise

    def close(self) -> None:
        """Nothing to give free."""
