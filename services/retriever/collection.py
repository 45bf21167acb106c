"""The collection in memory: what searches read, made anew and swapped in whole when documents come or go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.retriever.embedder import Vectors
from services.retriever.lexical import LexicalIndex, PassageTerms, Vocabulary
from services.retriever.store import StoredPassage

__all__ = ["Builder", "IndexedDocument", "Snapshot"]


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """What the collection knows of a document."""

    source: str
    content_hash: str
    """SHA-256 of its bytes."""
    media_type: str
    rules: str
    """Fingerprint of the passage rules it was cut by."""
    passages: int
    complete: bool
    """Whether all of its passages are there."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the collection; never changed once made, so searches need no lock."""

    stored: tuple[StoredPassage, ...]
    """By row."""
    vectors: Vectors
    """Unit vectors, (passages, dimension)."""
    lexical: LexicalIndex
    documents: NDArray[np.int32]
    """Number of each passage's document, (passages,)."""
    rows: dict[str, int]
    """Passage id to row."""
    by_source: dict[str, IndexedDocument]
    """Documents by source, in the order of their sources."""


@dataclass(slots=True)
class Builder:
    """Holds the passages of the next snapshot; used by one writer at a time."""

    _vocabulary: Vocabulary = field(default_factory=Vocabulary)
    _entries: dict[str, tuple[StoredPassage, Vectors, PassageTerms]] = field(default_factory=dict)

    def add(self, stored: Sequence[StoredPassage], vectors: Vectors) -> None:
        """Add passages with their vectors."""
        for entry, vector in zip(stored, vectors, strict=True):
            self._entries[entry.passage.id] = (entry, vector, PassageTerms.of(entry.passage, self._vocabulary))

    def ids(self) -> set[str]:
        """Ids of all passages."""
        return set(self._entries)

    def ids_of(self, sources: set[str]) -> set[str]:
        """Ids of the passages of some documents."""
        return {key for key, (entry, _, _) in self._entries.items() if entry.passage.source in sources}

    def delete(self, ids: Iterable[str]) -> None:
        """Take passages out."""
        for key in ids:
            del self._entries[key]

    def build(self, dimension: int) -> Snapshot:
        """The next snapshot."""
        entries = sorted(self._entries.values(), key=lambda entry: (entry[0].passage.source, entry[0].index))
        stored = tuple(entry for entry, _, _ in entries)
        numbers: dict[str, int] = {}
        documents = [numbers.setdefault(entry.passage.source, len(numbers)) for entry in stored]
        vectors = np.stack([vector for _, vector, _ in entries]) if entries else np.zeros((0, dimension), np.float32)
        return Snapshot(
            stored=stored,
            vectors=np.ascontiguousarray(vectors),
            lexical=LexicalIndex([terms for _, _, terms in entries], self._vocabulary),
            documents=np.array(documents, np.int32),
            rows={entry.passage.id: row for row, entry in enumerate(stored)},
            by_source=_documents(stored),
        )


def _documents(stored: Sequence[StoredPassage]) -> dict[str, IndexedDocument]:
    counts = Counter(entry.passage.source for entry in stored)
    found: dict[str, IndexedDocument] = {}
    for entry in stored:
        source = entry.passage.source
        if source not in found:
            found[source] = IndexedDocument(
                source,
                entry.content_hash,
                entry.passage.media_type,
                entry.rules,
                counts[source],
                counts[source] == entry.count,
            )
    return found
