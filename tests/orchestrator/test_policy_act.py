"""The policy that runs: decisions, their worth, their reasons, and the time left that none of them overruns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from argo.errors import InvalidArgumentError, NotReadyError
from orchestrator.action import REASON, TERMINATE, Action, ActionKind, retrieve
from orchestrator.action_time import BUILTIN_TIMES, ActionTimes, AnswerMode, microseconds_down, microseconds_up
from orchestrator.parameter import MdpParameters
from orchestrator.policy import Decision, Policy, PolicyState
from orchestrator.progress import TRACKERS, ConstantTracker, ProgressTracker, StepOutcome, tracker
from orchestrator.quality import QUALITIES, quality
from orchestrator.solved import Ending, SolvedProcess, solve, time_step_us
from orchestrator.strategy import STRATEGIES, StrategyOptions, strategy

MODEL_TIMES = ActionTimes(
    retrieve_s=(0.06, 0.065, 0.07, 0.075, 0.08, 0.085, 0.09, 0.1),
    reason_s=0.15,
    free_answer_s=0.3,
    choice_answer_s=0.05,
    extractive_answer_s=0.015,
)


def solved(
    moves: ProgressTracker | None = None,
    *,
    n_foci: int = 3,
    parameters: MdpParameters | None = None,
    times: ActionTimes = BUILTIN_TIMES,
    mode: AnswerMode = AnswerMode.FREE,
    horizon_s: float = 2.0,
    step_us: int | None = None,
) -> SolvedProcess:
    parameters = parameters or MdpParameters()
    moves = moves or tracker("evidence", parameters)
    mdp = moves.process(n_foci, max_fan_out=8, reason_available=times.reason_s is not None)
    return SolvedProcess(
        solution=solve(
            mdp,
            times,
            mode=mode,
            extractive_quality=parameters.extractive_quality,
            horizon_s=horizon_s,
            step_us=step_us,
        ),
        n_foci=n_foci,
        mode=mode,
        parameters=parameters,
        times=times,
        tracker=moves,
    )


def act(
    process: SolvedProcess, closed: int, time_left_s: float | None, *, name: str = "mdp", steps: int = 0
) -> Decision:
    state = PolicyState(
        progress=closed / process.n_foci,
        open_foci=process.n_foci - closed,
        steps=steps,
        time_left_s=time_left_s,
    )
    return Policy(strategy(name), process).act(state)


def test_a_decision_holds_the_worth_of_every_action_and_a_readable_reason() -> None:
    # Slack 35 ms: one step of 20 or 24 ms and no second. One open focus retrieved: -0.03 + 0.98 * (2/3 * 0.8 +
    # 1/3 * 0.2) = 0.558. Two: -0.06 + 0.98 * (1 * 0.64 + 2/3 * 0.32 + 1/3 * 0.04) = 0.789333.
    decision = act(solved(), 1, 0.050)
    assert decision.action == retrieve(2)
    worth = decision.action_value
    assert worth[retrieve(3)] is None
    assert [worth[TERMINATE], worth[retrieve(1)], worth[retrieve(2)]] == pytest.approx(
        [1 / 3, 0.558, 0.789333], abs=1e-6
    )
    assert decision.reason == "RETRIEVE(2): 2 of 3 foci open, worth 0.79 against 0.33 for answering now"
    assert decision.ending is Ending.MODEL


@pytest.mark.parametrize(
    ("closed", "time_left_s", "reason", "ending"),
    [
        (3, 1.0, "TERMINATE: all 3 foci are closed, nothing is left to look for", Ending.MODEL),
        (
            1,
            0.0745,
            "TERMINATE: no step fits in the 0.074 s left, the shortest takes 0.060 s and the answer 0.015 s",
            Ending.EXTRACTIVE,
        ),
        (3, 0.2, "TERMINATE: all 3 foci are closed, nothing is left to look for", Ending.EXTRACTIVE),
        (1, 0.0149, "TERMINATE: no answer fits in the 0.015 s left, the shortest takes 0.015 s", Ending.INFEASIBLE),
        (1, -0.5, "TERMINATE: no answer fits in the 0.000 s left, the shortest takes 0.015 s", Ending.INFEASIBLE),
    ],
)
def test_ending_says_which_time_is_missing(closed: int, time_left_s: float, reason: str, ending: Ending) -> None:
    decision = act(solved(times=MODEL_TIMES), closed, time_left_s)
    assert (decision.action, decision.ending) == (TERMINATE, ending)
    assert decision.reason == reason


def test_ending_early_is_weighed_and_said() -> None:
    # -0.6 * 1 + 0.98 * (0.8 * 2/3 + 0.2 * 1/3) = -0.6 + 0.98 * 0.6 = -0.012
    process = solved(parameters=MdpParameters(retrieve_cost=1.0))
    assert act(process, 1, None).reason == (
        "TERMINATE: 2 of 3 foci open, answering now is worth 0.33, the best step RETRIEVE(1) -0.01"
    )


def test_the_extractive_answer_is_worth_its_share_and_no_answer_nothing() -> None:
    process = solved(times=MODEL_TIMES, parameters=MdpParameters(extractive_quality=0.7))
    # T_syn 300 ms and T_ext 15 ms, both inclusive.
    worth = [act(process, 2, time_left_s).action_value[TERMINATE] for time_left_s in (0.3, 0.299, 0.015, 0.014)]
    assert worth == [pytest.approx(2 / 3), pytest.approx(0.7 * 2 / 3), pytest.approx(0.7 * 2 / 3), None]


def test_a_choice_leaves_more_time_to_look_than_a_free_answer() -> None:
    free, choice = (solved(times=MODEL_TIMES, mode=mode) for mode in AnswerMode)
    # At a third, 350 ms before the end: a search of 60 ms leaves the choice its 50 ms, and the free answer 10 too few.
    assert [act(process, 1, 0.35).ending for process in (free, choice)] == [Ending.MODEL] * 2
    assert [act(process, 1, 0.35).answer_s for process in (free, choice)] == [0.015, 0.05]
    for progress in (0.0, 1 / 3, 2 / 3):
        for time_left_s in (0.1, 0.2, 0.35, 0.5, 1.0):
            assert free.value(progress, time_left_s) <= choice.value(progress, time_left_s) + 1e-12


def test_a_search_for_an_extractive_answer_is_weighed_against_the_models_answer_now() -> None:
    # 70 ms of slack before an answer of 15 ms, and the model's of 300 ms fits if begun now. One focus of three closed;
    # with both others searched, 0.7 * (1/3 + 2/3 * 0.8) = 0.606667: -0.06 + 0.98 * 0.606667 = 0.534533 > 1/3.
    # Two closed: -0.03 + 0.98 * 0.7 * (2/3 + 1/3 * 0.8) = 0.610267 < 2/3.
    times = replace(MODEL_TIMES, reason_s=None, retrieve_s=(0.3,) * 8)
    one, two = (act(solved(times=times), closed, 0.32) for closed in (1, 2))
    assert (one.action, one.answer_s) == (retrieve(2), 0.015)
    assert one.action_value[retrieve(2)] == pytest.approx(0.534533, abs=1e-6)
    assert one.reason.endswith("; for want of time an extractive answer follows")
    assert (two.action, two.ending) == (TERMINATE, Ending.MODEL)
    assert two.action_value[retrieve(1)] == pytest.approx(0.610267, abs=1e-6)


def test_no_note_is_written_for_an_extractive_answer() -> None:
    # 150 ms of note and 300 ms of answer: with 449 ms left the answer could only be extractive, which uses no notes.
    process = solved(times=MODEL_TIMES, step_us=1_000)
    assert [act(process, 1, left).action_value[REASON] is not None for left in (0.45, 0.449, 0.2)] == [
        True,
        False,
        False,
    ]


RULES_TIMES = replace(MODEL_TIMES, reason_s=None, rules_retrieve_s=(0.02,) * 8)


def test_rules_word_what_a_model_has_no_time_for() -> None:
    process = solved(times=RULES_TIMES, n_foci=1)
    short, long = act(process, 0, 0.32), act(process, 0, 2.0)
    assert (short.action, short.by_rules, short.answer_s) == (retrieve(1), True, 0.3)
    assert short.reason.endswith("; for want of time rules word it")
    # 20 ms, then the answer: -0.6 * (0.05 + 0.02) + 0.98 * 0.8 = 0.742; and where it fails, of chance 0.2, more
    # searches and an extractive answer, worth 0.7 at most.
    worth = short.action_value[retrieve(1)]
    assert worth is not None and 0.742 < worth <= 0.742 + 0.98 * 0.2 * 0.7
    assert (long.action, long.by_rules) == (retrieve(1), False)
    assert "want of time" not in long.reason
    assert not act(process, 0, None).by_rules


def test_the_model_words_a_subquery_only_where_that_leaves_time_for_another_try() -> None:
    # Of 370 ms the model's 65 ms leave 5 ms beside the answer, the rules' 20 ms three searches by rules.
    process = solved(times=RULES_TIMES, n_foci=2)
    assert act(process, 0, 0.37).by_rules
    cheap = solved(times=RULES_TIMES, n_foci=2, parameters=MdpParameters(rules_cost=0.5))
    assert not act(cheap, 0, 0.37).by_rules
    # Where rules cost nothing more, what is faster is never worth less, and only a tie leaves it to the model.
    free = solved(times=RULES_TIMES, n_foci=2, parameters=MdpParameters(rules_cost=0.0))
    assert act(free, 0, 0.5).by_rules
    assert not act(free, 0, 60.0).by_rules


def test_below_the_models_answer_a_question_still_finds_evidence() -> None:
    for left in (0.036, 0.1, 0.29):
        decision = act(solved(times=RULES_TIMES, n_foci=2), 0, left)
        assert (decision.action, decision.ending) == (retrieve(2), Ending.EXTRACTIVE)
        assert decision.answer_s == 0.015


def test_an_answer_time_between_two_steps_is_rounded_up() -> None:
    # 60 ms of retrieval leave 300.0 ms of 360.0 ms, half a millisecond too few for the answer; of 361 ms they do not.
    process = solved(times=replace(MODEL_TIMES, reason_s=None, free_answer_s=0.3005), n_foci=1, step_us=1_000)
    assert [act(process, 0, left).answer_s for left in (0.360, 0.361)] == [0.015, 0.3005]
    process = solved(times=replace(MODEL_TIMES, reason_s=None, extractive_answer_s=0.0155), n_foci=1, step_us=1_000)
    assert [act(process, 0, left).action for left in (0.075, 0.076)] == [TERMINATE, retrieve(1)]


def test_no_fan_out_is_wider_than_the_foci_that_are_open() -> None:
    process = solved(tracker("constant", MdpParameters()), n_foci=4)
    for open_foci in range(5):
        decision = Policy(strategy("mdp"), process).act(PolicyState(progress=0.0, open_foci=open_foci))
        assert decision.action.fan_out <= open_foci
        assert (decision.action == TERMINATE) == (open_foci == 0)
        assert [decision.action_value[retrieve(n)] is not None for n in range(1, 5)] == [
            n <= open_foci for n in range(1, 5)
        ]


def test_a_bad_state_is_refused() -> None:
    policy = Policy(strategy("mdp"), solved())
    for state, message in (
        (PolicyState(progress=0.0, open_foci=4), r"open_foci must be in 0\.\.3, got 4"),
        (PolicyState(progress=0.0, open_foci=3, steps=-1), "steps must be at least 0, got -1"),
        (PolicyState(progress=1.5, open_foci=3), r"progress must be in \[0, 1\], got 1\.5"),
        (PolicyState(progress=0.0, open_foci=3, time_left_s=math.nan), "time_left_s must be a number"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            policy.act(state)


def test_the_time_step_follows_the_actions() -> None:
    assert time_step_us(BUILTIN_TIMES, [retrieve(1), retrieve(8)]) == 1_000  # a twentieth of 20 ms
    assert time_step_us(MODEL_TIMES, [retrieve(1), REASON]) == 3_000  # a twentieth of 60 ms
    assert time_step_us(replace(MODEL_TIMES, reason_s=20.0), [retrieve(1), REASON]) == 20_000  # a thousandth of 20 s


def walk(process: SolvedProcess, name: str, *, tries: int = 10) -> list[Action]:
    """Run a strategy where no step ever closes a focus, without a budget."""
    taken: list[Action] = []
    while len(taken) < tries:
        taken.append(act(process, 0, None, name=name, steps=len(taken)).action)
        if taken[-1] == TERMINATE:
            break
    return taken


def test_single_shot_searches_once_with_the_question_itself() -> None:
    process = solved(n_foci=1)
    assert strategy("single_shot").question_only
    assert walk(process, "single_shot") == [retrieve(1), TERMINATE]
    assert not any(strategy(name).question_only for name in STRATEGIES if name != "single_shot")


def test_always_retrieve_goes_on_until_every_focus_is_closed() -> None:
    process = solved(times=MODEL_TIMES)
    assert walk(process, "always_retrieve", tries=4) == [retrieve(1)] * 4
    assert act(process, 3, None, name="always_retrieve").action == TERMINATE
    wide = Policy(strategy("always_retrieve", StrategyOptions(fan_out=8)), process)
    assert wide.act(PolicyState(progress=1 / 3, open_foci=2)).action == retrieve(2)
    # 364 ms less 300 ms for the answer: RETRIEVE(1) takes 60 ms and fits, RETRIEVE(2) takes 65 ms.
    later = PolicyState(progress=0.0, open_foci=3, time_left_s=0.364, steps=1)
    assert wide.act(later).action == retrieve(1)
    # No answer of the model is given up for another search, unless nothing was searched yet.
    assert wide.act(replace(later, time_left_s=0.35)).action == TERMINATE
    assert wide.act(replace(later, time_left_s=0.35, steps=0)).action == retrieve(3)
    constant = solved(tracker("constant", MdpParameters()), n_foci=3)
    state = PolicyState(progress=1.0, open_foci=1)
    assert Policy(strategy("always_retrieve"), constant).act(state).action == retrieve(1)


def test_always_reason_reasons_where_a_model_runs_and_is_refused_elsewhere() -> None:
    assert walk(solved(times=MODEL_TIMES), "always_reason", tries=3) == [REASON] * 3
    assert act(solved(times=MODEL_TIMES), 3, None, name="always_reason").action == TERMINATE
    assert act(solved(times=MODEL_TIMES), 0, 0.4, name="always_reason").reason == (
        "TERMINATE: 3 of 3 foci open, always reason, but no reasoning fits in the time left"
    )
    with pytest.raises(NotReadyError, match="always_reason needs a synthesizer with a language model"):
        Policy(strategy("always_reason"), solved())


def test_fixed_retrieves_below_its_threshold_then_reasons_or_ends() -> None:
    with_model, without = solved(times=MODEL_TIMES, n_foci=4), solved(n_foci=4)
    names = [
        [act(process, closed, None, name="fixed").action for closed in range(5)] for process in (with_model, without)
    ]
    assert names == [
        [retrieve(1), retrieve(1), REASON, REASON, TERMINATE],
        [retrieve(1), retrieve(1), TERMINATE, TERMINATE, TERMINATE],
    ]
    policy = Policy(strategy("fixed", StrategyOptions(fixed_threshold=0.2, fan_out=3)), with_model)
    assert policy.act(PolicyState(progress=0.0, open_foci=4)).action == retrieve(3)
    assert policy.act(PolicyState(progress=0.25, open_foci=3)).action == REASON


def test_random_repeats_itself_with_its_seed_and_only_then() -> None:
    process = solved(times=MODEL_TIMES)

    def drawn(seed: int) -> list[Action]:
        policy = Policy(strategy("random", StrategyOptions(seed=seed)), process)
        return [policy.act(PolicyState(progress=0.0, open_foci=3, steps=step)).action for step in range(200)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert set(drawn(1)) == {TERMINATE, REASON, retrieve(1), retrieve(2), retrieve(3)}


def test_random_leaves_reason_out_where_no_model_runs() -> None:
    policy = Policy(strategy("random"), solved())
    kinds = {policy.act(PolicyState(progress=0.0, open_foci=3, steps=step)).action.kind for step in range(100)}
    assert kinds == {ActionKind.TERMINATE, ActionKind.RETRIEVE}


def test_an_unknown_strategy_is_refused_with_the_known_names() -> None:
    with pytest.raises(
        InvalidArgumentError, match="strategy must be one of mdp, fixed, always_reason, always_retrieve"
    ):
        strategy("greedy")
    for options, message in (
        ({"fixed_threshold": 1.5}, r"fixed_threshold must be a number in \[0, 1\], got 1\.5"),
        ({"fan_out": 9}, r"fan_out must be in 1\.\.8, got 9"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            StrategyOptions(**options)


parameter_sets = st.builds(
    MdpParameters,
    retrieve_gain=st.floats(0.05, 1.0),
    reason_gain=st.floats(0.02, 1.0),
    success_probability=st.floats(0.0, 1.0),
    reason_success_probability=st.floats(0.0, 1.0),
    overlap=st.floats(0.0, 1.0),
    retrieve_cost=st.floats(0.0, 0.3),
    rules_cost=st.floats(0.0, 0.3),
    reason_cost=st.floats(0.0, 0.3),
    cost_weight=st.floats(0.05, 2.0),
    discount=st.floats(0.6, 1.0),
    quality=st.builds(quality, st.sampled_from(QUALITIES), st.floats(0.5, 20.0)),
    extractive_quality=st.floats(0.0, 1.0),
)
durations = st.floats(0.004, 0.5)
time_sets = st.builds(
    ActionTimes,
    retrieve_s=st.lists(durations, min_size=8, max_size=8).map(tuple),
    rules_retrieve_s=st.none() | st.lists(st.floats(0.004, 0.05), min_size=8, max_size=8).map(tuple),
    reason_s=st.none() | durations,
    free_answer_s=st.floats(0.001, 0.5),
    choice_answer_s=st.floats(0.001, 0.5),
    extractive_answer_s=st.floats(0.001, 0.5),
)


def moves_of(name: str, parameters: MdpParameters) -> ProgressTracker:
    return ConstantTracker(parameters, n_progress=41) if name == "constant" else tracker(name, parameters)


@settings(max_examples=150)
@given(
    parameters=parameter_sets,
    times=time_sets,
    tracker_name=st.sampled_from(TRACKERS),
    name=st.sampled_from(STRATEGIES),
    mode=st.sampled_from(AnswerMode),
    n_foci=st.integers(1, 8),
    budget_s=st.floats(0.001, 3.0),
    seed=st.integers(0, 2**32),
)
def test_no_episode_exceeds_its_budget(
    parameters: MdpParameters,
    times: ActionTimes,
    tracker_name: str,
    name: str,
    mode: AnswerMode,
    n_foci: int,
    budget_s: float,
    seed: int,
) -> None:
    """Actions take at most T_a here; successes are drawn. What is to follow must start with its own time left."""
    assume(name != "always_reason" or times.reason_s is not None)
    moves = moves_of(tracker_name, parameters)
    process = solved(moves, n_foci=n_foci, parameters=parameters, times=times, mode=mode, horizon_s=3.0)
    policy = Policy(strategy(name, StrategyOptions(fan_out=3, seed=seed)), process)
    generator = np.random.default_rng(seed)
    progress, closed, elapsed_s, steps = moves.start(n_foci), 0, 0.0, 0
    while True:
        state = PolicyState(progress=progress, open_foci=n_foci - closed, steps=steps, time_left_s=budget_s - elapsed_s)
        decision = policy.act(state)
        if decision.action == TERMINATE or steps == 200:
            break
        assert decision.action_value[decision.action] is not None
        assert max(decision.action.fan_out, 1) <= n_foci - closed
        takes_s = times.rules_s(decision.action) if decision.by_rules else times.action_s(decision.action)
        assert takes_s is not None
        elapsed_s += takes_s * generator.choice([1.0, generator.random()])
        assert microseconds_down(budget_s - elapsed_s) >= microseconds_up(decision.answer_s)
        assert decision.action != REASON or decision.answer_s == times.answer_s(mode)
        tries = max(decision.action.fan_out, 1)
        successes = int(generator.binomial(tries, 0.5))
        closed += successes
        outcome = StepOutcome(
            n_foci=n_foci,
            closed_foci=closed,
            useful_retrievals=successes if decision.action.fan_out else 0,
            finished_notes=0 if decision.action.fan_out else 1,
        )
        progress, steps = moves.after(progress, outcome), steps + 1
    if steps:
        assert decision.ending is not Ending.INFEASIBLE
        assert decision.ending is Ending.MODEL or name == "mdp" or steps == 1


@settings(max_examples=60)
@given(parameters=parameter_sets, times=time_sets, tracker_name=st.sampled_from(TRACKERS), n_foci=st.integers(1, 6))
def test_v_never_falls_with_more_progress_or_more_time(
    parameters: MdpParameters, times: ActionTimes, tracker_name: str, n_foci: int
) -> None:
    process = solved(
        moves_of(tracker_name, parameters), n_foci=n_foci, parameters=parameters, times=times, horizon_s=1.5
    )
    budgeted = process.solution.budgeted.value
    assert np.diff(budgeted, axis=0).min(initial=0.0) >= -1e-12
    assert np.diff(budgeted, axis=1).min(initial=0.0) >= -1e-12
    assert np.diff(process.solution.stationary.value).min() >= -1e-12
    clock = [*np.linspace(0.0, 1.5, 40).tolist(), None]
    worth = np.array([[process.value(u, left) for u in (0.0, 1.0)] for left in clock])
    feasible = worth[np.isfinite(worth[:, 0])]
    assert np.diff(feasible, axis=0).min(initial=0.0) >= -1e-9


@settings(max_examples=60)
@given(
    parameters=parameter_sets,
    times=time_sets,
    mode=st.sampled_from(AnswerMode),
    n_foci=st.integers(1, 6),
    time_left_s=st.floats(0.0, 1.5),
)
def test_a_choice_of_wording_is_worth_no_less_than_the_model_alone_and_no_more_than_free_rules(
    parameters: MdpParameters, times: ActionTimes, mode: AnswerMode, n_foci: int, time_left_s: float
) -> None:
    # The same steps for all three, or rounding would decide.
    rules = times.rules_retrieve_s or (0.02,) * 8
    rules = tuple(min(fast, slow) for fast, slow in zip(rules, times.retrieve_s, strict=True))
    alone, both, free = (
        solved(n_foci=n_foci, parameters=parameters, times=each, mode=mode, horizon_s=1.5, step_us=2_000)
        for each in (
            replace(times, rules_retrieve_s=None),
            replace(times, rules_retrieve_s=rules),
            replace(times, rules_retrieve_s=None, retrieve_s=rules),
        )
    )
    worth = [process.value(0.0, time_left_s) for process in (alone, both, free)]
    assert worth[0] <= worth[1] + 1e-9
    assert worth[1] <= worth[2] + 1e-9


@settings(max_examples=60)
@given(
    parameters=parameter_sets,
    times=time_sets,
    tracker_name=st.sampled_from(TRACKERS),
    n_foci=st.integers(1, 6),
    field=st.sampled_from(["retrieve_cost", "rules_cost", "reason_cost", "cost_weight"]),
    more=st.floats(0.0, 1.0),
)
def test_dearer_actions_never_raise_v(
    parameters: MdpParameters, times: ActionTimes, tracker_name: str, n_foci: int, field: str, more: float
) -> None:
    dear = replace(parameters, **{field: getattr(parameters, field) + more})
    cheap_process, dear_process = (
        solved(moves_of(tracker_name, each), n_foci=n_foci, parameters=each, times=times, horizon_s=1.0)
        for each in (parameters, dear)
    )
    cheap, costly = cheap_process.solution, dear_process.solution
    assert (costly.stationary.value <= cheap.stationary.value + 1e-9).all()
    for slack in range(max(len(cheap.budgeted.value), len(costly.budgeted.value))):
        assert (costly.budgeted.row(slack) <= cheap.budgeted.row(slack) + 1e-9).all()


@settings(max_examples=60)
@given(
    parameters=parameter_sets,
    times=time_sets,
    tracker_name=st.sampled_from(TRACKERS),
    n_foci=st.integers(1, 6),
    time_left_s=st.none() | st.floats(0.0, 2.0),
)
def test_terminating_is_optimal_at_full_progress(
    parameters: MdpParameters, times: ActionTimes, tracker_name: str, n_foci: int, time_left_s: float | None
) -> None:
    process = solved(
        moves_of(tracker_name, parameters), n_foci=n_foci, parameters=parameters, times=times, horizon_s=1.5
    )
    assert process.evaluate(1.0, time_left_s).best == TERMINATE


@settings(max_examples=60)
@given(
    parameters=parameter_sets,
    times=time_sets,
    tracker_name=st.sampled_from(TRACKERS),
    n_foci=st.integers(1, 6),
    step_us=st.integers(500, 4_000),
    time_left_s=st.floats(0.0, 1.0),
)
def test_halving_the_time_step_never_lowers_v(
    parameters: MdpParameters,
    times: ActionTimes,
    tracker_name: str,
    n_foci: int,
    step_us: int,
    time_left_s: float,
) -> None:
    coarse, fine = (
        solved(
            moves_of(tracker_name, parameters),
            n_foci=n_foci,
            parameters=parameters,
            times=times,
            horizon_s=1.0,
            step_us=each,
        )
        for each in (2 * step_us, step_us)
    )
    assert fine.value(0.0, time_left_s) >= coarse.value(0.0, time_left_s) - 1e-9


@pytest.mark.parametrize("tracker_name", TRACKERS)
def test_the_default_policy_spends_its_budget_as_its_table_says(tracker_name: str) -> None:
    # Simulated with the process's own chances, the mean worth of an episode is V(0, t): 4,000 episodes, four sigma.
    parameters = MdpParameters()
    process = solved(moves_of(tracker_name, parameters), n_foci=3, parameters=parameters)
    mdp, generator, n_episodes, budget_s = process.mdp, np.random.default_rng(5), 4_000, 0.1
    worths = []
    for _ in range(n_episodes):
        progress, left_s, worth, weight = 0.0, budget_s, 0.0, 1.0
        while (action := process.evaluate(progress, left_s).best) != TERMINATE:
            a = mdp.actions.index(action)
            worth -= weight * mdp.cost[a]
            weight *= mdp.discount
            progress = min(1.0, progress + float(generator.choice(mdp.gain, p=mdp.probability[a])))
            left_s -= process.times.action_s(action)
        worths.append(worth + weight * float(mdp.quality(progress)))
    error = 4 * float(np.std(worths)) / math.sqrt(n_episodes)
    assert float(np.mean(worths)) == pytest.approx(process.value(0.0, budget_s), abs=error + 1e-3)
