"""What is known of documents: outcomes of an ingest, listings, searches, the collection."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from argo.result import Passage, Result

__all__ = [
    "CollectionInfo",
    "Deletion",
    "Document",
    "DocumentOutcome",
    "DocumentStatus",
    "IngestProgress",
    "IngestReport",
    "SearchResult",
    "SkippedFile",
]


class DocumentStatus(enum.StrEnum):
    """What became of one document."""

    UNKNOWN = "unknown"
    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"
    FAILED = "failed"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True)
class DocumentOutcome(Result):
    """The outcome for one document."""

    source: str
    status: DocumentStatus
    passages: int = 0
    message: str = ""
    """Why it failed; empty otherwise."""


@dataclass(frozen=True, kw_only=True)
class SkippedFile(Result):
    """A file that was not sent, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class IngestProgress(Result):
    """How far an ingest has come."""

    done: int
    """Files that have their outcome."""
    total: int
    source: str
    """The last of them."""
    failed: int


@dataclass(frozen=True, kw_only=True)
class IngestReport(Result):
    """The outcome of an ingest."""

    outcomes: tuple[DocumentOutcome, ...]
    """One for each file with a known ending, in the order of their sources; unchanged ones were not sent."""
    skipped: tuple[SkippedFile, ...]
    """Files that cannot be documents: links out of the folder, too large, unreadable."""
    other_endings: int
    """Files whose ending is no document's."""
    removed: tuple[str, ...]
    """Sources that had left the folder; empty without sync."""
    duration_s: float

    def count(self, status: DocumentStatus) -> int:
        """Documents with this outcome."""
        return sum(outcome.status is status for outcome in self.outcomes)

    @property
    def failed(self) -> tuple[DocumentOutcome, ...]:
        """Documents that could not be indexed."""
        return tuple(outcome for outcome in self.outcomes if outcome.status is DocumentStatus.FAILED)


@dataclass(frozen=True, kw_only=True)
class Document(Result):
    """An indexed document."""

    source: str
    content_hash: str
    """SHA-256 of its bytes in lower-case hexadecimal."""
    media_type: str
    passages: int


@dataclass(frozen=True, kw_only=True)
class Deletion(Result):
    """What was taken out of the collection."""

    deleted_documents: int
    deleted_passages: int


@dataclass(frozen=True, kw_only=True)
class SearchResult(Result):
    """The passages found for one text, best first."""

    text: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True, kw_only=True)
class CollectionInfo(Result):
    """What a retriever serves."""

    name: str
    embedder: str
    dimension: int
    documents: int
    passages: int
    store: str
    """ "embedded" or "server"."""
