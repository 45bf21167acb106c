"""What is asked: the sample, the variants, the turns; and what of it reaches the stack."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo.errors import InvalidArgumentError
from bench.item import choice_items, evidence_items
from bench.oran_bench import ChoiceQuestion
from bench.question import Evidence, Question
from bench.sample import Split, in_split, stratified
from bench.strategies import Plan
from bench.variant import VARIANTS, variant


def _rows(**sizes: int) -> list[ChoiceQuestion]:
    return [
        ChoiceQuestion(f"{name}:{number}", f"{name} {number}?", ("a", "b", "c", "d"), 0, name)
        for name, size in sizes.items()
        for number in range(size)
    ]


def test_each_difficulty_gets_the_same_number_and_what_one_lacks_the_others_give() -> None:
    drawn = stratified(_rows(easy=3, medium=100, hard=20), 30, np.random.default_rng(0))
    # 30 / 3 is 10 each; easy has 3, and the other 27 are shared by two.
    assert Counter(row.difficulty for row in drawn) == {"easy": 3, "medium": 14, "hard": 13}


def test_a_sample_is_the_same_for_a_seed_and_another_for_another() -> None:
    rows = _rows(easy=50, medium=50)
    drawn = [[row.id for row in stratified(rows, 20, np.random.default_rng(seed))] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@given(easy=st.integers(0, 9), medium=st.integers(0, 9), hard=st.integers(1, 9), share=st.floats(0, 1))
def test_a_sample_has_as_many_different_rows_as_asked_for(easy: int, medium: int, hard: int, share: float) -> None:
    rows = _rows(easy=easy, medium=medium, hard=hard)
    wanted = max(1, round(share * len(rows)))
    drawn = stratified(rows, wanted, np.random.default_rng(0))
    assert len({row.id for row in drawn}) == len(drawn) == wanted
    counts = Counter(row.difficulty for row in drawn)
    # No difficulty has more than another that still has rows left, but for the remainder of the division.
    left = [counts[name] for name, size in (("easy", easy), ("medium", medium), ("hard", hard)) if counts[name] < size]
    assert not left or max(counts.values()) - min(left) <= 1


def test_more_rows_than_there_are_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"rows must be in 0\.\.4, got 5"):
        stratified(_rows(easy=4), 5, np.random.default_rng(0))


def test_every_row_is_of_one_split_and_one_in_five_is_dev() -> None:
    rows = _rows(easy=5_000)
    dev = [row for row in rows if in_split(row, Split.DEV)]
    assert all(in_split(row, Split.ALL) and in_split(row, Split.DEV) != in_split(row, Split.TEST) for row in rows)
    # Binomial of 5,000 and 0.2: mean 1,000, standard deviation 28.
    assert 880 < len(dev) < 1_120


@given(n=st.integers(2, 10), seed=st.integers(0, 100), row_id=st.text(max_size=5))
def test_permuted_options_are_in_another_order_and_map_back(n: int, seed: int, row_id: str) -> None:
    options = [f"option {number}" for number in range(n)]
    shown = variant("permuted", options, seed=seed, row_id=row_id)
    assert sorted(shown.options) == options
    assert list(shown.options) != options
    assert [options[place] for place in shown.places] == list(shown.options)
    # The figure of each shown option is its number, and comes back to that place.
    assert shown.as_came([float(option.split()[1]) for option in shown.options]) == [float(place) for place in range(n)]


@given(seed=st.integers(0, 100), row_id=st.text(max_size=5))
def test_lengthened_options_hold_the_options_in_their_order(seed: int, row_id: str) -> None:
    options = ["E2", "A1 interface", "x" * 999]
    shown = variant("lengthened", options, seed=seed, row_id=row_id)
    assert all(option in longer.split("  ")[0] for option, longer in zip(options, shown.options, strict=True))
    assert shown.places == (0, 1, 2)
    assert all(len(longer) <= 1_000 for longer in shown.options)


def test_lengthening_makes_another_option_the_longest_in_many_rows() -> None:
    options = ["one", "the two", "a three to be", "four"]
    longest = Counter(
        max(range(4), key=lambda place: len(shown.options[place]))
        for shown in (variant("lengthened", options, seed=0, row_id=str(number)) for number in range(200))
    )
    assert min(longest[place] for place in range(4)) > 20


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="variant must be one of permuted, lengthened, got 'upside'"):
        Plan(choice_items("set", _rows(easy=1)), ["mdp"], [0], ["upside"])


def test_nothing_but_question_and_options_reaches_the_stack() -> None:
    evidence = Question(
        id="q", question="What?", answer="secret", evidence=(Evidence(path="secret.md", support="secret"),)
    )
    items = [*choice_items("set", _rows(easy=2)), *evidence_items("other", [evidence])]
    for turn in Plan(items, ["mdp", "fixed"], [1000, 0], VARIANTS, seed=3).turns():
        request = turn.request()
        assert request.question == turn.item.text
        assert request.options == turn.shown.options
        assert (request.strategy, request.budget_ms, request.limits) == (turn.strategy, turn.budget_ms, None)
        assert "secret" not in repr(request)


def test_strategies_take_turns_and_another_one_begins_each_time() -> None:
    plan = Plan(choice_items("set", _rows(easy=3)), ["mdp", "fixed", "random"], [0])
    assert [turn.strategy for turn in plan.turns()] == [
        *("mdp", "fixed", "random"),
        *("fixed", "random", "mdp"),
        *("random", "mdp", "fixed"),
    ]


def test_variants_are_asked_without_a_budget_where_that_is_asked_for() -> None:
    items = choice_items("set", _rows(easy=1))
    asked = [(turn.budget_ms, turn.variant) for turn in Plan(items, ["mdp"], [1000, 0], VARIANTS).turns()]
    assert asked == [(1000, "plain"), (0, "plain"), (0, "permuted"), (0, "lengthened")]
    only = [(turn.budget_ms, turn.variant) for turn in Plan(items, ["mdp"], [500], VARIANTS).turns()]
    assert only == [(500, "plain"), (500, "permuted"), (500, "lengthened")]


def test_random_draws_differ_between_questions_but_not_between_runs() -> None:
    plan = Plan(choice_items("set", _rows(easy=20)), ["random"], [0], seed=5)
    seeds = [turn.request().seed for turn in plan.turns()]
    assert len(set(seeds)) == 20
    assert seeds == [turn.request().seed for turn in plan.turns()]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"items": []}, "give --oran-bench or --questions"),
        ({"budgets_ms": [10]}, r"budget_ms must be 0 \(none\) or in 50\.\.60000, got 10"),
    ],
)
def test_a_plan_that_cannot_be_is_named(fields: dict[str, list[int]], named: str) -> None:
    given_fields = {"items": choice_items("set", _rows(easy=1)), "strategies": ["mdp"], "budgets_ms": [0]}
    with pytest.raises(InvalidArgumentError, match=named):
        Plan(**{**given_fields, **fields})  # type: ignore[arg-type]
