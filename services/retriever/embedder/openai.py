"""Embeddings from any server that speaks the OpenAI API: vLLM, text-embeddings-inference, Ollama, llama.cpp."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Final

import numpy as np

from argo.errors import InvalidArgumentError, NotReadyError, UnavailableError
from services.retriever.embedder import Vectors

__all__ = ["OpenAiEmbedder"]

_TIMEOUT_S: Final = 30.0
_BATCH: Final = 64


class OpenAiEmbedder:
    """The /embeddings endpoint of one server.

    Args:
        address: Base URL, such as http://127.0.0.1:8000/v1, and after a "#" the model; without one the server's first
            model is taken.

    Raises:
        InvalidArgumentError: Not an http or https URL.
        NotReadyError: The server does not offer embeddings.
        UnavailableError: The server cannot be reached.
    """

    def __init__(self, address: str) -> None:
        self._url, _, model = address.partition("#")
        self._url = self._url.rstrip("/")
        if urllib.parse.urlsplit(self._url).scheme not in ("http", "https"):
            raise InvalidArgumentError(f"embedder openai:<url> must name an http or https URL, got {address!r}")
        self._name = f"openai:{address}"
        self._model = model or self._first_model()
        self._dimension = int(self._embed(["width"]).shape[1])

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
        """A network round trip."""
        return False

    def embed_documents(self, texts: list[str]) -> Vectors:
        """Vectors of passages."""
        if not texts:
            return np.zeros((0, self._dimension), np.float32)
        return np.concatenate([self._embed(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)])

    def embed_queries(self, texts: list[str]) -> Vectors:
        """Vectors of searches."""
        return self.embed_documents(texts)

    def _first_model(self) -> str:
        reply = self._call("models", None)
        try:
            return str(reply["data"][0]["id"])  # type: ignore[index]  # checked by the except clause
        except (KeyError, IndexError, TypeError) as error:
            raise NotReadyError(f"{self._url}/models lists no model; name one after a '#'") from error

    def _embed(self, texts: list[str]) -> Vectors:
        reply = self._call("embeddings", {"model": self._model, "input": texts})
        try:
            rows = sorted(reply["data"], key=lambda row: row["index"])  # type: ignore[index]
            vectors = np.asarray([row["embedding"] for row in rows], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise NotReadyError(f"{self._url}/embeddings sent no embeddings: {type(error).__name__}") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise NotReadyError(f"{self._url}/embeddings sent {len(vectors)} vectors for {len(texts)} texts")
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)

    def _call(self, path: str, body: object | None) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}/{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                reply: object = json.load(response)
                return reply
        except urllib.error.HTTPError as error:
            raise NotReadyError(f"{self._url}/{path} answered {error.code} {error.reason}") from error
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{self._url}/{path} cannot be reached: {error}") from error
