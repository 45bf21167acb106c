"""Thresholds and their verdict: by definition, against the table, and over a sweep of settings."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.action import REASON, TERMINATE, Action, retrieve
from orchestrator.mdp import ProgressMdp
from orchestrator.parameter import MdpParameters
from orchestrator.progress import ConstantTracker, EvidenceTracker
from orchestrator.quality import QUALITIES, quality
from orchestrator.solver import action_value, choose, value_iteration
from orchestrator.threshold import ActionBand, Thresholds, Verdict, action_bands, find_thresholds

LETTERS = {"T": TERMINATE, "P": REASON, "R": retrieve(1), "2": retrieve(2)}


def actions(word: str) -> list[Action]:
    return [LETTERS[letter] for letter in word]


def stationary_table(mdp: ProgressMdp) -> tuple[list[float], list[Action]]:
    value = value_iteration(mdp).value
    best = [choose(float(mdp.end_value[i]), action_value(mdp, float(u), value)) for i, u in enumerate(mdp.progress)]
    return mdp.progress.tolist(), [TERMINATE if index is None else mdp.actions[index] for index in best]


@pytest.mark.parametrize(
    ("table", "theta_cont", "theta_star", "verdict", "describes"),
    [
        ("RRPPT", 0.5, 1.0, Verdict.TWO_THRESHOLD, True),
        ("2RPTT", 0.5, 0.75, Verdict.TWO_THRESHOLD, True),
        ("RRRTT", 0.75, 0.75, Verdict.ONE_ACTION, True),
        ("PPPTT", 0.0, 0.75, Verdict.ONE_ACTION, True),
        ("TTTTT", 0.0, 0.0, Verdict.ONE_ACTION, True),
        # One kind of action, but not from progress 0 on: the thresholds would say REASON below 0.75.
        ("TRRTT", 0.0, 0.75, Verdict.ONE_ACTION, False),
        ("PRPTT", 0.0, 0.75, Verdict.INTERLEAVED, False),
        ("RPRTT", 0.25, 0.75, Verdict.INTERLEAVED, False),
        ("RTPTT", 0.25, 0.75, Verdict.INTERLEAVED, False),
        ("PPRTT", 0.0, 0.75, Verdict.INTERLEAVED, False),
    ],
)
def test_thresholds_follow_their_definition(
    table: str, theta_cont: float, theta_star: float, verdict: Verdict, describes: bool
) -> None:
    progress = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert find_thresholds(progress, actions(table)) == Thresholds(theta_cont, theta_star, verdict, describes)


def test_bands_are_the_table_run_by_run() -> None:
    assert action_bands([0.0, 0.25, 0.5, 0.75, 1.0], actions("22RTT")) == (
        ActionBand(0.0, 0.25, retrieve(2)),
        ActionBand(0.5, 0.5, retrieve(1)),
        ActionBand(0.75, 1.0, TERMINATE),
    )


@given(table=st.text(alphabet="TPR2", max_size=12))
def test_a_table_that_the_thresholds_describe_can_be_rebuilt_from_them(table: str) -> None:
    chosen = actions(table + "T")
    progress = np.linspace(0.0, 1.0, len(chosen)).tolist() if table else [1.0]
    found = find_thresholds(progress, chosen)
    rebuilt = [
        retrieve(1).kind if u < found.theta_cont else REASON.kind if u < found.theta_star else TERMINATE.kind
        for u in progress
    ]
    assert (rebuilt == [action.kind for action in chosen]) == found.describes_table
    if found.verdict is Verdict.TWO_THRESHOLD:
        assert found.describes_table
    if found.verdict is Verdict.INTERLEAVED:
        assert not found.describes_table


@pytest.mark.parametrize(
    ("max_fan_out", "expected"),
    [
        (1, {Verdict.ONE_ACTION: 97, Verdict.TWO_THRESHOLD: 15, Verdict.INTERLEAVED: 80}),
        (8, {Verdict.ONE_ACTION: 97, Verdict.TWO_THRESHOLD: 56, Verdict.INTERLEAVED: 39}),
    ],
)
def test_two_thresholds_misrepresent_many_of_192_settings(max_fan_out: int, expected: dict[Verdict, int]) -> None:
    # The counts of docs/decision-process.md, on a grid of 101 points.
    verdicts: Counter[Verdict] = Counter()
    for sigma, retrieve_cost, cost_weight, discount in itertools.product(
        QUALITIES, (0.01, 0.02, 0.05, 0.1), (0.1, 0.2, 0.4, 0.6), (0.95, 0.98, 1.0)
    ):
        parameters = MdpParameters(
            quality=quality(sigma), retrieve_cost=retrieve_cost, cost_weight=cost_weight, discount=discount
        )
        mdp = ConstantTracker(parameters, n_progress=101).process(8, max_fan_out=max_fan_out, reason_available=True)
        verdicts[find_thresholds(*stationary_table(mdp)).verdict] += 1
    assert dict(verdicts) == expected


parameter_sets = st.builds(
    MdpParameters,
    retrieve_gain=st.sampled_from([0.1, 0.25, 0.45]),
    reason_gain=st.sampled_from([0.05, 0.08, 0.3]),
    success_probability=st.floats(0.1, 1.0),
    reason_success_probability=st.floats(0.0, 1.0),
    overlap=st.floats(0.0, 1.0),
    retrieve_cost=st.floats(0.0, 0.3),
    reason_cost=st.floats(0.0, 0.3),
    cost_weight=st.floats(0.1, 2.0),
    discount=st.floats(0.7, 1.0),
    quality=st.builds(quality, st.sampled_from(QUALITIES), st.floats(1.0, 20.0)),
)


def both_processes(parameters: MdpParameters, n_foci: int, reason: bool) -> list[ProgressMdp]:
    return [
        moves.process(n_foci, max_fan_out=8, reason_available=reason)
        for moves in (EvidenceTracker(parameters), ConstantTracker(parameters, n_progress=41))
    ]


def dearer(parameters: MdpParameters, more: float) -> MdpParameters:
    mapping = parameters.to_mapping()
    return MdpParameters.from_mapping({**mapping, "retrieve_cost": parameters.retrieve_cost + more})


@settings(max_examples=60)
@given(parameters=parameter_sets, n_foci=st.integers(1, 5), more=st.floats(0.001, 0.2))
def test_dearer_retrieval_never_raises_theta_star(parameters: MdpParameters, n_foci: int, more: float) -> None:
    # Every way to go on gets worse or stays as it was, and ending does not: the states that go on only become fewer.
    for now, then in zip(
        both_processes(parameters, n_foci, True), both_processes(dearer(parameters, more), n_foci, True), strict=True
    ):
        before, after = find_thresholds(*stationary_table(now)), find_thresholds(*stationary_table(then))
        assert after.theta_star <= before.theta_star


@settings(max_examples=60)
@given(parameters=parameter_sets, n_foci=st.integers(1, 5), more=st.floats(0.001, 0.2))
def test_dearer_retrieval_never_raises_theta_cont_where_it_is_the_only_action(
    parameters: MdpParameters, n_foci: int, more: float
) -> None:
    for now, then in zip(
        both_processes(parameters, n_foci, False), both_processes(dearer(parameters, more), n_foci, False), strict=True
    ):
        before, after = find_thresholds(*stationary_table(now)), find_thresholds(*stationary_table(then))
        assert after.theta_cont <= before.theta_cont


def test_dearer_retrieval_can_raise_theta_cont_where_reasoning_leads_to_retrieval() -> None:
    # With REASON the claim fails: reasoning first and retrieving afterwards pays for retrieval as well, and more of
    # it. Here the dearer price turns REASON at progress 0 into RETRIEVE..
    found = []
    for retrieve_cost in (0.05, 0.075):
        parameters = MdpParameters(
            quality=quality("sigmoid", 11.196301853349025),
            cost_weight=1.0,
            discount=0.7081295837311379,
            retrieve_gain=0.45,
            reason_gain=0.3,
            overlap=1.0,
            success_probability=0.6008964451084257,
            retrieve_cost=retrieve_cost,
            reason_cost=0.09770389913628084,
        )
        mdp = ConstantTracker(parameters).process(2, max_fan_out=2, reason_available=True)
        found.append(find_thresholds(*stationary_table(mdp)))
    assert found[0].theta_cont == 0.0 < found[1].theta_cont
    assert {each.verdict for each in found} == {Verdict.INTERLEAVED}
