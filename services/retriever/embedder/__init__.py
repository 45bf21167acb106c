"""Embedders: text to unit vectors, by name behind one port."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from argo.errors import InvalidArgumentError

__all__ = ["EMBEDDER_NAMES", "Embedder", "Vectors", "resolve_embedder"]

Vectors = NDArray[np.float32]

EMBEDDER_NAMES: Final = ("hashing", "sentence-transformers:<name or path>", "onnx-minilm", "openai:<url>#<model>")
"""What a user may name."""


class Embedder(Protocol):
    """Turns texts into vectors of length 1, so that their dot product is their cosine."""

    @property
    def name(self) -> str:
        """The name that was asked for; a collection records it."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        ...

    @property
    def cheap(self) -> bool:
        """Whether a query takes well under a millisecond, so that it may run on the event loop."""
        ...

    def embed_documents(self, texts: list[str]) -> Vectors:
        """Vectors of passages, float32 (len(texts), dimension)."""
        ...

    def embed_queries(self, texts: list[str]) -> Vectors:
        """Vectors of searches, float32 (len(texts), dimension)."""
        ...


def resolve_embedder(name: str) -> Embedder:
    """The embedder that a name stands for; a model loads here, so call it once at start.

    Raises:
        InvalidArgumentError: Unknown name; the message lists those there are.
        NotReadyError: The library or model behind the name is not to be had.
    """
    kind, _, argument = name.partition(":")
    if name == "hashing":
        from services.retriever.embedder.hashing import HashingEmbedder

        return HashingEmbedder()
    if kind == "sentence-transformers" and argument:
        from services.retriever.embedder.sentence_transformer import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(argument)
    if name == "onnx-minilm":
        from services.retriever.embedder.onnx_minilm import OnnxMiniLmEmbedder

        return OnnxMiniLmEmbedder()
    if kind == "openai" and argument:
        from services.retriever.embedder.openai import OpenAiEmbedder

        return OpenAiEmbedder(argument)
    raise InvalidArgumentError(f"embedder must be one of {', '.join(EMBEDDER_NAMES)}, got {name!r}")
