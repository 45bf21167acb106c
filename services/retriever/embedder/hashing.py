"""The default embedder: hashed stems, word pairs and character n-grams; nothing to download, the same everywhere."""

from __future__ import annotations

import numpy as np

from services.lexicon.hashing import DIMENSION, hash_vector
from services.retriever.embedder import Vectors

__all__ = ["HashingEmbedder"]


class HashingEmbedder:
    """Vectors of :func:`services.lexicon.hashing.hash_vector`."""

    @property
    def name(self) -> str:
        """Always "hashing"."""
        return "hashing"

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return DIMENSION

    @property
    def cheap(self) -> bool:
        """A query takes some tens of microseconds."""
        return True

    def embed_documents(self, texts: list[str]) -> Vectors:
        """Vectors of passages."""
        return np.stack([hash_vector(text) for text in texts]) if texts else np.zeros((0, DIMENSION), np.float32)

    def embed_queries(self, texts: list[str]) -> Vectors:
        """Vectors of searches: the same as of passages."""
        return self.embed_documents(texts)
