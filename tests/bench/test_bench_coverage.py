"""Accuracy at a coverage and over difficulties, against values worked by hand and by brute force."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo.errors import InvalidArgumentError
from bench.coverage import Graded, cover_accuracy, parse_coverages, pick, surest
from bench.stratum import macro_mean, weighted_mean


def _graded(*pairs: tuple[bool, float]) -> list[Graded]:
    return [Graded(str(number), correct, confidence) for number, (correct, confidence) in enumerate(pairs)]


def test_accuracy_is_that_of_the_surest() -> None:
    rows = _graded((True, 0.9), (False, 0.3), (True, 0.8), (False, 0.7), (True, 0.2))
    # By confidence: right, right, wrong, wrong, right.
    found = {share: cover_accuracy(rows, share) for share in (1.0, 0.6, 0.4, 0.2)}
    assert [found[share].n for share in (1.0, 0.6, 0.4, 0.2)] == [5, 3, 2, 1]
    assert [found[share].accuracy for share in (1.0, 0.6, 0.4, 0.2)] == [0.6, pytest.approx(2 / 3), 1.0, 1.0]
    assert [found[share].least_confidence for share in (1.0, 0.6, 0.4)] == [0.2, 0.7, 0.8]
    # Wilson by hand for 1 of 1: 1 / (1 + 1.96^2) to 1.
    assert (found[0.2].low, found[0.2].high) == (pytest.approx(0.2065, abs=1e-4), 1.0)


def test_a_failed_question_is_the_last_to_be_answered() -> None:
    rows = _graded((False, -1.0), (True, 0.0))
    assert cover_accuracy(rows, 0.5).accuracy == 1.0


@given(
    values=st.lists(st.tuples(st.booleans(), st.sampled_from([0.25, 0.5, 0.75])), min_size=1, max_size=12),
    share=st.floats(0.01, 1),
    order=st.randoms(use_true_random=False),
)
def test_the_surest_are_a_top_set_whatever_the_order_of_the_rows(
    values: list[tuple[bool, float]], share: float, order: object
) -> None:
    rows = _graded(*values)
    kept = surest(rows, share)
    left = [row for row in rows if row not in kept]
    assert all(one.confidence >= other.confidence for one, other in itertools.product(kept, left))
    assert surest(rows[::-1], share) == kept


def test_the_most_probable_option_is_picked() -> None:
    assert pick([0.2, 0.5, 0.3], "q") == 1
    assert pick([], "q") is None


def test_equal_options_are_drawn_alike_whatever_their_place() -> None:
    picked = Counter(pick([0.25] * 4, f"q{number}") for number in range(2_000))
    # Binomial of 2,000 and 1/4: mean 500, standard deviation 19.4.
    assert all(abs(picked[place] - 500) < 80 for place in range(4))
    # Only those that are equal to the largest are drawn from.
    assert {pick([0.1, 0.4, 0.1, 0.4], f"q{number}") for number in range(50)} == {1, 3}


def test_coverages_are_read_largest_first() -> None:
    assert parse_coverages("0.3,1, 0.5,1") == [1.0, 0.5, 0.3]


@pytest.mark.parametrize(
    ("text", "named"), [("0,1", "above 0 and at most 1, got 0"), ("1.5", "got 1.5"), ("half", "got 'half'")]
)
def test_a_coverage_that_is_none_is_named(text: str, named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        parse_coverages(text)


def test_macro_and_weighted_means_by_hand() -> None:
    strata = {"easy": [1.0, 1.0], "medium": [1.0, 0.0, 0.0, 0.0], "hard": [0.0]}
    # Means 1, 1/4, 0; over three, and with weights 2 : 6 : 2.
    assert macro_mean(strata, np.random.default_rng(0)).value == pytest.approx(1.25 / 3)
    weighted = weighted_mean(strata, {"easy": 20, "medium": 60, "hard": 20, "none": 5}, np.random.default_rng(0))
    assert weighted.value == pytest.approx(0.2 * 1 + 0.6 * 0.25)
    # easy and hard do not vary; the mean of four draws from 1, 0, 0, 0 is 0 to 3/4 but for a share below 2.5 %:
    # all ones 1/256, three ones 12/256, so that the upper end is 3/4 and the lower one 0 (81/256).
    assert (weighted.low, weighted.high) == (pytest.approx(0.2), pytest.approx(0.2 + 0.6 * 0.75))


def test_weights_in_proportion_to_the_strata_give_the_plain_mean() -> None:
    strata = {"a": [1.0, 0.0, 0.0], "b": [1.0]}
    found = weighted_mean(strata, {"a": 3, "b": 1}, np.random.default_rng(0))
    assert found.value == pytest.approx(0.5)


def test_the_interval_of_a_stratified_mean_covers_it() -> None:
    rng = np.random.default_rng(7)
    truth = 0.5 * 0.3 + 0.5 * 0.7
    inside = 0
    for _ in range(200):
        strata = {"a": (rng.random(60) < 0.3).astype(float), "b": (rng.random(60) < 0.7).astype(float)}
        found = weighted_mean(strata, {"a": 1, "b": 1}, rng, resamples=200)
        inside += found.low <= truth <= found.high
    # 95 % of 200 is 190, standard deviation 3; the percentile bootstrap of 120 rows falls short by a point or two.
    assert inside > 176


@pytest.mark.parametrize("weights", [{}, {"a": 0}])
def test_a_stratum_without_weight_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights must be above 0"):
        weighted_mean({"a": [1.0]}, weights, np.random.default_rng(0))
