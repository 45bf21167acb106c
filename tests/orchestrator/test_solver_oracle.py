"""Both solvers against hand-worked values, enumeration of all policies, and recursions written without arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from argo.errors import InvalidArgumentError
from orchestrator.action import REASON, TERMINATE, Action, ActionKind, retrieve
from orchestrator.mdp import ProgressMdp
from orchestrator.parameter import MdpParameters
from orchestrator.progress import GRID, ConstantTracker, EvidenceTracker
from orchestrator.quality import QUALITIES, quality
from orchestrator.solver import (
    ConvergenceError,
    Way,
    action_value,
    backward_induction,
    choose,
    value_iteration,
)

DEAR = MdpParameters(
    success_probability=0.45, reason_success_probability=0.25, retrieve_cost=0.1, reason_cost=0.04, discount=0.95
)


def each_in(*times_us: int) -> list[Way]:
    """One way for each action, in the order of the process."""
    return [Way(action=index, time_us=time_us) for index, time_us in enumerate(times_us)]


def outcomes(given: MdpParameters, action: Action) -> list[tuple[float, int]]:
    """Chance of each number of closed foci, written out from the binomial formula."""
    if action == REASON:
        return [(1 - given.reason_success_probability, 0), (given.reason_success_probability, 1)]
    n, p = action.fan_out, given.success_probability
    return [(math.comb(n, k) * p**k * (1 - p) ** (n - k), k) for k in range(n + 1)]


def charge(given: MdpParameters, action: Action) -> float:
    each = given.reason_cost if action == REASON else action.fan_out * given.retrieve_cost
    return given.cost_weight * each


def choices(n_foci: int, closed: int) -> list[Action]:
    open_foci = n_foci - closed
    return [TERMINATE, *(retrieve(n) for n in range(1, open_foci + 1)), *([REASON] if open_foci else [])]


def evidence(given: MdpParameters, n_foci: int) -> ProgressMdp:
    return EvidenceTracker(given).process(n_foci, max_fan_out=8, reason_available=True)


def worth_of_stationary_policy(given: MdpParameters, n_foci: int, policy: tuple[Action, ...]) -> np.ndarray:
    """Solve the linear equations of one policy, one action for each number of closed foci."""
    matrix, constant = np.eye(n_foci + 1), np.zeros(n_foci + 1)
    for closed, action in enumerate(policy):
        if action == TERMINATE:
            constant[closed] = float(given.quality(closed / n_foci))
            continue
        constant[closed] = -charge(given, action)
        for chance, k in outcomes(given, action):
            matrix[closed, closed + k] -= given.discount * chance
    return np.asarray(np.linalg.solve(matrix, constant))


@pytest.mark.parametrize("n_foci", [1, 2, 3])
@pytest.mark.parametrize("sigma", QUALITIES)
@pytest.mark.parametrize("base", [MdpParameters(), DEAR], ids=["default", "dear"])
def test_no_stationary_policy_beats_value_iteration(base: MdpParameters, sigma: str, n_foci: int) -> None:
    given = replace(base, quality=quality(sigma))
    policies = itertools.product(*(choices(n_foci, closed) for closed in range(n_foci + 1)))
    best = np.max([worth_of_stationary_policy(given, n_foci, policy) for policy in policies], axis=0)
    assert value_iteration(evidence(given, n_foci)).value == pytest.approx(best, abs=1e-9)


def test_stationary_value_of_one_focus_by_hand() -> None:
    # One try: -0.6 * 0.05 + 0.98 * (0.8 * 1 + 0.2 * V) = V, so V = (0.784 - 0.03) / (1 - 0.196) = 0.754 / 0.804.
    # REASON: (0.98 * 0.3 - 0.012) / (1 - 0.98 * 0.7) = 0.282 / 0.314 = 0.898, which is less.
    solution = value_iteration(evidence(MdpParameters(), 1))
    assert solution.value == pytest.approx([0.754 / 0.804, 1.0], abs=1e-12)


def test_stationary_value_of_the_constant_tracker_by_hand() -> None:
    # Half-way gains at even odds, cost 0.1 a try, no discount: V(0.5) = (0.5 - 0.1) / 0.5 = 0.8 and
    # V(0) = (0.5 * 0.8 - 0.1) / 0.5 = 0.6; at 0.75 one more try is worth (0.5 - 0.1) / 0.5 = 0.8 as well.
    given = MdpParameters(retrieve_gain=0.5, success_probability=0.5, retrieve_cost=0.1, cost_weight=1.0, discount=1.0)
    mdp = ConstantTracker(given, n_progress=5).process(1, max_fan_out=1, reason_available=False)
    value = value_iteration(mdp).value
    assert value[[0, 2, 3, 4]] == pytest.approx([0.6, 0.8, 0.8, 1.0], abs=1e-12)


@pytest.mark.parametrize("sigma", QUALITIES)
@pytest.mark.parametrize("retrieve_cost", [0.02, 0.05, 0.2])
def test_one_subquery_without_a_budget_is_the_research_codes_process(sigma: str, retrieve_cost: float) -> None:
    # The research code's own three actions, on real numbers instead of a grid: each state is reached from 0 by
    # counts of gains, and the failed retrieval that stays where it was is summed in closed form.
    given = MdpParameters(quality=quality(sigma), retrieve_cost=retrieve_cost)
    gamma, p = given.discount, given.success_probability

    @cache
    def exact(quarters: int, eighths: int) -> float:
        u = min(1.0, 0.25 * quarters + 0.08 * eighths)
        end = float(given.quality(u))
        if u >= 1.0:
            return end
        tried = (gamma * p * exact(quarters + 1, eighths) - 0.6 * retrieve_cost) / (1 - gamma * (1 - p))
        reasoned = gamma * exact(quarters, eighths + 1) - 0.6 * 0.02
        return max(end, tried, reasoned)

    mdp = ConstantTracker(given).process(1, max_fan_out=1, reason_available=True)
    assert value_iteration(mdp).value[0] == pytest.approx(exact(0, 0), abs=1e-9)


def test_a_coarse_grid_interpolates_where_rounding_would_mislead() -> None:
    # On five points 0.08 rounds to 0: a rounded REASON would gain nothing and V(0) be 0. Interpolated, V(0) stays
    # within a few hundredths of the exact 1 - 13 steps of cost, discounted.
    given = MdpParameters(retrieve_cost=100.0)
    values = [
        value_iteration(ConstantTracker(given, n_progress=n).process(1, max_fan_out=1, reason_available=True)).value[0]
        for n in (5, 101)
    ]
    exact = 0.98**13 - 0.012 * (1 - 0.98**13) / 0.02
    assert values[1] == pytest.approx(exact, abs=1e-9)
    assert values[0] == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("sigma", QUALITIES)
@pytest.mark.parametrize("given", [MdpParameters(), DEAR, MdpParameters(retrieve_gain=0.137, reason_gain=0.0531)])
@pytest.mark.parametrize("fan_out", [1, 8])
def test_halving_the_progress_grid_agrees(given: MdpParameters, sigma: str, fan_out: int) -> None:
    coarse, fine = (
        ConstantTracker(replace(given, quality=quality(sigma)), n_progress=n).process(
            fan_out, max_fan_out=fan_out, reason_available=True
        )
        for n in (GRID, 2 * GRID - 1)
    )
    assert value_iteration(coarse).value == pytest.approx(value_iteration(fine).value[::2], abs=1e-3)
    times = [20_000 + 4_000 * a for a in range(len(coarse.actions))]
    budgeted = [
        backward_induction(mdp, each_in(*times), horizon_us=300_000, step_us=4_000).value for mdp in (coarse, fine)
    ]
    rows = min(len(value) for value in budgeted)
    assert np.abs(budgeted[0][:rows] - budgeted[1][:rows, ::2]).max() < 1e-3


def test_value_iteration_says_when_it_does_not_converge() -> None:
    with pytest.raises(ConvergenceError, match=r"value iteration changed V by .* in sweep 1, above 1e-12"):
        value_iteration(replace(evidence(MdpParameters(), 3), max_sweeps=1))


def test_budgeted_value_of_one_focus_by_hand() -> None:
    # A try takes two steps (1,001 us in steps of 1 ms): none fits at slack 0 and 1, one at 2 and 3, two at 4.
    # One: -0.03 + 0.98 * 0.8 = 0.754. Two: -0.03 + 0.98 * (0.8 + 0.2 * 0.754) = 0.901784.
    mdp = EvidenceTracker(MdpParameters()).process(1, max_fan_out=8, reason_available=False)
    solution = backward_induction(mdp, each_in(1_001), horizon_us=4_999, step_us=1_000)
    assert solution.way_steps.tolist() == [2]
    assert solution.value[:, 0] == pytest.approx([0.0, 0.0, 0.754, 0.754, 0.901784], abs=1e-12)
    assert solution.value[:, 1] == pytest.approx([1.0] * 5)


def worth_of_timed_policy(
    given: MdpParameters, n_foci: int, length: dict[Action, int], table: dict[tuple[int, int], Action]
) -> Callable[[int, int], float]:
    @cache
    def worth(closed: int, slack: int) -> float:
        action = table.get((closed, slack), TERMINATE)
        if action == TERMINATE:
            return float(given.quality(closed / n_foci))
        after = slack - length[action]
        if after < 0:
            return -math.inf
        expected = sum(chance * worth(closed + k, after) for chance, k in outcomes(given, action))
        return given.discount * expected - charge(given, action)

    return worth


@pytest.mark.parametrize("given", [MdpParameters(), DEAR], ids=["default", "dear"])
def test_no_timed_policy_beats_backward_induction(given: MdpParameters) -> None:
    # Two foci, slack 0..3, every assignment of an action to every (closed, slack): 4**4 * 3**4 policies.
    length = {retrieve(1): 1, retrieve(2): 2, REASON: 1}
    mdp = evidence(given, 2)
    solution = backward_induction(mdp, each_in(*(length[action] for action in mdp.actions)), horizon_us=3, step_us=1)
    states = list(itertools.product(range(2), range(4)))
    best = dict.fromkeys(states, -math.inf)
    for assignment in itertools.product(*(choices(2, closed) for closed, _ in states)):
        table = dict(zip(states, assignment, strict=True))
        worth = worth_of_timed_policy(given, 2, length, table)
        for state in states:
            best[state] = max(best[state], worth(*state))
    for closed, slack in states:
        assert solution.row(slack)[closed] == pytest.approx(best[closed, slack], abs=1e-12)


@pytest.mark.parametrize("p", [0.8, 0.3])
@pytest.mark.parametrize("n_foci", [1, 3, 4])
def test_backward_induction_agrees_with_plain_recursion_at_every_slack(n_foci: int, p: float) -> None:
    # Lengths that share no factor, so that the blocks of the solver straddle every boundary; slack beyond the row
    # where the solver stopped early is asked for too.
    given = replace(DEAR, success_probability=p, retrieve_cost=0.02)
    mdp = evidence(given, n_foci)
    length = {action: 5 + 2 * action.fan_out if action.fan_out else 11 for action in mdp.actions}

    @cache
    def worth(closed: int, slack: int) -> float:
        best = float(given.quality(closed / n_foci))
        for action in choices(n_foci, closed)[1:]:
            if slack >= length[action]:
                expected = sum(c * worth(closed + k, slack - length[action]) for c, k in outcomes(given, action))
                best = max(best, given.discount * expected - charge(given, action))
        return best

    solution = backward_induction(
        mdp, each_in(*(length[action] for action in mdp.actions)), horizon_us=2_000, step_us=1
    )
    assert solution.settled
    assert len(solution.value) < 1_000
    for slack in range(1_001):
        expected = [worth(closed, slack) for closed in range(n_foci + 1)]
        assert solution.row(slack) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("model_from", [0, 1, 17, 60, 400])
@pytest.mark.parametrize("early_quality", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("rules_cost", [0.0, 0.05, 0.5])
def test_two_ways_and_two_answers_agree_with_plain_recursion(
    rules_cost: float, early_quality: float, model_from: int
) -> None:
    # Retrieval by the model takes 23 to 29 steps, by rules 3 to 5, and a note 31 with the model's answer after it.
    given = replace(DEAR, rules_cost=rules_cost)
    n_foci = 3
    mdp = evidence(given, n_foci)
    length = {action: 20 + 3 * action.fan_out if action.fan_out else 31 for action in mdp.actions}
    by_rules = {action: 2 + action.fan_out for action in mdp.actions if action.fan_out}
    ways = [
        Way(action=mdp.actions.index(action), time_us=steps, by_rules=table is by_rules, for_model=action == REASON)
        for table in (length, by_rules)
        for action, steps in table.items()
    ]

    @cache
    def worth(closed: int, slack: int) -> float:
        best = float(given.quality(closed / n_foci)) * (1.0 if slack >= model_from else early_quality)
        for action in choices(n_foci, closed)[1:]:
            for table, extra in ((length, 0.0), (by_rules, given.cost_weight * rules_cost * action.fan_out)):
                after = slack - table.get(action, slack + 1)
                if after >= (model_from if action == REASON else 0):
                    expected = sum(c * worth(closed + k, after) for c, k in outcomes(given, action))
                    best = max(best, given.discount * expected - charge(given, action) - extra)
        return best

    bounded, plain = (
        backward_induction(
            mdp,
            ways,
            horizon_us=3_000,
            step_us=1,
            model_from=model_from,
            early_quality=early_quality,
            unlimited=unlimited,
        )
        for unlimited in (value_iteration(mdp).value, None)
    )
    assert bounded.settled and plain.settled
    for slack in range(900):
        expected = [worth(closed, slack) for closed in range(n_foci + 1)]
        assert bounded.row(slack) == pytest.approx(expected, abs=1e-10)
        assert plain.row(slack) == pytest.approx(expected, abs=1e-10)


def test_an_early_plateau_does_not_pass_for_the_end() -> None:
    # A dear, short retrieval is worth nothing, a long REASON is: V is flat for 99 steps and then is not.
    given = MdpParameters(retrieve_cost=10.0, reason_success_probability=0.9)
    mdp = evidence(given, 1)
    length = {REASON: 100, retrieve(1): 1}
    solution = backward_induction(
        mdp, each_in(*(length[action] for action in mdp.actions)), horizon_us=5_000, step_us=1
    )
    assert solution.row(99)[0] == 0.0
    assert solution.row(100)[0] == pytest.approx(-0.012 + 0.98 * 0.9)


@pytest.mark.parametrize("name", ["evidence", "constant"])
def test_a_long_budget_is_worth_what_no_budget_is(name: str) -> None:
    moves = EvidenceTracker(MdpParameters()) if name == "evidence" else ConstantTracker(MdpParameters())
    mdp = moves.process(4, max_fan_out=8, reason_available=True)
    solution = backward_induction(mdp, each_in(*[7] * len(mdp.actions)), horizon_us=60_000, step_us=1)
    assert solution.settled
    assert solution.row(60_000) == pytest.approx(value_iteration(mdp).value, abs=1e-9)


def test_times_below_one_unit_are_refused() -> None:
    mdp = EvidenceTracker(MdpParameters()).process(1, max_fan_out=1, reason_available=False)
    for action_us, horizon_us, step_us in (([0], 10, 1), ([1], -1, 1), ([1], 10, 0)):
        with pytest.raises(InvalidArgumentError, match="must be at least 1"):
            backward_induction(mdp, each_in(*action_us), horizon_us=horizon_us, step_us=step_us)


def test_ties_go_to_terminate_and_then_to_the_cheaper_action() -> None:
    assert choose(0.5, np.array([0.5, 0.3])) is None
    assert choose(0.5, np.array([0.5 + 5e-10, 0.3])) is None
    assert choose(0.5, np.array([0.5 + 2e-9, 0.3])) == 0
    assert choose(0.1, np.array([0.5, 0.5 + 5e-10])) == 0
    assert choose(0.1, np.array([-np.inf, 0.5])) == 1
    assert choose(0.0, np.array([-np.inf])) is None


def test_a_step_that_gains_exactly_its_cost_is_not_taken() -> None:
    # Certain success, no discount: one focus gains 1 and costs 1.
    given = MdpParameters(success_probability=1.0, retrieve_cost=1.0, cost_weight=1.0, discount=1.0)
    mdp = EvidenceTracker(given).process(1, max_fan_out=1, reason_available=False)
    value = value_iteration(mdp).value
    assert choose(0.0, action_value(mdp, 0.0, value)) is None


@pytest.mark.parametrize("p", [0.0, 2.225e-311])
def test_hopeless_actions_end_at_once_also_without_discount(p: float) -> None:
    given = MdpParameters(success_probability=p, reason_success_probability=0.0, discount=1.0)
    mdp = evidence(given, 2)
    assert value_iteration(mdp).value == pytest.approx([0.0, 0.5, 1.0])


def test_free_steps_go_on_until_progress_is_complete() -> None:
    given = MdpParameters(cost_weight=0.0, allow_free=True, discount=1.0, success_probability=0.1)
    mdp = EvidenceTracker(given).process(2, max_fan_out=1, reason_available=False)
    value = value_iteration(mdp).value
    assert value == pytest.approx([1.0, 1.0, 1.0])
    assert mdp.actions[choose(0.0, action_value(mdp, 0.0, value)) or 0].kind is ActionKind.RETRIEVE


@pytest.mark.parametrize("discount", [1.0, 1.0 - 2**-53])
@pytest.mark.parametrize("p", [0.8090787354890997, 1e-3, 1e-12])
def test_rare_success_and_a_discount_of_almost_one_round_nothing_up(discount: float, p: float) -> None:
    # Steps are free and all but undiscounted (1e12 tries at 1.1e-16 each lose about 1e-4), so V is sigma(1) everywhere.
    # Dividing one rounding error by another would value going on at U = 1 above ending.
    given = MdpParameters(
        retrieve_gain=0.1,
        overlap=0.0,
        success_probability=p,
        retrieve_cost=0.0,
        discount=discount,
        quality=quality("saturating", 1.0),
    )
    full = float(given.quality(1.0))
    for moves in (EvidenceTracker(given), ConstantTracker(given, n_progress=41)):
        value = value_iteration(moves.process(4, max_fan_out=4, reason_available=False)).value
        assert value[-1] == full
        assert full - 1e-3 <= value.min() <= value.max() <= full + 1e-12
