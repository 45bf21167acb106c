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

    @property
    def kind(self) -> str:
        """Always "memory"."""
        return "memory"

    @property
    def name(self) -> str:
        """Name of the collection."""
        return self._name

    def load(self) -> tuple[list[StoredPassage], Vectors]:
        """Every passage and its vector."""
        vectors = [vector for _, vector in self._entries.values()]
        return [entry for entry, _ in self._entries.values()], np.stack(vectors) if vectors else np.zeros((0, 0), "f4")

    def add(self, passages: Sequence[StoredPassage], vectors: Vectors) -> None:
        """Add passages, or write them anew."""
        for stored, vector in zip(passages, vectors, strict=True):
            self._entries[stored.passage.id] = (stored, vector)

    def delete(self, ids: Sequence[str]) -> None:
        """Take passages out by id."""
        for key in ids:
            self._entries.pop(key, None)

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
