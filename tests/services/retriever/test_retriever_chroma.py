from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from retriever_document import A1, E2, document

from argo.errors import InvalidArgumentError, NotReadyError, UnavailableError
from services.retriever.chroma import open_embedded
from services.retriever.chroma_server import open_server
from services.retriever.embedder.hashing import HashingEmbedder
from services.retriever.retriever import Outcome, Retriever

# Chroma leaves its SQLite connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class _Other(HashingEmbedder):
    @property
    def name(self) -> str:
        return "other"


def test_what_chroma_keeps_is_what_was_indexed(tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    store = open_embedded(tmp_path, "argo", embedder)
    retriever = Retriever(embedder, store)
    retriever.ingest([document("a1.md", A1), document("e2.md", E2)])
    stored, vectors = store.load()
    snapshot = retriever.snapshot
    assert {entry.passage.id: entry for entry in stored} == {entry.passage.id: entry for entry in snapshot.stored}
    rows = [snapshot.rows[entry.passage.id] for entry in stored]
    np.testing.assert_allclose(vectors, snapshot.vectors[rows], atol=1e-6)

    again = Retriever(embedder, store)
    again.load()
    assert [outcome.outcome for outcome in again.ingest([document("a1.md", A1)])] == [Outcome.UNCHANGED]
    again.delete_documents(["a1.md"])
    assert {entry.passage.source for entry in store.load()[0]} == {"e2.md"}
    store.close()


def test_the_nearest_are_those_of_the_exact_cosines(tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    store = open_embedded(tmp_path, "argo", embedder)
    Retriever(embedder, store).ingest([document("a1.md", A1), document("e2.md", E2)])
    stored, vectors = store.load()
    query = embedder.embed_queries(["service models of E2"])
    ids, cosines = store.nearest(query, 2)[0]
    exact = vectors @ query[0]
    best = np.argsort(-exact)[:2]
    assert ids == [stored[place].passage.id for place in best]
    np.testing.assert_allclose(cosines, exact[best], atol=1e-5)
    store.close()


def test_another_embedder_is_refused_and_both_are_named(tmp_path: Path) -> None:
    open_embedded(tmp_path, "argo", HashingEmbedder()).close()
    with pytest.raises(NotReadyError, match=r"'hashing'.*'other'"):
        open_embedded(tmp_path, "argo", _Other())
    # The refusal gave the folder free again.
    open_embedded(tmp_path, "argo", HashingEmbedder()).close()


def _hold(path: str, held: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    store = open_embedded(Path(path), "argo", HashingEmbedder())
    held.set()
    done.wait(60)
    store.close()


def test_a_folder_in_use_by_another_process_is_refused_and_named(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, done))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(NotReadyError, match=str(tmp_path)) as refused:
            open_embedded(tmp_path, "argo", HashingEmbedder())
        assert str(other.pid) in str(refused.value)
    finally:
        done.set()
        other.join(60)
    open_embedded(tmp_path, "argo", HashingEmbedder()).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    # Under a file nobody can make a folder; permissions would not stop root.
    (tmp_path / "file").write_text("")
    with pytest.raises(NotReadyError, match=r"file/index.* cannot be written"):
        open_embedded(tmp_path / "file" / "index", "argo", HashingEmbedder())


def test_a_server_that_is_not_there_is_unavailable_and_a_bad_url_is_refused() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        open_server("http://127.0.0.1:9", "argo", HashingEmbedder())
    with pytest.raises(InvalidArgumentError, match="chroma_url"):
        open_server("ftp://x", "argo", HashingEmbedder())
