"""What is counted of questions, on real gRPC in front of scripted services."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

import grpc
import pytest
from scripted_stack import Stack, passage, refused

from argo.metric import DECLARED, Metrics
from argo.telemetry import Telemetry
from orchestrator.action_time import AnswerMode
from orchestrator.metric import PolicyMetrics
from orchestrator.parameter import MdpParameters
from orchestrator.policy_book import PolicyBook

QUESTION = "What is E2?"


def values(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Samples of one name by their labels' values, in the order of their declaration; zeros left out."""
    [labels] = [declared.labels for declared in DECLARED if name.startswith(declared.name)]
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name and sample.value
    }


async def _counting(peers: Stack, **settings: Any) -> Metrics:
    metrics = Metrics("orchestrator")
    await peers.start_orchestrator(Telemetry(None, metrics=metrics), **settings)
    return metrics


async def test_a_question_is_counted_by_its_strategy_its_outcome_and_what_ended_it(peers: Stack) -> None:
    metrics = await _counting(peers)
    peers.retriever.found[QUESTION] = [passage("p", relevance=0.9, foci={"f1": 0.9})]
    first = await peers.answer(QUESTION, budget_ms=5_000)
    peers.retriever.found["What is nowhere?"] = []
    second = await peers.answer("What is nowhere?", strategy="single_shot", budget_ms=0)
    assert (first.abstained, second.abstained) == (False, True)
    assert values(metrics, "argo_questions_total") == {
        ("mdp", "answered", "policy"): 1,
        ("single_shot", "abstained", "policy"): 1,
    }
    assert values(metrics, "argo_question_duration_seconds_count") == {("mdp", "free"): 1, ("single_shot", "free"): 1}
    total_s = sum(values(metrics, "argo_question_duration_seconds_sum").values())
    assert total_s == pytest.approx(first.timing.total_s + second.timing.total_s)
    # Only the first had a budget, and was well inside it.
    assert values(metrics, "argo_budgeted_questions_total") == {("mdp",): 1}
    assert values(metrics, "argo_budget_misses_total") == {}
    assert values(metrics, "argo_budget_used_ratio_sum") == {(): pytest.approx(first.timing.total_s / 5)}
    assert values(metrics, "argo_progress_at_end_sum") == {(): pytest.approx(first.progress + second.progress)}
    assert values(metrics, "argo_question_searches_sum") == {(): first.searches + second.searches}
    assert values(metrics, "argo_actions_total") == {
        ("mdp", "retrieve"): first.steps,
        ("mdp", "terminate"): 1,
        ("single_shot", "retrieve"): second.steps,
        ("single_shot", "terminate"): 1,
    }
    assert values(metrics, "argo_questions_running") == {}


async def test_a_missed_budget_and_a_degraded_answer_are_counted_once_each(peers: Stack) -> None:
    metrics = await _counting(peers)
    peers.decomposer.fail["PlanFoci"] = grpc.StatusCode.UNAVAILABLE
    peers.retriever.found[QUESTION] = [passage("p", relevance=0.9, foci={"f1": 0.9})]

    async def late() -> None:
        await asyncio.sleep(0.3)

    peers.synthesizer.on_synthesize = late
    answer = await peers.answer(QUESTION, budget_ms=200)
    assert not answer.within_budget
    assert values(metrics, "argo_budget_misses_total") == {("mdp",): 1}
    assert values(metrics, "argo_degraded_questions_total") == {(): 1}
    assert values(metrics, "argo_degradations_total") == {("decomposer",): 1}


async def test_questions_that_fail_or_lose_their_caller_are_counted_as_such(peers: Stack) -> None:
    metrics = await _counting(peers)
    peers.retriever.fail["Search"] = grpc.StatusCode.UNAVAILABLE
    async with refused(grpc.StatusCode.UNAVAILABLE):
        await peers.answer(QUESTION)
    del peers.retriever.fail["Search"]
    held = asyncio.Event()
    peers.synthesizer.on_synthesize = held.wait
    call = peers.call(QUESTION)
    reading = asyncio.create_task(_all(call))
    await peers.synthesizer.wait_for("Synthesize")
    assert values(metrics, "argo_questions_running") == {(): 1}
    call.cancel()
    await asyncio.wait({reading})
    async with asyncio.timeout(10):
        while values(metrics, "argo_questions_running"):
            await asyncio.sleep(0.01)
    assert values(metrics, "argo_questions_total") == {
        ("mdp", "failed", "unavailable"): 1,
        ("mdp", "interrupted", "caller"): 1,
    }


async def test_a_question_that_the_session_store_could_not_take_in_is_counted_as_failed_once(peers: Stack) -> None:
    metrics = await _counting(peers)
    with contextlib.closing(sqlite3.connect(peers.session_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with refused(grpc.StatusCode.UNAVAILABLE):
            await peers.ask(QUESTION, session_id="locked")
        other.execute("ROLLBACK")
    assert peers.decomposer.of("PlanFoci") == []
    assert values(metrics, "argo_questions_total") == {("mdp", "failed", "unavailable"): 1}
    await peers.answer(QUESTION, session_id="locked")
    # Who only asks again under the id of what is recorded has not asked a question more.
    async with refused(grpc.StatusCode.ALREADY_EXISTS):
        await peers.ask("What is A1?", session_id="locked")
    counted = values(metrics, "argo_questions_total")
    assert sum(counted.values()) == 2 and counted["mdp", "failed", "unavailable"] == 1


async def _all(call: Any) -> list[Any]:
    return [event async for event in call]


def test_thresholds_are_those_that_the_book_reports_and_follow_a_new_solution() -> None:
    book = PolicyBook()
    shown = PolicyMetrics(book, 1_000)

    def now() -> dict[tuple[str, int, str], float]:
        return {
            (family.name, int(sample.labels["foci"]), sample.labels["mode"]): sample.value
            for family in shown.read()
            for sample in family.samples
        }

    before = now()
    # Retrieval that hardly ever helps and costs much is not worth a step.
    book.replace(MdpParameters(success_probability=0.01, retrieve_cost=0.9))
    after = now()
    assert before != after
    for n_foci in range(1, 9):
        for mode in AnswerMode:
            thresholds = book.report(n_foci=n_foci, mode=mode, time_left_s=1.0).thresholds
            assert after["argo_policy_theta_cont", n_foci, mode.value] == thresholds.theta_cont
            assert after["argo_policy_theta_star", n_foci, mode.value] == thresholds.theta_star
            assert after["argo_policy_two_threshold", n_foci, mode.value] == thresholds.describes_table
