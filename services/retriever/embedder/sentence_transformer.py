"""Embedders of the sentence-transformers library, by model name or folder; torch comes with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from argo.errors import NotReadyError
from services.retriever.embedder import Vectors

__all__ = ["SentenceTransformerEmbedder"]


class SentenceTransformerEmbedder:
    """Any sentence-transformers model.

    Args:
        model: Name on the hub, or folder of a model.

    Raises:
        NotReadyError: The library is not installed, or the model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise NotReadyError(
                f"embedder 'sentence-transformers:{model}' needs the extra argo-oran[sentence-transformers]"
            ) from error
        try:
            self._model: Any = SentenceTransformer(model)
        except (OSError, ValueError) as error:
            raise NotReadyError(f"embedder 'sentence-transformers:{model}' cannot be loaded: {error}") from error
        self._name = f"sentence-transformers:{model}"
        self._dimension = int(self._model.encode(["width"], show_progress_bar=False).shape[1])

    @property
    def name(self) -> str:
        """As asked for."""
        return self._name

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return self._dimension

    @property
    def cheap(self) -> bool:
        """A forward pass takes milliseconds."""
        return False

    def embed_documents(self, texts: list[str]) -> Vectors:
        """Vectors of passages."""
        return self._encode(texts)

    def embed_queries(self, texts: list[str]) -> Vectors:
        """Vectors of searches."""
        return self._encode(texts)

    def _encode(self, texts: list[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self._dimension), np.float32)
        encoded = self._model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(encoded, np.float32)
