"""The process that is solved: how each tracker moves progress, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from argo.errors import InvalidArgumentError
from orchestrator.action import REASON, Action, ActionKind, retrieve
from orchestrator.parameter import MdpParameters
from orchestrator.progress import TRACKERS, ConstantTracker, EvidenceTracker, StepOutcome, tracker


def test_fan_outs_have_binomial_successes_and_one_focus_each() -> None:
    mdp = EvidenceTracker(MdpParameters(success_probability=0.8)).process(3, max_fan_out=8, reason_available=True)
    pair = mdp.actions.index(retrieve(2))
    # Two tries at 0.8: none 0.04, one 2 * 0.8 * 0.2 = 0.32, both 0.64.
    assert mdp.successor(0.0)[pair] == pytest.approx([0.04, 0.32, 0.64, 0.0])
    assert mdp.successor(1 / 3)[pair] == pytest.approx([0.0, 0.04, 0.32, 0.64])
    # 3, 2, 1 and 0 foci are open at progress 0, 1/3, 2/3 and 1.
    assert {action: mdp.available[a].tolist() for a, action in enumerate(mdp.actions)} == {
        retrieve(1): [True, True, True, False],
        retrieve(2): [True, True, False, False],
        retrieve(3): [True, False, False, False],
        REASON: [True, True, True, False],
    }


@pytest.mark.parametrize("n_foci", range(1, 9))
def test_evidence_progress_lives_on_exactly_one_point_more_than_foci(n_foci: int) -> None:
    mdp = EvidenceTracker(MdpParameters()).process(n_foci, max_fan_out=8, reason_available=True)
    assert mdp.progress == pytest.approx([closed / n_foci for closed in range(n_foci + 1)])
    transition = np.stack([mdp.successor(u) for u in mdp.progress], axis=1)
    possible = transition[mdp.available]
    assert possible.sum(axis=1) == pytest.approx(np.ones(len(possible)))
    for a, action in enumerate(mdp.actions):
        for closed in np.flatnonzero(mdp.available[a]):
            reached = np.flatnonzero(transition[a, closed])
            assert reached.tolist() == list(range(closed, closed + max(action.fan_out, 1) + 1))


def test_a_note_closes_its_focus_with_its_own_probability() -> None:
    mdp = EvidenceTracker(MdpParameters(reason_success_probability=0.3)).process(
        2, max_fan_out=8, reason_available=True
    )
    assert mdp.successor(0.0)[mdp.actions.index(REASON)] == pytest.approx([0.7, 0.3, 0.0])


def test_later_successes_of_one_fan_out_gain_less_under_constant() -> None:
    given = MdpParameters(retrieve_gain=0.5, overlap=0.4, success_probability=0.5, reason_gain=0.25)
    mdp = ConstantTracker(given, n_progress=11).process(8, max_fan_out=2, reason_available=True)
    # One success gains 0.5, two 0.5 + 0.5 * 0.6 = 0.8; from 0.3 they reach 0.8 and, clipped, 1.
    assert mdp.successor(0.3)[mdp.actions.index(retrieve(2))] == pytest.approx(
        [0, 0, 0, 0.25, 0, 0, 0, 0, 0.5, 0, 0.25]
    )
    # 0.3 + 0.25 = 0.55 lies half-way between two grid points: interpolated, not rounded.
    assert mdp.successor(0.3)[mdp.actions.index(REASON)] == pytest.approx([0, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0])


def test_actions_are_laid_out_from_cheap_to_dear() -> None:
    given = MdpParameters(retrieve_cost=0.05, reason_cost=0.12, cost_weight=0.5)
    mdp = EvidenceTracker(given).process(3, max_fan_out=8, reason_available=True)
    assert mdp.actions == (retrieve(1), retrieve(2), REASON, retrieve(3))
    assert mdp.cost == pytest.approx([0.025, 0.05, 0.06, 0.075])


@pytest.mark.parametrize("name", TRACKERS)
def test_reason_is_an_action_only_where_a_language_model_runs(name: str) -> None:
    moves = tracker(name, MdpParameters())
    kinds = {
        runs: {action.kind for action in moves.process(4, max_fan_out=2, reason_available=runs).actions}
        for runs in (True, False)
    }
    assert kinds == {True: {ActionKind.RETRIEVE, ActionKind.REASON}, False: {ActionKind.RETRIEVE}}


@pytest.mark.parametrize(("n_foci", "max_fan_out", "widest"), [(8, 8, 8), (8, 3, 3), (2, 8, 2), (1, 1, 1)])
def test_no_fan_out_is_wider_than_the_foci_or_the_limit(n_foci: int, max_fan_out: int, widest: int) -> None:
    for name in TRACKERS:
        mdp = tracker(name, MdpParameters()).process(n_foci, max_fan_out=max_fan_out, reason_available=False)
        assert mdp.actions == tuple(retrieve(n) for n in range(1, widest + 1))


def test_evidence_progress_is_the_share_of_closed_foci() -> None:
    moves = EvidenceTracker(MdpParameters())
    assert moves.start(3) == 0.0
    assert moves.after(0.0, StepOutcome(n_foci=3, closed_foci=2, useful_retrievals=1)) == pytest.approx(2 / 3)
    assert moves.after(1 / 3, StepOutcome(n_foci=3, closed_foci=1, finished_notes=1)) == pytest.approx(1 / 3)


def test_constant_progress_counts_useful_retrievals_and_finished_notes() -> None:
    moves = ConstantTracker(MdpParameters(retrieve_gain=0.25, overlap=0.2, reason_gain=0.08))
    assert moves.start(3) == 0.0
    # 0.25 + 0.25 * 0.8 = 0.45
    assert moves.after(0.0, StepOutcome(n_foci=3, closed_foci=2, useful_retrievals=2)) == pytest.approx(0.45)
    assert moves.after(0.45, StepOutcome(n_foci=3, closed_foci=2, finished_notes=1)) == pytest.approx(0.53)
    assert moves.after(0.9, StepOutcome(n_foci=3, closed_foci=3, useful_retrievals=1)) == 1.0


def test_bad_numbers_and_names_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="tracker must be one of evidence, constant, got 'oracle'"):
        tracker("oracle", MdpParameters())
    with pytest.raises(InvalidArgumentError, match=r"fan_out must be in 1\.\.8, got 9"):
        retrieve(9)
    for name in TRACKERS:
        with pytest.raises(InvalidArgumentError, match=r"n_foci must be in 1\.\.8, got 0"):
            tracker(name, MdpParameters()).process(0, max_fan_out=8, reason_available=False)
        with pytest.raises(InvalidArgumentError, match=r"max_fan_out must be in 1\.\.8, got 9"):
            tracker(name, MdpParameters()).process(8, max_fan_out=9, reason_available=False)


def test_progress_that_is_no_state_is_refused() -> None:
    thirds = EvidenceTracker(MdpParameters()).process(3, max_fan_out=8, reason_available=False)
    assert thirds.check_progress(0.6666667) == 2 / 3
    with pytest.raises(InvalidArgumentError, match=r"progress must be a multiple of 1/3, got 0\.5"):
        thirds.check_progress(0.5)
    with pytest.raises(InvalidArgumentError, match=r"progress must be in \[0, 1\], got nan"):
        thirds.check_progress(float("nan"))


def test_actions_write_themselves_as_the_trace_shows_them() -> None:
    assert [str(action) for action in (retrieve(2), REASON, Action(ActionKind.TERMINATE))] == [
        "RETRIEVE(2)",
        "REASON",
        "TERMINATE",
    ]


@pytest.mark.parametrize("name", TRACKERS)
def test_shifting_v_is_the_same_as_weighing_its_next_states(name: str) -> None:
    given = MdpParameters(retrieve_gain=0.137, reason_gain=0.0013)
    mdp = tracker(name, given).process(5, max_fan_out=8, reason_available=True)
    value = np.random.default_rng(3).random(mdp.n_progress)
    transition = np.stack([mdp.successor(u) for u in mdp.progress], axis=1)
    expected = transition @ value
    assert mdp.probability @ mdp.ahead(value) == pytest.approx(expected, abs=1e-12)
    assert mdp.leave == pytest.approx(1.0 - np.einsum("aii->ai", transition), abs=1e-12)
