from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesizer.confidence import answer_confidence
from services.synthesizer.engine import EvidencePassage
from services.synthesizer.extractive import read_evidence

_TEXT = "The near-RT RIC hosts the xApps of several vendors."


def _confidence(question: str, relevance: float, focus: dict[str, float] | None = None) -> float:
    evidence = [EvidencePassage("p", _TEXT, relevance=relevance, focus_relevance=focus or {})]
    return answer_confidence(question, evidence, read_evidence(evidence))


def test_relevance_is_the_confidence_where_no_word_is_missing() -> None:
    assert _confidence("Which RIC hosts xApps?", 0.5) == pytest.approx(0.5)
    assert _confidence("Which RIC hosts xApps?", 0.2) == pytest.approx(0.2, abs=0.01)


def test_word_that_no_passage_has_lowers_it() -> None:
    assert _confidence("Which licence price do xApps have?", 0.5) < _confidence("Which RIC hosts xApps?", 0.5)


def test_relevance_to_a_focus_counts_beside_that_to_the_searched_text() -> None:
    assert (
        _confidence("Which RIC hosts xApps?", 0.5, {"f1": 0.1})
        < 0.5
        < _confidence("Which RIC hosts xApps?", 0.5, {"f1": 0.9})
    )


def test_no_evidence_gives_none() -> None:
    assert answer_confidence("Which RIC?", [], []) == 0.0


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_relevance_never_lowers_it(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert _confidence("Which RIC hosts xApps?", low) <= _confidence("Which RIC hosts xApps?", high)
