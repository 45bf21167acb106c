"""Paired comparison and guessers, against values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.choice_baseline import baseline_accuracy
from bench.oran_bench import ChoiceQuestion
from bench.paired import compare_paired, mcnemar_p


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        # 2 * (1 + 6) / 2**6: at most one of six the other way.
        (5, 1, 14 / 64),
        # 2 * 1 / 2**10.
        (10, 0, 2 / 1024),
        (3, 3, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_p_is_the_two_sided_binomial_tail(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_p(only_first, only_second) == pytest.approx(p)
    assert mcnemar_p(only_second, only_first) == pytest.approx(p)


def test_mcnemar_p_stays_finite_for_thousands_of_questions() -> None:
    assert 0.0 <= mcnemar_p(3000, 2000) < 1e-40


def test_paired_comparison_counts_who_alone_was_right() -> None:
    found = compare_paired([1, 1, 1, 0, 0], [1, 0, 0, 1, 0], np.random.default_rng(0))
    assert (found.only_first, found.only_second) == (2, 1)
    assert found.difference == pytest.approx(0.2)
    assert found.p == pytest.approx(1.0)


def test_figures_that_are_no_right_or_wrong_have_no_mcnemar() -> None:
    found = compare_paired([0.5, 0.75], [0.25, 0.25], np.random.default_rng(0))
    assert found.p is None
    # Both differences are 0.25 and 0.5, so every resampled mean lies between them.
    assert 0.25 <= found.low <= found.difference == pytest.approx(0.375)
    assert found.difference <= found.high <= 0.5


@given(values=st.lists(st.booleans(), min_size=1, max_size=30))
def test_a_strategy_does_not_differ_from_itself(values: list[bool]) -> None:
    found = compare_paired(values, values, np.random.default_rng(0), resamples=50)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        compare_paired([1, 0], [1], np.random.default_rng(0))


def _question(options: tuple[str, ...], key: int) -> ChoiceQuestion:
    return ChoiceQuestion("fin_E:1", "q?", options, key, "easy")


def test_guessers_get_what_is_worked_by_hand() -> None:
    questions = [
        _question(("a", "bb", "c", "d"), 1),  # longest right; letter 1
        _question(("aa", "bb", "c", "d"), 0),  # two longest: one half
        _question(("long one", "b", "All of the above", "d"), 2),  # all of the above right, and the longest
        _question(("a", "b"), 1),  # two equally long: one half
    ]
    found = baseline_accuracy(questions)
    assert found["chance"] == pytest.approx((0.25 + 0.25 + 0.25 + 0.5) / 4)
    assert found["longest option"] == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)
    assert found["most common letter"] == pytest.approx(2 / 4)
    assert found["all of the above, else longest"] == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)


def test_all_of_the_above_wins_over_a_longer_option() -> None:
    question = _question(("a very much longer option than that", "b", "All of the above"), 2)
    found = baseline_accuracy([question])
    assert found["longest option"] == 0.0
    assert found["all of the above, else longest"] == 1.0
