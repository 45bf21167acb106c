"""Calls that are made once more: the budget by hand, and connections that break under a call on real gRPC."""

from __future__ import annotations

import pytest
from scripted_stack import Stack

from argo.v1 import types_pb2
from orchestrator.repeat import RepeatBudget


def test_ten_calls_may_be_made_once_more_and_one_more_for_each_ten_that_succeed() -> None:
    budget = RepeatBudget()
    budget.earn()
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]
    for _ in range(9):
        budget.earn()
    assert not budget.take()
    budget.earn()
    budget.earn()
    assert [budget.take(), budget.take()] == [True, False]


@pytest.mark.parametrize("method", ["PlanFoci", "GenerateSubquery", "Search"])
async def test_a_call_whose_connection_breaks_under_its_reply_is_made_once_more(stack: Stack, method: str) -> None:
    peer = stack.retriever if method == "Search" else stack.decomposer
    whole = await stack.answer()
    made = len(peer.of(method))
    peer.breaks[method] = 1
    answer = await stack.answer()
    assert (answer.text, list(answer.degradations)) == (whole.text, [])
    assert len(peer.of(method)) == 2 * made + 1
    hops = [hop for hop in answer.timing.hops if hop.name == method]
    assert [hop.error for hop in hops] in (["UNAVAILABLE", ""], ["UNAVAILABLE", "", ""])


async def test_a_call_that_breaks_again_is_given_up_and_flagged(stack: Stack) -> None:
    stack.decomposer.breaks["PlanFoci"] = 2
    answer = await stack.answer()
    assert [lost.kind for lost in answer.degradations] == [types_pb2.DEGRADATION_KIND_DECOMPOSER]
    assert len(stack.decomposer.of("PlanFoci")) == 2


async def test_an_answer_that_has_begun_is_not_written_once_more(stack: Stack) -> None:
    stack.synthesizer.breaks["Synthesize"] = 1
    answer = await stack.answer()
    assert [lost.kind for lost in answer.degradations] == [types_pb2.DEGRADATION_KIND_SYNTHESIZER]
    assert len(stack.synthesizer.of("Synthesize")) == 1


async def test_a_call_that_reaches_nobody_is_left_to_the_retries_of_grpc(stack: Stack) -> None:
    await stack.stop("decomposer")
    answer = await stack.answer()
    assert [hop.error for hop in answer.timing.hops if hop.name == "PlanFoci"] == ["UNAVAILABLE"]
