"""A store that lives as long as its process: for calibration and for tests of what stands above the store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.retriever.embedder import Vectors
from services.retriever.store import StoredPassage

__all__ = ["MemoryStore"]


class MemoryStore:
    """Passages in a dictionary; nearest ones by comparing with all."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._entries: dict[str, tuple[StoredPassage, Vectors]] = {}
        self._published = 0

    @property
    def kind(self) -> str:
        """Always "memory"."""
        return "memory"

    @property
    def name(self) -> str:
        """Name of the collection."""
        return self._name

    @property
    def shared(self) -> bool:
        """Of one process alone."""
        return False

    def revision(self) -> str:
        """Changes at each publication."""
        return str(self._published)

    def ids(self) -> set[str]:
        """Ids of all passages."""
        return set(self._entries)

    def load(self) -> tuple[list[StoredPassage], Vectors]:
        """Every passage and its vector."""
        return self.read(list(self._entries))

    def read(self, ids: Sequence[str]) -> tuple[list[StoredPassage], Vectors]:
        """Passages by id with their vectors."""
        found = [self._entries[key] for key in ids if key in self._entries]
        vectors = [vector for _, vector in found]
        return [entry for entry, _ in found], np.stack(vectors) if vectors else np.zeros((0, 0), "f4")

    def add(self, passages: Sequence[StoredPassage], vectors: Vectors) -> None:
        """Add passages, or write them anew."""
        for stored, vector in zip(passages, vectors, strict=True):
            self._entries[stored.passage.id] = (stored, vector)

    def delete(self, ids: Sequence[str]) -> None:
        """Take passages out by id."""
        for key in ids:
            self._entries.pop(key, None)

    def publish(self) -> None:
        """Make the revision another."""
        self._published += 1

    def nearest(self, vectors: Vectors, count: int) -> list[tuple[list[str], NDArray[np.float32]]]:
        """For each vector the ids of the nearest passages and their cosines, best first."""
        ids = list(self._entries)
        matrix = np.stack([vector for _, vector in self._entries.values()])
        found = []
        for cosines in vectors @ matrix.T:
            best = np.argsort(-cosines, kind="stable")[:count]
            found.append(([ids[place] for place in best], cosines[best]))
        return found

    def close(self) -> None:
        """Nothing to release."""
