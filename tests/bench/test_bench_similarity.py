"""ROUGE-L against values worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.similarity import rouge_l

_TEXTS = st.lists(st.sampled_from(["the", "ric", "a1", "e2", "policy"]), max_size=12).map(" ".join)


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        # Longest common subsequence "police the gunman": 3 of 4 words each way (the example of Lin 2004, section 3.1).
        ("police killed the gunman", "police kill the gunman", 0.75),
        # Only "the gunman" keeps its order: 2 of 4 each way.
        ("police killed the gunman", "the gunman kill police", 0.5),
        # "a1 carries policies": 3 of 5 and 3 of 3 words, and 3 of 4 where the citation's number is one.
        ("the a1 interface carries policies", "A1 carries policies.", 2 * 0.6 * 1.0 / 1.6),
        ("the a1 interface carries policies", "A1 carries policies [1].", 2 * 0.6 * 0.75 / 1.35),
        ("near-RT RIC", "near rt ric", 1.0),
        ("near-RT RIC", "O-DU", 0.0),
        ("", "near-RT RIC", 0.0),
        ("", "", 0.0),
    ],
)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(reference: str, candidate: str, expected: float) -> None:
    assert rouge_l(reference, candidate) == pytest.approx(expected)


def _longest(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, by plain recursion."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + _longest(a[:-1], b[:-1])
    return max(_longest(a[:-1], b), _longest(a, b[:-1]))


@given(reference=_TEXTS.filter(lambda text: len(text.split()) <= 7), candidate=_TEXTS)
def test_rouge_l_agrees_with_plain_recursion_and_is_symmetric(reference: str, candidate: str) -> None:
    a, b = reference.split(), candidate.split()
    expected = 2 * _longest(a, b) / (len(a) + len(b)) if a and b else 0.0
    assert rouge_l(reference, candidate) == pytest.approx(expected)
    assert rouge_l(candidate, reference) == pytest.approx(expected)
