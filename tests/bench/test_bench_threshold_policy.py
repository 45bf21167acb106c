"""What two thresholds are worth, against hand-worked values, brute force and the production solvers."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.threshold_policy import ThresholdPairs, best_pair, budgeted_value, stationary_value
from orchestrator.action import REASON, Action
from orchestrator.mdp import ProgressMdp
from orchestrator.parameter import MdpParameters
from orchestrator.progress import ConstantTracker, EvidenceTracker
from orchestrator.quality import QUALITIES, quality
from orchestrator.solver import TIE, Way, backward_induction, choose, value_iteration
from orchestrator.solver import action_value as q_values
from orchestrator.threshold import find_thresholds

parameter_sets = st.builds(
    MdpParameters,
    retrieve_gain=st.sampled_from([0.1, 0.25, 0.45]),
    reason_gain=st.sampled_from([0.05, 0.08, 0.3]),
    success_probability=st.floats(0.1, 1.0),
    reason_success_probability=st.floats(0.05, 1.0),
    retrieve_cost=st.floats(0.0, 0.3),
    reason_cost=st.floats(0.001, 0.3),
    cost_weight=st.floats(0.1, 2.0),
    discount=st.sampled_from([0.9, 0.98, 1.0]),
    quality=st.builds(quality, st.sampled_from(QUALITIES), st.floats(1.0, 20.0)),
)


def _evidence(n_foci: int, *, reason: bool = True, **fields: Any) -> ProgressMdp:
    tracker = EvidenceTracker(MdpParameters(**fields))
    return tracker.process(n_foci, max_fan_out=8, reason_available=reason)


def test_one_focus_that_is_searched_for_until_it_closes_is_worth_its_geometric_series() -> None:
    mdp = _evidence(1, success_probability=0.8, retrieve_cost=0.05, cost_weight=0.6, discount=0.98)
    pairs = ThresholdPairs(np.array([0, 1, 0]), np.array([0, 1, 1]))
    end, retrieve, reason = stationary_value(mdp, pairs)[0]
    assert end == 0.0
    # V = -0.03 + 0.98 (0.8 + 0.2 V), and with a note, p_p = 0.3: V = -0.012 + 0.98 (0.3 + 0.7 V).
    assert retrieve == pytest.approx((0.98 * 0.8 - 0.03) / (1 - 0.98 * 0.2), abs=1e-12)
    assert reason == pytest.approx((0.98 * 0.3 - 0.012) / (1 - 0.98 * 0.7), abs=1e-12)


def test_thresholds_that_never_gain_anything_are_worth_what_they_cost_without_end() -> None:
    discounted = _evidence(1, reason_success_probability=0.0, discount=0.98)
    forever = ThresholdPairs(np.array([0]), np.array([1]))
    assert stationary_value(discounted, forever)[0, 0] == pytest.approx(-0.6 * 0.02 / (1 - 0.98))
    undiscounted = _evidence(1, reason_success_probability=0.0, discount=1.0)
    assert stationary_value(undiscounted, forever)[0, 0] == -np.inf


def _policy_value(mdp: ProgressMdp, chosen: list[Action | None]) -> np.ndarray:
    """V of one policy by solving its linear equations, (n_progress,)."""
    n = mdp.n_progress
    left, right = np.eye(n), mdp.end_value.copy()
    for i, action in enumerate(chosen):
        if action is not None:
            a = mdp.actions.index(action)
            left[i] -= mdp.discount * mdp.successor(float(mdp.progress[i]))[a]
            right[i] = -mdp.cost[a]
    return np.asarray(np.linalg.solve(left, right))


@pytest.mark.parametrize("sigma", QUALITIES)
def test_a_pair_is_worth_the_best_of_all_fan_outs_by_brute_force(sigma: str) -> None:
    mdp = _evidence(3, quality=quality(sigma), retrieve_cost=0.2, cost_weight=0.5, reason_success_probability=0.5)
    pairs = ThresholdPairs.all_of(mdp)
    assert len(pairs.cont) == 4 * 5 // 2
    value = stationary_value(mdp, pairs)[0]
    for cont, star, got in zip(pairs.cont, pairs.star, value, strict=True):
        choices: list[list[Action | None]] = []
        for i in range(mdp.n_progress):
            retrieves = [each for each in mdp.actions if each != REASON and each.fan_out <= 3 - i]
            choices.append(list(retrieves) if i < cont and i < 3 else [REASON] if i < star and i < 3 else [None])
        best = max(_policy_value(mdp, list(chosen))[0] for chosen in itertools.product(*choices))
        assert got == pytest.approx(best, abs=1e-9)


@settings(max_examples=40)
@given(parameters=parameter_sets, n_foci=st.integers(1, 5), constant=st.booleans(), reason=st.booleans())
def test_no_two_thresholds_beat_the_optimum_and_those_that_are_the_table_reach_it(
    parameters: MdpParameters, n_foci: int, constant: bool, reason: bool
) -> None:
    tracker = ConstantTracker(parameters, n_progress=31) if constant else EvidenceTracker(parameters)
    mdp = tracker.process(n_foci, max_fan_out=4, reason_available=reason)
    optimum = value_iteration(mdp).value
    pairs = ThresholdPairs.all_of(mdp)
    value = stationary_value(mdp, pairs)
    assert np.all(value <= optimum[:, None] + 1e-7)
    best = [choose(float(mdp.end_value[i]), q_values(mdp, float(u), optimum)) for i, u in enumerate(mdp.progress)]
    kinds = [Action(REASON.kind.TERMINATE) if index is None else mdp.actions[index] for index in best]
    found = find_thresholds(mdp.progress.tolist(), kinds)
    if found.describes_table:
        named = ThresholdPairs.one(mdp, found.theta_cont, found.theta_star)
        assert stationary_value(mdp, named)[:, 0] == pytest.approx(optimum, abs=1e-6)
        assert best_pair(mdp, pairs, value[0]).value == pytest.approx(optimum[0], abs=1e-6)


def _plan(mdp: ProgressMdp, steps: dict[Action, int], slack: int, **fields: Any) -> Any:
    ways = [
        Way(action=index, time_us=steps[action] * 1000, for_model=action == REASON)
        for index, action in enumerate(mdp.actions)
        if action in steps
    ]
    return backward_induction(mdp, ways, horizon_us=slack * 1000, step_us=1000, **fields)


def test_as_many_tries_as_fit_in_the_budget_and_then_the_answer() -> None:
    mdp = _evidence(1, success_probability=0.8, retrieve_cost=0.05, cost_weight=0.6, discount=0.98)
    retrieve = next(action for action in mdp.actions if action != REASON)
    plan = _plan(mdp, {retrieve: 4, REASON: 5}, 9)
    pairs = ThresholdPairs(np.array([1, 0]), np.array([1, 1]))
    # Four steps a search: none fits in 3, one in 4..7, two in 8 and 9. Five a note: one in 5..9.
    one, note = -0.03 + 0.98 * 0.8, -0.012 + 0.98 * 0.3
    two = -0.03 + 0.98 * (0.8 + 0.2 * one)
    for slack, expected in ((3, (0.0, 0.0)), (4, (one, 0.0)), (7, (one, note)), (8, (two, note)), (9, (two, note))):
        assert budgeted_value(mdp, pairs, plan, 1.0, slack)[0] == pytest.approx(expected, abs=1e-12)


def test_an_answer_without_the_model_is_worth_less_under_thresholds_too() -> None:
    mdp = _evidence(1, discount=1.0, cost_weight=0.6, retrieve_cost=0.05, success_probability=1.0)
    retrieve = next(action for action in mdp.actions if action != REASON)
    plan = _plan(mdp, {retrieve: 4}, 6, model_from=2, early_quality=0.5)
    pairs = ThresholdPairs(np.array([1]), np.array([1]))
    # After the search of 4 there is slack for the model's answer from 6 on, and before that half of it is worth it.
    assert budgeted_value(mdp, pairs, plan, 0.5, 5)[0, 0] == pytest.approx(0.5 - 0.03)
    assert budgeted_value(mdp, pairs, plan, 0.5, 6)[0, 0] == pytest.approx(1.0 - 0.03)


@settings(max_examples=25)
@given(parameters=parameter_sets, n_foci=st.integers(1, 4), slack=st.integers(0, 60))
def test_no_two_thresholds_beat_the_optimum_with_a_budget(parameters: MdpParameters, n_foci: int, slack: int) -> None:
    mdp = EvidenceTracker(parameters).process(n_foci, max_fan_out=8, reason_available=True)
    steps = {action: 7 if action == REASON else 4 + action.fan_out for action in mdp.actions}
    plan = _plan(mdp, steps, slack, model_from=3, early_quality=0.7)
    pairs = ThresholdPairs.all_of(mdp)
    value = budgeted_value(mdp, pairs, plan, 0.7, slack)
    assert np.all(value <= plan.row(slack)[:, None] + TIE)
    # Ending at once is among the pairs.
    assert best_pair(mdp, pairs, value[0]).value >= (1.0 if slack >= 3 else 0.7) * mdp.end_value[0] - TIE


def test_with_time_enough_a_budget_changes_nothing() -> None:
    mdp = _evidence(3, success_probability=0.8)
    plan = _plan(mdp, {action: 2 for action in mdp.actions}, 400)
    pairs = ThresholdPairs.all_of(mdp)
    assert budgeted_value(mdp, pairs, plan, 1.0, 400) == pytest.approx(stationary_value(mdp, pairs), abs=1e-6)


def test_of_equal_pairs_the_one_that_ends_earliest_is_named() -> None:
    # Searches are useless and dear: whoever ends at once is best, and pairs that end there are many.
    mdp = _evidence(2, success_probability=0.0, reason=False)
    pairs = ThresholdPairs.all_of(mdp)
    assert np.array_equal(pairs.cont, pairs.star)
    best = best_pair(mdp, pairs, stationary_value(mdp, pairs)[0])
    assert (best.theta_cont, best.theta_star, best.value) == (0.0, 0.0, 0.0)
