"""The retriever: documents in, ranked passages out. What the servicer puts on the wire."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from argo.errors import InvalidArgumentError, NotReadyError
from services.retriever.collection import Builder, IndexedDocument, Snapshot
from services.retriever.document import ParsedDocument
from services.retriever.embedder import Embedder
from services.retriever.passage import PassageRules, make_passages
from services.retriever.reader import detect_media_type, read_document
from services.retriever.relevance import load_calibration
from services.retriever.search import EXACT_PASSAGES, Filter, QueryVectors, RankedPassage, Searcher
from services.retriever.store import PassageStore, StoredPassage

__all__ = ["DocumentOutcome", "IncomingDocument", "IndexEmptyError", "Outcome", "Retriever"]

_LOG = logging.getLogger(__name__)
_EMBEDDED_AT_ONCE: Final = 256
_QUICK_PASSAGES: Final = 2_000
"""Up to here a search with known vectors takes about a millisecond."""


class IndexEmptyError(NotReadyError):
    """There is nothing to search yet."""


class Outcome(enum.Enum):
    """What became of one document."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"
    FAILED = "failed"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class IncomingDocument:
    """A document as it was sent."""

    source: str
    media_type: str
    """Empty for: tell it from the source's ending."""
    data: bytes
    content_hash: str = ""
    """SHA-256 of the data in lower-case hexadecimal; empty for: not stated."""


@dataclass(frozen=True, slots=True)
class DocumentOutcome:
    """The outcome for one document."""

    source: str
    outcome: Outcome
    passages: int = 0
    """Passages that it has now."""
    message: str = ""
    """Why it failed."""


