"""Merging, ranking and capping of what searches find."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_stack import passage

from argo.v1 import types_pb2
from orchestrator.evidence import Evidence, RankedList


def evidence(max_passages: int = 10, max_words: int = 2_000) -> Evidence:
    return Evidence(max_passages, max_words)


def ranked(*passages: types_pb2.Passage, focus_id: str = "f1", text: str = "find") -> RankedList:
    return RankedList(focus_id, text, passages)


def test_a_passage_found_twice_is_kept_once_with_its_larger_relevance() -> None:
    found = evidence()
    assert found.add(ranked(passage("a", relevance=0.3, foci={"f1": 0.3, "f2": 0.6}))) == 1
    assert found.add(ranked(passage("a", relevance=0.5, foci={"f1": 0.1, "f3": 0.2}), text="again")) == 0
    [kept] = found.kept()
    assert kept.relevance == 0.5
    assert {entry.focus_id: entry.relevance for entry in kept.focus_relevance} == {"f1": 0.3, "f2": 0.6, "f3": 0.2}


def test_the_same_words_under_another_id_are_one_passage() -> None:
    found = evidence()
    found.add(ranked(passage("a", "The E2 node."), passage("b", "the e2  NODE"), passage("c", "The E1 node.")))
    assert [entry.id for entry in found.kept()] == ["a", "c"]
    assert len(found) == 2


def test_what_was_found_is_not_changed_by_merging() -> None:
    first = passage("a", relevance=0.3)
    found = evidence()
    found.add(ranked(first))
    found.add(ranked(passage("a", relevance=0.9), text="again"))
    assert first.relevance == 0.3


def test_a_passage_in_two_lists_outranks_the_firsts_of_one() -> None:
    found = evidence()
    found.add(ranked(passage("a"), passage("both"), focus_id="f1", text="one"))
    found.add(ranked(passage("b"), passage("both"), focus_id="f2", text="two"))
    # 1/11 + 1/11 for the shared one against 1/10, worked by hand with k = 10.
    assert [entry.id for entry in found.kept()] == ["both", "a", "b"]


def test_a_narrow_cap_keeps_the_best_of_each_list() -> None:
    found = evidence(max_passages=2)
    found.add(ranked(passage("a1"), passage("a2"), passage("a3"), focus_id="f1", text="one"))
    found.add(ranked(passage("b1"), passage("b2"), focus_id="f2", text="two"))
    assert {entry.id for entry in found.kept()} == {"a1", "b1"}


def test_ten_passages_and_two_thousand_words_are_the_most() -> None:
    found = evidence()
    found.add(ranked(*(passage(f"p{n:02}", f"n{n} " * 250) for n in range(20))))
    assert len(found.kept()) == 8
    found = evidence()
    found.add(ranked(*(passage(f"p{n:02}", f"n{n} " * 10) for n in range(20))))
    assert len(found.kept()) == 10


def test_a_passage_too_long_for_the_rest_gives_way_to_a_shorter_one() -> None:
    found = evidence(max_words=100)
    found.add(ranked(passage("a", "a " * 60), passage("b", "b " * 60), passage("c", "c " * 40)))
    assert [entry.id for entry in found.kept()] == ["a", "c"]


@pytest.mark.parametrize("again", ["What is E2?", "what is  e2", "WHAT, is: E2!"])
def test_a_text_counts_as_searched_apart_from_case_and_punctuation(again: str) -> None:
    found = evidence()
    assert not found.has_searched(again)
    found.add(ranked(text="What is E2?"))
    assert found.has_searched(again)
    assert not found.has_searched("What is E1?")


def test_relevance_is_looked_up_among_the_kept_only() -> None:
    found = evidence(max_passages=1)
    found.add(ranked(passage("a", foci={"f1": 0.2}), passage("b", foci={"f1": 0.9})))
    assert found.best_relevance("f1", found.kept()) == 0.2
    assert found.best_relevance("f2", found.kept()) == 0.0


PASSAGES = st.builds(
    lambda n, words, relevance: passage(f"p{n}", f"text{n} " * (words + n), relevance / 10, {"f1": relevance / 10}),
    st.integers(0, 15),
    st.just(1),
    st.integers(0, 10),
)
LISTS = st.lists(
    st.tuples(st.sampled_from(["", "f1", "f2"]), st.lists(PASSAGES, max_size=8, unique_by=lambda p: p.id)), max_size=6
)


@given(lists=LISTS, max_passages=st.integers(1, 12), max_words=st.integers(1, 120))
def test_what_is_kept_is_within_the_caps_unique_and_was_found(
    lists: list[tuple[str, list[types_pb2.Passage]]], max_passages: int, max_words: int
) -> None:
    found = evidence(max_passages, max_words)
    new = sum(
        found.add(RankedList(focus_id, f"text {n}", tuple(passages))) for n, (focus_id, passages) in enumerate(lists)
    )
    kept = found.kept()
    ids = [entry.id for entry in kept]
    everything = {entry.id for _, passages in lists for entry in passages}
    assert len(ids) == len(set(ids)) <= max_passages
    assert sum(len(entry.text.split()) for entry in kept) <= max_words
    assert set(ids) <= everything
    assert new == len(found) == len(everything)
    # Nothing that still fits is left out.
    if len(ids) < max_passages:
        left = max_words - sum(len(entry.text.split()) for entry in kept)
        sizes = {entry.id: len(entry.text.split()) for _, passages in lists for entry in passages}
        assert all(sizes[identity] > left for identity in everything - set(ids))


@given(lists=LISTS, seed=st.integers(0, 100))
def test_what_is_kept_does_not_depend_on_which_search_came_back_first(
    lists: list[tuple[str, list[types_pb2.Passage]]], seed: int
) -> None:
    searches = [RankedList(focus_id, f"text {n}", tuple(passages)) for n, (focus_id, passages) in enumerate(lists)]
    shuffled = list(searches)
    random.Random(seed).shuffle(shuffled)
    one, other = evidence(5, 60), evidence(5, 60)
    for search in searches:
        one.add(search)
    for search in shuffled:
        other.add(search)
    # `score` is left out: it is comparable within one search only, and stays that of the first that came back.
    assert [(entry.id, entry.relevance) for entry in one.kept()] == [(e.id, e.relevance) for e in other.kept()]
