"""The process that remembers how often foci were searched: by hand, against the one that does not, and by recursion."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest

from orchestrator.action import REASON, TERMINATE, Action, retrieve
from orchestrator.action_time import ActionTimes, AnswerMode
from orchestrator.focus_mdp import FocusMdp, FocusState, focus_states, successors
from orchestrator.parameter import MdpParameters
from orchestrator.policy import PolicyState
from orchestrator.policy_book import PolicyBook
from orchestrator.progress import EvidenceTracker
from orchestrator.solved import SolvedProcess, solve
from orchestrator.solver import value_iteration
from orchestrator.strategy import strategy

MEASURED = MdpParameters(
    success_probability=0.5,
    repeat_success_probability=0.1,
    held_closed=0.95,
    held_once=0.6,
    held_twice=0.5,
    reason_success_probability=0.4,
)
TIMES = ActionTimes(
    retrieve_s=(0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09),
    reason_s=0.05,
    free_answer_s=0.01,
    choice_answer_s=0.01,
    extractive_answer_s=0.01,
)


def process(given: MdpParameters, n_foci: int, *, reasons: bool = True) -> FocusMdp:
    mdp = EvidenceTracker(given).process(n_foci, max_fan_out=8, reason_available=reasons)
    assert isinstance(mdp, FocusMdp)
    return mdp


@pytest.mark.parametrize("n_foci", range(1, 9))
def test_states_are_all_ways_to_place_the_foci_in_four_places(n_foci: int) -> None:
    states = focus_states(n_foci)
    assert len(set(states)) == len(states) == math.comb(n_foci + 3, 3)
    assert all(state.closed + state.open_foci == n_foci for state in states)


def test_a_search_takes_foci_never_searched_first_then_those_searched_once_and_no_others() -> None:
    given = MdpParameters(success_probability=0.8, repeat_success_probability=0.1)
    state = FocusState(0, 1, 1, 1)
    chances = dict(successors(state, retrieve(2), given))
    # Both close: 0.8 * 0.1. None does, and each moves one place on: 0.2 * 0.9. The one searched twice stays.
    assert chances == {
        FocusState(2, 0, 0, 1): pytest.approx(0.08),
        FocusState(1, 0, 0, 2): pytest.approx(0.72),
        FocusState(1, 0, 1, 1): pytest.approx(0.02),
        FocusState(0, 0, 1, 2): pytest.approx(0.18),
    }
    assert [state.allows(retrieve(n)) for n in (1, 2, 3)] == [True, True, False]
    assert state.allows(REASON) and not FocusState(3, 0, 0, 0).allows(REASON)


def test_a_note_works_on_one_focus_and_leaves_it_as_it_was_where_it_does_not_close_it() -> None:
    assert list(successors(FocusState(0, 0, 2, 1), REASON, MEASURED)) == [
        (FocusState(0, 0, 2, 1), pytest.approx(0.6)),
        (FocusState(1, 0, 1, 1), pytest.approx(0.4)),
    ]


@pytest.mark.parametrize("n_foci", [1, 2, 3, 5])
def test_searches_that_never_fail_make_it_the_process_without_memory(n_foci: int) -> None:
    sure = MdpParameters(success_probability=1.0, repeat_success_probability=1.0)
    plain = EvidenceTracker(MdpParameters(success_probability=1.0)).process(
        n_foci, max_fan_out=8, reason_available=False
    )
    told = process(sure, n_foci, reasons=False)
    expected, value = value_iteration(plain).value, value_iteration(told).value
    for place, state in enumerate(told.states):
        if not state.twice:
            assert value[place] == pytest.approx(expected[state.closed], abs=1e-9), state


def test_one_focus_by_hand() -> None:
    # Searched once it is worth 0.6 as it is; again: -0.03 + 0.98 * (0.1 * 0.95 + 0.9 * 0.5) = 0.504.
    # Never searched: -0.03 + 0.98 * (0.5 * 0.95 + 0.5 * 0.6) = 0.7295, against nothing.
    value = dict(zip(focus_states(1), value_iteration(process(MEASURED, 1, reasons=False)).value.tolist(), strict=True))
    assert value[FocusState(0, 0, 0, 1)] == pytest.approx(0.5)
    assert value[FocusState(0, 0, 1, 0)] == pytest.approx(0.6)
    assert value[FocusState(0, 1, 0, 0)] == pytest.approx(0.7295)
    assert value[FocusState(1, 0, 0, 0)] == pytest.approx(0.95)


def _plain_value(given: MdpParameters, foci: tuple[str, ...], left_ms: int) -> float:
    """V by recursion over foci one by one, each named by its place; times in whole 10 ms, as TIMES are."""
    worth = {"closed": given.held_closed, "fresh": 0.0, "once": given.held_once, "twice": given.held_twice}
    onward = {"fresh": "once", "once": "twice"}
    chance = {"fresh": given.success_probability, "once": given.repeat_probability}
    order = ["fresh", "once", "twice"]

    @cache
    def value(foci: tuple[str, ...], left_ms: int) -> float:
        best = sum(worth[focus] for focus in foci) / len(foci)
        openly = sorted((n for n, focus in enumerate(foci) if focus != "closed"), key=lambda n: order.index(foci[n]))
        for width in range(1, sum(foci[n] in onward for n in openly) + 1):
            after_ms = left_ms - (10 + 10 * width)
            if after_ms < 10:
                continue
            expected = 0.0
            for closes in itertools.product((True, False), repeat=width):
                after, p = list(foci), 1.0
                for n, closed in zip(openly, closes, strict=False):
                    p *= chance[foci[n]] if closed else 1 - chance[foci[n]]
                    after[n] = "closed" if closed else onward[foci[n]]
                expected += p * value(tuple(after), after_ms)
            best = max(best, given.discount * expected - given.cost_weight * width * given.retrieve_cost)
        if openly and left_ms - 50 >= 10:
            after = list(foci)
            after[openly[0]] = "closed"
            p = given.reason_success_probability
            expected = p * value(tuple(after), left_ms - 50) + (1 - p) * value(foci, left_ms - 50)
            best = max(best, given.discount * expected - given.cost_weight * given.reason_cost)
        return best

    return value(foci, left_ms)


@pytest.mark.parametrize("left_ms", [10, 30, 70, 160])
@pytest.mark.parametrize("n_foci", [1, 2, 3])
def test_with_a_budget_it_is_worth_what_a_plain_recursion_over_single_foci_says(n_foci: int, left_ms: int) -> None:
    solved = SolvedProcess(
        solution=solve(process(MEASURED, n_foci), TIMES, mode=AnswerMode.FREE, extractive_quality=1.0, horizon_s=0.3),
        n_foci=n_foci,
        mode=AnswerMode.FREE,
        parameters=MEASURED,
        times=TIMES,
        tracker=EvidenceTracker(MEASURED),
    )
    places = ("closed", "fresh", "once", "twice")
    for foci in itertools.combinations_with_replacement(places, n_foci):
        count = {place: foci.count(place) for place in places}
        evaluation = solved.evaluate(count["closed"] / n_foci, left_ms / 1000, searched=(count["once"], count["twice"]))
        value = max(evaluation.end_value, float(evaluation.values.max()))
        assert value == pytest.approx(_plain_value(MEASURED, foci, left_ms), abs=1e-9), foci


@pytest.mark.parametrize("left_s", [None, 1.0])
def test_a_focus_that_a_search_left_open_is_not_searched_again_where_that_brings_too_little(
    left_s: float | None,
) -> None:
    policy = PolicyBook(MEASURED).policy(strategy("mdp"), n_foci=2, mode=AnswerMode.FREE)

    def action(searched: tuple[int, int], progress: float = 0.0) -> Action:
        open_foci = 2 - round(2 * progress)
        state = PolicyState(progress=progress, open_foci=open_foci, searched=searched, time_left_s=left_s)
        return policy.act(state).action

    assert action((0, 0)) == retrieve(2)
    assert action((2, 0)) == action((0, 2)) == TERMINATE
    assert action((1, 0)) == retrieve(1), "one was searched in vain, the other not yet"
    assert action((0, 0), progress=0.5) == retrieve(1)
    assert action((1, 0), progress=0.5) == TERMINATE


def test_transitions_of_eight_foci_are_chances() -> None:
    mdp = process(MEASURED, 8)
    assert mdp.transition.sum(axis=2) == pytest.approx(np.ones((9, len(mdp.states))))
    assert (mdp.transition >= 0).all()
    assert mdp.leave == pytest.approx(1.0 - np.einsum("aii->ai", mdp.transition), abs=1e-12)