class Retriever:
    """One collection with its embedder.

    Searches may run in any thread and never wait for an ingest; ingests run one after the other.

    Args:
        embedder: Makes the vectors.
        store: Keeps the passages.
        rules: How documents are cut.
        exact_passages: Largest collection whose vectors are all compared instead of asking the store.
        read: Reads a document, as :func:`read_document` does; documents of others want a reader that can be cut.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: PassageStore,
        rules: PassageRules | None = None,
        exact_passages: int = EXACT_PASSAGES,
        read: Callable[[bytes, str, str], ParsedDocument] = read_document,
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._rules = rules or PassageRules()
        self._read_document = read
        self._vectors = QueryVectors(embedder)
        self.calibration = load_calibration(embedder.name)
        self._searcher = Searcher(self._vectors, store, self.calibration, exact_passages)
        self._writing = threading.Lock()
        self._builder = Builder()
        self._revision: str | None = None
        self._snapshot = self._builder.build(embedder.dimension)

    @property
    def embedder(self) -> Embedder:
        """What makes the vectors."""
        return self._embedder

    @property
    def store(self) -> PassageStore:
        """What keeps the passages."""
        return self._store

    @property
    def snapshot(self) -> Snapshot:
        """What searches read now."""
        return self._snapshot

    def load(self) -> None:
        """Read the collection from the store and make the lexical index; once, before the first search."""
        with self._writing:
            # Asked first: what is published while this reads makes it another, and is read by the next look.
            revision = self._store.revision()
            stored, vectors = self._store.load()
            self._builder.add(stored, vectors)
            self._publish()
            self._revision = revision
        _LOG.info("%d passages of %d documents", len(stored), len(self._snapshot.by_source))

    def follow(self) -> bool:
        """Take over what other retrievers have written to a shared store since the last look.

        Returns:
            Whether there was anything.

        Raises:
            UnavailableError: The store cannot be reached; searches go on with what is known.
        """
        if self._store.revision() == self._revision:
            return False
        with self._writing:
            return self._catch_up()

    def _catch_up(self) -> bool:
        revision = self._store.revision()
        if revision == self._revision:
            return False
        # Ids are made of what they stand for, so those that are known need not be read again.
        there, known = self._store.ids(), self._builder.ids()
        new, gone = sorted(there - known), known - there
        if new or gone:
            self._builder.add(*self._store.read(new))
            self._builder.delete(gone)
            self._publish()
            _LOG.info("the store has %d passages more and %d fewer than were known", len(new), len(gone))
        self._revision = revision
        return bool(new or gone)

    def close(self) -> None:
        """Release the store, after a running ingest has written its batch."""
        with self._writing:
            self._store.close()

    def quick(self, texts: Sequence[str]) -> bool:
        """Whether a search of these texts is fast enough to run on an event loop."""
        return len(self._snapshot.stored) <= _QUICK_PASSAGES and (self._embedder.cheap or self._vectors.has(texts))

    def search(
        self, texts: Sequence[str], *, foci: Sequence[str] = (), top_k: int = 10, where: Filter | None = None
    ) -> list[list[RankedPassage]]:
        """Rank passages for each text.

        Args:
            texts: What to search.
            foci: Texts to which every passage found gets a relevance as well.
            top_k: Passages per text.
            where: Which passages to search; None for all.

        Returns:
            One list for each text, best first.

        Raises:
            IndexEmptyError: No document has been ingested.
        """
        if not self._snapshot.stored:
            raise IndexEmptyError(f"collection {self._store.name!r} is empty; ingest documents first")
        return self._searcher.search(self._snapshot, texts, foci, top_k, where or Filter())

    def ingest(self, documents: Sequence[IncomingDocument]) -> list[DocumentOutcome]:
        """Read, embed and store documents; searches see all of them once this returns.

        A document whose source, content and passage rules are as indexed is left alone; one that cannot be read is
        reported, and the others go on.

        Raises:
            UnavailableError: The embedder or the store cannot be reached; nothing of the batch counts as indexed.
            NotReadyError: The store cannot be written, its disk is full, say; likewise.
        """
        with self._writing:
            # What another retriever has replaced meanwhile is to be replaced, not kept beside.
            self._catch_up()
            return self._ingest(documents)

    def list_documents(self, source_prefix: str = "") -> list[IndexedDocument]:
        """Every complete document, by source."""
        return [
            document
            for document in self._snapshot.by_source.values()
            if document.complete and document.source.startswith(source_prefix)
        ]

    def is_stale(self, document: IndexedDocument) -> bool:
        """Whether a document was cut under other passage rules, so that its bytes would give other passages now."""
        return document.rules != self._rules.fingerprint()

    def delete_documents(self, sources: Sequence[str]) -> tuple[int, int]:
        """Take documents out.

        Returns:
            Documents and passages that were there.
        """
        with self._writing:
            self._catch_up()
            wanted = {source for source in sources if source in self._snapshot.by_source}
            ids = self._builder.ids_of(wanted)
            with self._settled():
                self._store.delete(sorted(ids))
            self._builder.delete(ids)
            self._publish()
            self._store.publish()
            return len(wanted), len(ids)

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """Around a write: of one that failed nobody knows what the store has taken, so the next looks at it first."""
        try:
            yield
        except Exception:
            self._revision = None
            raise

    def _ingest(self, documents: Sequence[IncomingDocument]) -> list[DocumentOutcome]:
        outcomes: list[DocumentOutcome] = []
        fresh: dict[str, list[StoredPassage]] = {}
        stale: set[str] = set()
        for document in documents:
            before = self._snapshot.by_source.get(document.source)
            outcome, stored = self._read(document, before)
            outcomes.append(outcome)
            if outcome.outcome in (Outcome.INDEXED, Outcome.REPLACED, Outcome.EMPTY):
                fresh[document.source] = stored
                if before is not None:
                    stale.add(document.source)
        if fresh:
            self._write([entry for stored in fresh.values() for entry in stored], stale)
        return outcomes

    def _read(
        self, document: IncomingDocument, before: IndexedDocument | None
    ) -> tuple[DocumentOutcome, list[StoredPassage]]:
        """A document's outcome and passages, nothing written yet."""
        content_hash = hashlib.sha256(document.data).hexdigest()
        rules = self._rules.fingerprint()
        try:
            if document.content_hash and document.content_hash != content_hash:
                raise InvalidArgumentError(
                    f"content_hash of {document.source!r} must be that of its {len(document.data)} bytes, "
                    f"{content_hash}, got {document.content_hash}"
                )
            if before is not None and before.complete and (before.content_hash, before.rules) == (content_hash, rules):
                return DocumentOutcome(document.source, Outcome.UNCHANGED, before.passages), []
            media_type = detect_media_type(document.source, document.media_type)
            parsed = self._read_document(document.data, media_type, document.source)
        except InvalidArgumentError as error:
            _LOG.warning("not indexed: %s", error.message, exc_info=error.__cause__)
            return DocumentOutcome(document.source, Outcome.FAILED, before.passages if before else 0, str(error)), []
        passages = make_passages(
            parsed, source=document.source, content_hash=content_hash, media_type=media_type, rules=self._rules
        )
        stored = [
            StoredPassage(passage, content_hash, rules, index, len(passages)) for index, passage in enumerate(passages)
        ]
        outcome = Outcome.EMPTY if not stored else Outcome.INDEXED if before is None else Outcome.REPLACED
        return DocumentOutcome(document.source, outcome, len(stored)), stored

    def _write(self, stored: Sequence[StoredPassage], stale: set[str]) -> None:
        """Embed and store passages, then swap them in for those of the stale documents."""
        vectors = [
            self._embedder.embed_documents(
                [entry.passage.indexed_text for entry in stored[at : at + _EMBEDDED_AT_ONCE]]
            )
            for at in range(0, len(stored), _EMBEDDED_AT_ONCE)
        ]
        old = self._builder.ids_of(stale) - {entry.passage.id for entry in stored}
        try:
            with self._settled():
                for at, batch in zip(range(0, len(stored), _EMBEDDED_AT_ONCE), vectors, strict=True):
                    self._store.add(stored[at : at + _EMBEDDED_AT_ONCE], batch)
                    self._builder.add(stored[at : at + _EMBEDDED_AT_ONCE], batch)
                # Old passages go last: a crash in between leaves a document twice, which the next ingest mends, never
                # gone.
                self._store.delete(sorted(old))
                self._builder.delete(old)
                self._store.publish()
        finally:
            self._publish()

    def _publish(self) -> None:
        self._snapshot = self._builder.build(self._embedder.dimension)
