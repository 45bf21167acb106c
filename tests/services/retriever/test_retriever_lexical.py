from __future__ import annotations

import bm25s
import numpy as np
import pytest

from services.lexicon.tokenise import terms
from services.retriever.lexical import LexicalIndex, PassageTerms, Vocabulary
from services.retriever.passage import Passage
from services.retriever.ranking import fuse, top_rows, with_documents

TEXTS = [
    "The scheduler stops all DRX timers of the UE.",
    "DRX saves power; DRX timers run in the UE and in the scheduler.",
    "RMR routes messages by type and subscription.",
    "The routing manager sends route tables. Tables hold entries.",
]


def _index(texts: list[str]) -> LexicalIndex:
    vocabulary = Vocabulary()
    passages = [Passage(id=str(n), text=text, source=f"{n}.md", title="", section="") for n, text in enumerate(texts)]
    return LexicalIndex([PassageTerms.of(passage, vocabulary) for passage in passages], vocabulary)


@pytest.mark.parametrize("query", ["DRX timers", "routing tables of RMR", "power scheduler UE message", "unseen words"])
def test_scores_are_those_of_the_bm25s_library(query: str) -> None:
    oracle = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    oracle.index([terms(text) for text in TEXTS], show_progress=False)
    known = [term for term in dict.fromkeys(terms(query)) if term in oracle.vocab_dict]
    expected = oracle.get_scores(known) if known else np.zeros(len(TEXTS))
    index = _index(TEXTS)
    np.testing.assert_allclose(index.scores(index.query(query)), expected, rtol=1e-5)


def test_a_term_that_no_passage_has_weighs_as_much_as_the_rarest_could() -> None:
    index = _index(TEXTS)
    query = index.query("DRX quaternion")
    assert query.unknown == 1
    assert query.unknown_weight == pytest.approx(np.log(1 + (len(TEXTS) + 0.5) / 0.5))
    assert query.total_weight == pytest.approx(query.unknown_weight + float(query.weights.sum()))


def test_the_greatest_score_bounds_every_score() -> None:
    index = _index(TEXTS)
    for text in TEXTS:
        query = index.query(text)
        assert float(index.scores(query).max()) <= index.greatest_score(query) + 1e-6


def test_a_passage_of_a_document_with_two_hits_outranks_an_equal_one_that_stands_alone() -> None:
    scores = np.array([1.0, 1.0, 0.8, 0.0], np.float32)
    documents = np.array([0, 1, 1, 1], np.int32)
    ranked = top_rows(with_documents(scores, documents), 10)
    assert ranked.tolist() == [1, 2, 0]  # and the passage without any hit does not appear


def test_fusion_is_the_sum_of_reciprocal_ranks() -> None:
    rows, scores = fuse(np.array([7, 3]), np.array([3, 9]), 0.5)
    expected = {7: 1 / 61, 3: 1 / 62 + 0.5 / 61, 9: 0.5 / 62}
    assert rows.tolist() == sorted(expected, key=lambda row: -expected[row])
    np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True), rtol=1e-6)
