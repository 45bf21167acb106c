from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from retriever_document import A1, E2, PTP, document

from argo.errors import UnavailableError
from services.retriever.embedder import Vectors
from services.retriever.embedder.hashing import HashingEmbedder
from services.retriever.memory import MemoryStore
from services.retriever.passage import PassageRules
from services.retriever.retriever import IncomingDocument, IndexEmptyError, Outcome, Retriever
from services.retriever.search import Filter

ROOT = Path(__file__).resolve().parents[3]


def test_the_passage_that_answers_comes_first(retriever: Retriever) -> None:
    for text, source in [
        ("Which interface connects the Non-RT RIC and the Near-RT RIC?", "a1.md"),
        ("Which service model reports PRB measurements?", "e2.md"),
        ("What keeps the system clock in step?", "sync/ptp.md"),
    ]:
        hits = retriever.search([text], top_k=3)[0]
        assert hits[0].passage.source == source
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_several_texts_give_what_each_gives_alone(retriever: Retriever) -> None:
    texts = ["E2 service models", "A1 policies"]
    together = retriever.search(texts, top_k=2)
    for text, hits in zip(texts, together, strict=True):
        alone = retriever.search([text], top_k=2)[0]
        assert [hit.passage.id for hit in hits] == [hit.passage.id for hit in alone]
        assert [hit.relevance for hit in hits] == pytest.approx([hit.relevance for hit in alone])


def test_relevance_to_a_focus_is_that_of_a_search_for_it(retriever: Retriever) -> None:
    focus = "Which service model reports measurements?"
    by_focus = {hit.passage.id: hit.focus_relevance for hit in retriever.search(["interface"], foci=[focus])[0]}
    by_search = {hit.passage.id: hit.relevance for hit in retriever.search([focus])[0]}
    shared = by_focus.keys() & by_search.keys()
    assert shared
    for key in shared:
        assert by_focus[key] == pytest.approx((by_search[key],))
        assert 0.0 <= by_search[key] <= 1.0


def test_an_answering_passage_is_more_relevant_than_one_to_a_question_off_the_subject(retriever: Retriever) -> None:
    answered = retriever.search(["Which interface connects the Non-RT RIC with the Near-RT RIC?"])[0][0]
    unanswered = retriever.search(["How does a wake-up signal let a phone skip its paging occasions?"])[0]
    assert answered.relevance > 0.5
    assert all(hit.relevance < 0.2 for hit in unanswered)


def test_a_filter_by_source_keeps_only_that_folder(retriever: Retriever) -> None:
    hits = retriever.search(["interface clock"], where=Filter(source_prefixes=("sync/",)))[0]
    assert {hit.passage.source for hit in hits} == {"sync/ptp.md"}
    assert retriever.search(["interface"], where=Filter(working_groups=("WG9",))) == [[]]


def test_the_stores_own_search_finds_what_comparing_all_vectors_finds(make_retriever: Callable[[], Retriever]) -> None:
    documents = [document("a1.md", A1), document("e2.md", E2), document("sync/ptp.md", PTP)]
    exact = make_retriever()
    asking = Retriever(HashingEmbedder(), MemoryStore(), exact_passages=0)
    for each in (exact, asking):
        each.ingest(documents)
    text = "Which interface has policies?"
    found = [[hit.passage.id for hit in each.search([text])[0]] for each in (exact, asking)]
    assert found[0] == found[1]


class _Sentences:
    """A model as far as ranking knows: a text about a clock points one way, any other text another."""

    name, dimension, cheap = "sentence-transformers:two-subjects", 2, True

    def embed_documents(self, texts: list[str]) -> Vectors:
        return np.array([[1.0, 0.0] if "clock" in text else [0.0, 1.0] for text in texts], np.float32)

    embed_queries = embed_documents


def test_a_model_ranks_by_the_open_foci_beside_the_words_of_the_subquery() -> None:
    retriever = Retriever(_Sentences(), MemoryStore())
    retriever.load()
    retriever.ingest(
        [
            IncomingDocument("other.md", "", b"# Power\n\nThe unit draws forty watts.\n"),
            IncomingDocument("sync.md", "", b"# Source\n\nThe clock comes over the fronthaul.\n"),
        ]
    )
    words = "watts fronthaul"  # one word of each passage, so BM25 does not decide
    alone, toward = (retriever.search([words], foci=foci)[0] for foci in ([], ["Where does the clock come from?"]))
    assert [hit.passage.source for hit in alone] == ["other.md", "sync.md"]
    assert [hit.passage.source for hit in toward] == ["sync.md", "other.md"]


def test_an_empty_collection_says_so(make_retriever: Callable[[], Retriever]) -> None:
    with pytest.raises(IndexEmptyError, match="ingest documents first"):
        make_retriever().search(["anything"])


def test_ingest_is_idempotent_and_replaces_what_changed(retriever: Retriever) -> None:
    before = len(retriever.snapshot.stored)
    assert [outcome.outcome for outcome in retriever.ingest([document("a1.md", A1)])] == [Outcome.UNCHANGED]
    assert len(retriever.snapshot.stored) == before
    changed = b"# A1\n\nA quaternion rotates."
    outcome = retriever.ingest([document("a1.md", changed)])[0]
    assert (outcome.outcome, outcome.passages) == (Outcome.REPLACED, 1)
    assert retriever.search(["quaternion"])[0][0].passage.source == "a1.md"
    assert not any("policies guide" in entry.passage.text for entry in retriever.snapshot.stored)
    assert {entry.passage.id for entry in retriever.store.load()[0]} == retriever.snapshot.rows.keys()


