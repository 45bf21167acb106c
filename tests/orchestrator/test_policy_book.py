"""The book of policies: solved for every number of foci, replaced in one move, described for a reader."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from argo.errors import InvalidArgumentError, NotReadyError
from orchestrator.action import REASON, TERMINATE, retrieve
from orchestrator.action_time import BUILTIN_TIMES, ActionTimes, AnswerMode
from orchestrator.parameter import BUILTIN_PARAMETERS, MdpParameters
from orchestrator.policy import PolicyState
from orchestrator.policy_book import PolicyBook
from orchestrator.strategy import STRATEGIES, strategy
from orchestrator.threshold import ActionBand, Verdict

MODEL_TIMES = ActionTimes(
    retrieve_s=(0.06, 0.065, 0.07, 0.075, 0.08, 0.085, 0.09, 0.1),
    reason_s=0.15,
    free_answer_s=0.3,
    choice_answer_s=0.05,
    extractive_answer_s=0.015,
)
START = PolicyState(progress=0.0, open_foci=2, time_left_s=1.0)


@pytest.mark.parametrize("n_foci", range(1, 9))
@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "always_reason"])
def test_every_question_size_has_a_policy_for_every_strategy(name: str, n_foci: int) -> None:
    book = PolicyBook()
    for mode in AnswerMode:
        policy = book.policy(strategy(name), n_foci=n_foci, mode=mode)
        assert (policy.strategy, policy.question_only) == (name, name == "single_shot")
        decision = policy.act(PolicyState(progress=0.0, open_foci=n_foci, time_left_s=1.0))
        assert list(decision.action_value) == [TERMINATE, *(retrieve(n) for n in range(1, n_foci + 1))]


def test_a_question_may_allow_less_fan_out_and_is_solved_for_that() -> None:
    # With one subquery at a time a second focus costs a second step: its value is discounted once more.
    book = PolicyBook()
    wide, narrow = (book.policy(strategy("mdp"), n_foci=2, mode=AnswerMode.FREE, max_fan_out=limit) for limit in (8, 1))
    assert wide.act(START).action == retrieve(2)
    assert narrow.act(START).action == retrieve(1)
    assert narrow.solved.value(0.0, None) < wide.solved.value(0.0, None)
    with pytest.raises(InvalidArgumentError, match=r"max_fan_out must be in 1\.\.8, got 9"):
        book.policy(strategy("mdp"), n_foci=2, mode=AnswerMode.FREE, max_fan_out=9)
    with pytest.raises(InvalidArgumentError, match=r"n_foci must be in 1\.\.8, got 9"):
        book.policy(strategy("mdp"), n_foci=9, mode=AnswerMode.FREE)


def test_reason_needs_a_model_and_its_time() -> None:
    with pytest.raises(InvalidArgumentError, match="reason_s must be set where a language model runs, got None"):
        PolicyBook(times=BUILTIN_TIMES, reason_available=True)
    with pytest.raises(NotReadyError, match="always_reason"):
        PolicyBook(times=MODEL_TIMES).policy(strategy("always_reason"), n_foci=2, mode=AnswerMode.FREE)
    book = PolicyBook(times=MODEL_TIMES, reason_available=True)
    policy = book.policy(strategy("always_reason"), n_foci=2, mode=AnswerMode.FREE)
    assert policy.act(START).action == REASON


def test_replacing_the_parameters_changes_new_questions_and_not_running_ones() -> None:
    book = PolicyBook()
    running = book.policy(strategy("mdp"), n_foci=2, mode=AnswerMode.FREE)
    book.replace(MdpParameters(retrieve_cost=5.0), MODEL_TIMES)
    fresh = book.policy(strategy("mdp"), n_foci=2, mode=AnswerMode.FREE)
    assert (book.parameters.retrieve_cost, book.times) == (5.0, MODEL_TIMES)
    assert running.act(START).action == retrieve(2)
    assert fresh.act(START).action == TERMINATE


def test_a_replacement_that_cannot_be_solved_changes_nothing() -> None:
    book = PolicyBook(times=MODEL_TIMES, reason_available=True)
    before = book.report(n_foci=3, mode=AnswerMode.FREE, time_left_s=1.0)
    with pytest.raises(InvalidArgumentError, match="reason_s"):
        book.replace(MdpParameters(success_probability=0.1), BUILTIN_TIMES)
    assert book.report(n_foci=3, mode=AnswerMode.FREE, time_left_s=1.0) == before


def test_a_report_shows_the_table_the_thresholds_and_the_states_asked_for() -> None:
    report = PolicyBook().report(n_foci=2, mode=AnswerMode.FREE, time_left_s=1.0, progress=[0.0, 0.5, 1.0])
    assert report.bands == (
        ActionBand(0.0, 0.0, retrieve(2)),
        ActionBand(0.5, 0.5, retrieve(1)),
        ActionBand(1.0, 1.0, TERMINATE),
    )
    assert (report.thresholds.theta_cont, report.thresholds.theta_star) == (1.0, 1.0)
    assert (report.thresholds.verdict, report.thresholds.describes_table) == (Verdict.ONE_ACTION, True)
    assert (report.tracker, report.parameters, report.times) == ("evidence", BUILTIN_PARAMETERS, BUILTIN_TIMES)
    assert [state.action for state in report.states] == [retrieve(2), retrieve(1), TERMINATE]
    assert report.states[1].reason.startswith("RETRIEVE(1): 1 of 2 foci open, worth 0.9")
    assert report.states[2].action_value == {TERMINATE: 1.0, retrieve(1): None, retrieve(2): None}


def test_a_report_of_too_little_time_is_all_terminate() -> None:
    report = PolicyBook().report(n_foci=3, mode=AnswerMode.CHOICE, time_left_s=0.034)
    assert report.bands == (ActionBand(0.0, 1.0, TERMINATE),)
    assert (report.thresholds.theta_cont, report.thresholds.theta_star) == (0.0, 0.0)


def test_a_report_may_ask_for_the_other_tracker_at_any_progress() -> None:
    book = PolicyBook()
    report = book.report(
        n_foci=3, mode=AnswerMode.FREE, time_left_s=None, tracker_name="constant", progress=[0.123, 1.0]
    )
    assert (report.tracker, book.tracker.name) == ("constant", "evidence")
    assert [state.progress for state in report.states] == [0.123, 1.0]
    with pytest.raises(InvalidArgumentError, match="progress must be a multiple of 1/3"):
        book.report(n_foci=3, mode=AnswerMode.FREE, time_left_s=None, progress=[0.123])
    with pytest.raises(InvalidArgumentError, match="tracker must be one of evidence, constant, got 'x'"):
        book.report(n_foci=3, mode=AnswerMode.FREE, time_left_s=None, tracker_name="x")


def test_a_solution_is_made_once_however_many_ask_at_once() -> None:
    book = PolicyBook()
    with ThreadPoolExecutor(8) as pool:
        policies = list(
            pool.map(lambda _: book.policy(strategy("mdp"), n_foci=5, mode=AnswerMode.FREE, max_fan_out=2), range(16))
        )
    assert len({id(policy.solved.solution) for policy in policies}) == 1


def test_an_unknown_tracker_and_a_bad_horizon_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="tracker must be one of evidence, constant, got 'oracle'"):
        PolicyBook(tracker_name="oracle")
    with pytest.raises(InvalidArgumentError, match=r"horizon_s must be a number in \(0, 60\], got 61"):
        PolicyBook(horizon_s=61)


def test_a_minute_is_worth_no_less_than_a_second_and_no_more_than_no_budget() -> None:
    book = PolicyBook(MdpParameters(success_probability=0.2), MODEL_TIMES, reason_available=True)
    for n_foci in (1, 8):
        solved = book.policy(strategy("mdp"), n_foci=n_foci, mode=AnswerMode.FREE).solved
        second, minute, unlimited = (solved.value(0.0, time_left_s) for time_left_s in (1.0, 60.0, None))
        assert second <= minute <= unlimited + 1e-9
        assert minute == pytest.approx(unlimited, abs=1e-6)
