"""The port behind which passages and their vectors are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.retriever.embedder import Vectors
from services.retriever.passage import Passage

__all__ = ["PassageStore", "StoredPassage"]


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage with what its document was when it was indexed."""

    passage: Passage
    content_hash: str
    """SHA-256 of the document's bytes."""
    rules: str
    """Fingerprint of the passage rules."""
    index: int
    """Place in its document, from 0."""
    count: int
    """Passages of its document; fewer found means that its ingest was cut off."""


class PassageStore(Protocol):
    """Keeps passages durably and finds the nearest ones.

    Every method that reads or writes raises UnavailableError where the store cannot be reached, and NotReadyError where
    it cannot be read or written until an operator has acted.
    """

    @property
    def kind(self) -> str:
        """Such as "embedded" or "server"."""
        ...

    @property
    def name(self) -> str:
        """Name of the collection."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it as well."""
        ...

    def revision(self) -> str:
        """Changes once another process has published what it wrote; asked often, so it must be cheap."""
        ...

    def ids(self) -> set[str]:
        """Ids of all passages; one id always stands for the same passage."""
        ...

    def load(self) -> tuple[list[StoredPassage], Vectors]:
        """Every passage and its vector."""
        ...

    def read(self, ids: Sequence[str]) -> tuple[list[StoredPassage], Vectors]:
        """Passages by id with their vectors, in any order; those that are gone meanwhile are left out."""
        ...

    def add(self, passages: Sequence[StoredPassage], vectors: Vectors) -> None:
        """Add passages, or write them anew."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Take passages out by id; unknown ids are no error."""
        ...

    def publish(self) -> None:
        """Tell other processes that what was added and deleted is complete."""
        ...

    def nearest(self, vectors: Vectors, count: int) -> list[tuple[list[str], NDArray[np.float32]]]:
        """For each vector the ids of the nearest passages and their cosines, best first."""
        ...

    def close(self) -> None:
        """Release what the store holds."""
        ...
