from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from argo.errors import InvalidArgumentError, NotReadyError, UnavailableError
from services.retriever.embedder import EMBEDDER_NAMES, resolve_embedder


class _Embeddings(BaseHTTPRequestHandler):
    """An OpenAI-compatible server: each text becomes (its length, 1), and replies come in reverse order."""

    def do_GET(self) -> None:
        self._reply({"data": [{"id": "served-model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["model"] != "served-model":
            self.send_error(404)
            return
        rows = [{"index": at, "embedding": [len(text), 1.0]} for at, text in enumerate(body["input"])]
        self._reply({"data": rows[::-1]})

    def _reply(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Embeddings)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_unknown_embedder_is_refused_with_the_names_there_are() -> None:
    for name in ("word2vec", "sentence-transformers:", "openai:", "", "hashing:512"):
        with pytest.raises(InvalidArgumentError) as refused:
            resolve_embedder(name)
        assert all(known in str(refused.value) for known in EMBEDDER_NAMES)
        assert repr(name) in str(refused.value)


def test_openai_vectors_come_in_the_order_of_the_texts_at_length_one(server_url: str) -> None:
    embedder = resolve_embedder(f"openai:{server_url}")
    assert embedder.dimension == 2
    texts = ["x" * length for length in range(1, 151)]  # more than one batch
    vectors = embedder.embed_documents(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(vectors[:, 0] / vectors[:, 1], np.arange(1, 151), rtol=1e-5)


def test_openai_without_its_model_must_be_put_right_by_an_operator(server_url: str) -> None:
    with pytest.raises(NotReadyError, match="404"):
        resolve_embedder(f"openai:{server_url}#missing")


def test_openai_that_cannot_be_reached_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        resolve_embedder("openai:http://127.0.0.1:9")
    with pytest.raises(InvalidArgumentError, match="http"):
        resolve_embedder("openai:file:///etc/passwd")
