"""all-MiniLM-L6-v2 on the ONNX runtime, as Chroma ships it: no torch, one download on first use."""

from __future__ import annotations

import numpy as np

from argo.errors import NotReadyError
from services.retriever.chroma import onnx_minilm_function
from services.retriever.embedder import Vectors

__all__ = ["OnnxMiniLmEmbedder"]


class OnnxMiniLmEmbedder:
    """Chroma's own embedding model.

    Raises:
        NotReadyError: The model is not on this machine and cannot be downloaded.
    """

    def __init__(self) -> None:
        self._embed = onnx_minilm_function()
        try:
            probe = self._embed(["width"])
        except Exception as error:
            # The download goes through an HTTP library that Chroma chooses; its exceptions are not part of its API.
            raise NotReadyError(f"embedder 'onnx-minilm' cannot be loaded: {error}") from error
        self._dimension = len(probe[0])

    @property
    def name(self) -> str:
        """Always "onnx-minilm"."""
        return "onnx-minilm"

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
        if not texts:
            return np.zeros((0, self._dimension), np.float32)
        vectors = np.asarray(self._embed(texts), np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)

    def embed_queries(self, texts: list[str]) -> Vectors:
        """Vectors of searches."""
        return self.embed_documents(texts)