def test_other_passage_rules_read_a_document_again(retriever: Retriever) -> None:
    again = Retriever(HashingEmbedder(), retriever.store, PassageRules(words=50))
    again.load()
    assert again.ingest([document("a1.md", A1)])[0].outcome is Outcome.REPLACED


def test_one_bad_document_is_reported_and_the_rest_is_indexed(make_retriever: Callable[[], Retriever]) -> None:
    retriever = make_retriever()
    outcomes = retriever.ingest(
        [
            document("bad.pdf", b"not a PDF"),
            document("good.md", A1),
            document("empty.md", b"\n"),
            IncomingDocument("wrong.md", "", A1, "0" * 64),
            document("picture.png", b"x"),
        ]
    )
    assert [outcome.outcome for outcome in outcomes] == [
        Outcome.FAILED,
        Outcome.INDEXED,
        Outcome.EMPTY,
        Outcome.FAILED,
        Outcome.FAILED,
    ]
    assert "bad.pdf" in outcomes[0].message
    assert "content_hash" in outcomes[3].message
    assert [listed.source for listed in retriever.list_documents()] == ["good.md"]


def test_deleted_documents_are_found_no_more(retriever: Retriever) -> None:
    documents, passages = retriever.delete_documents(["a1.md", "unknown.md"])
    assert documents == 1
    assert passages >= 1
    assert [listed.source for listed in retriever.list_documents()] == ["e2.md", "sync/ptp.md"]
    assert [listed.source for listed in retriever.list_documents("sync/")] == ["sync/ptp.md"]
    assert all(hit.passage.source != "a1.md" for hit in retriever.search(["A1 policies"])[0])


def test_a_restart_finds_what_was_found_before(retriever: Retriever) -> None:
    again = Retriever(HashingEmbedder(), retriever.store)
    again.load()
    for text in ("A1 policies", "clock"):
        found = [[hit.passage for hit in each.search([text])[0]] for each in (again, retriever)]
        assert found[0] == found[1]


def test_a_document_cut_off_in_its_ingest_is_not_listed_and_comes_whole_the_next_time() -> None:
    store = MemoryStore()
    rules = PassageRules(words=40, pack_words=0)
    data = b"\n".join(b"# H%d\n\ntext %d\n" % (number, number) for number in range(3))
    first = Retriever(HashingEmbedder(), store, rules)
    first.ingest([document("a.md", data)])
    store.delete([store.load()[0][0].passage.id])
    again = Retriever(HashingEmbedder(), store, rules)
    again.load()
    assert again.list_documents() == []
    assert again.ingest([document("a.md", data)])[0].outcome is Outcome.REPLACED
    assert [listed.passages for listed in again.list_documents()] == [3]


class _StoppingEmbedder(HashingEmbedder):
    """Waits before it embeds documents, so that a test can search in the middle of an ingest; can be made to fail."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.proceed = threading.Event()
        self.proceed.set()
        self.failing = False

    def embed_documents(self, texts: list[str]) -> Vectors:
        self.entered.set()
        assert self.proceed.wait(10)
        if self.failing:
            raise UnavailableError("the embedding server is down")
        return super().embed_documents(texts)

    def embed_queries(self, texts: list[str]) -> Vectors:
        return super().embed_documents(texts) if self.proceed.is_set() else HashingEmbedder().embed_queries(texts)


def test_searches_do_not_wait_for_an_ingest() -> None:
    embedder = _StoppingEmbedder()
    retriever = Retriever(embedder, MemoryStore())
    retriever.ingest([document("a1.md", A1)])
    embedder.proceed.clear()
    embedder.entered.clear()
    ingest = threading.Thread(target=retriever.ingest, args=([document("e2.md", E2)],))
    ingest.start()
    assert embedder.entered.wait(10)
    try:
        hits = retriever.search(["E2 service model"])[0]
        assert {hit.passage.source for hit in hits} <= {"a1.md"}
    finally:
        embedder.proceed.set()
        ingest.join(10)
    assert retriever.search(["E2 service model"])[0][0].passage.source == "e2.md"


def test_a_failed_embedder_leaves_the_collection_as_it_was() -> None:
    embedder = _StoppingEmbedder()
    retriever = Retriever(embedder, MemoryStore())
    retriever.ingest([document("a1.md", A1)])
    embedder.failing = True
    with pytest.raises(UnavailableError):
        retriever.ingest([document("a1.md", E2)])
    assert [listed.source for listed in retriever.list_documents()] == ["a1.md"]
    embedder.failing = False
    assert retriever.ingest([document("a1.md", E2)])[0].outcome is Outcome.REPLACED


def test_hashed_vectors_are_of_unit_length_and_the_same_in_every_process() -> None:
    text = "The O-DU reports RRU.PrbTotDl."
    program = (
        "from services.retriever.embedder.hashing import HashingEmbedder;"
        f"print(HashingEmbedder().embed_queries([{text!r}])[0].tobytes().hex())"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    here = HashingEmbedder().embed_queries([text])[0]
    assert made == {here.tobytes().hex()}
    assert np.linalg.norm(here) == pytest.approx(1.0)
    assert not HashingEmbedder().embed_queries([""]).any()
