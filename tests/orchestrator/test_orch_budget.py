"""The soft budget, the hard deadline, and how both go down every hop."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest
from scripted_stack import PATIENCE_S, Stack, foci, passage, refused

from argo.v1 import orchestrator_pb2

QUESTION = "What is E2?"
SLACK_S = 0.25
"""Longest that this machine may keep a ready task waiting."""


async def never() -> None:
    await asyncio.Event().wait()


async def test_calls_inside_a_step_end_at_the_time_left_less_the_answers_own(peers: Stack) -> None:
    policy = peers.folder / "slow-answer.json"
    times = {"retrieve_s": [0.1] * 8, "free_answer_s": 0.5, "choice_answer_s": 0.5, "extractive_answer_s": 0.5}
    policy.write_text(json.dumps({"times": times}))
    await peers.start_orchestrator(policy_file=policy)
    events = await peers.ask(QUESTION, budget_ms=2_000)
    started = next(event.step_started for event in events if event.HasField("step_started"))
    for call in (*peers.retriever.of("Search"), *peers.decomposer.of("GenerateSubquery")):
        assert call.time_left_s is not None
        # gRPC rounds a timeout up on the wire, by at most a hundredth.
        assert call.time_left_s <= (started.time_left_ms / 1000 - 0.5) * 1.01
        assert call.time_left_s > 2.0 - 0.5 - 0.005 - events[-1].answer.timing.total_s - SLACK_S


async def test_the_callers_deadline_goes_down_every_hop(stack: Stack) -> None:
    await stack.ask(QUESTION, timeout=4.0)
    calls = [*stack.decomposer.calls, *stack.retriever.calls, *stack.synthesizer.of("Synthesize")]
    assert len(calls) >= 5
    for call in calls:
        assert call.time_left_s is not None
        assert 0 < call.time_left_s < 4.0


async def test_a_shorter_deadline_than_the_budget_bounds_the_steps(stack: Stack) -> None:
    await stack.ask(QUESTION, timeout=4.0, budget_ms=60_000)
    assert all(call.time_left_s < 4.0 for call in stack.retriever.calls)


async def test_a_call_without_deadline_gets_the_servers_own(peers: Stack) -> None:
    await peers.start_orchestrator(default_deadline_s=7.0)
    await peers.ask(QUESTION, timeout=None)
    assert all(7.0 - SLACK_S - 1 < call.time_left_s < 7.0 for call in peers.retriever.calls)


async def test_the_steps_end_before_the_servers_own_deadline_too(peers: Stack) -> None:
    await peers.start_orchestrator(default_deadline_s=0.4)
    peers.synthesizer.on_synthesize = never
    peers.decomposer.on_plan = never
    peers.decomposer.on_subquery = lambda request: never()
    peers.retriever.on_search = lambda text: never()
    # Every hop hangs: the steps and the answer's call end in time, and the last rung has nothing to quote.
    async with refused(grpc.StatusCode.UNAVAILABLE):
        await peers.ask(QUESTION, timeout=None)


async def test_a_slow_answer_is_marked_as_over_its_budget(stack: Stack) -> None:
    over = asyncio.Event()
    stack.synthesizer.on_synthesize = over.wait
    asyncio.get_running_loop().call_later(0.15, over.set)
    answer = await stack.answer(QUESTION, budget_ms=100)
    assert answer.HasField("within_budget")
    assert not answer.within_budget
    assert answer.timing.total_s > 0.1
    assert answer.budget_ms == 100


async def test_an_answer_in_time_is_marked_so(stack: Stack) -> None:
    answer = await stack.answer(QUESTION, budget_ms=5_000)
    assert answer.within_budget
    assert answer.timing.total_s <= 5.0


async def test_without_a_budget_nothing_is_said_of_one(stack: Stack) -> None:
    events = await stack.ask(QUESTION, budget_ms=0)
    assert not events[-1].answer.HasField("within_budget")
    assert not any(event.step_started.HasField("time_left_ms") for event in events if event.HasField("step_started"))
    assert not stack.synthesizer.of("Synthesize")[0].request.HasField("time_limit_ms")


async def test_the_synthesizer_is_told_the_time_left(stack: Stack) -> None:
    answer = await stack.answer(QUESTION, budget_ms=2_000)
    limit_ms = stack.synthesizer.of("Synthesize")[0].request.time_limit_ms
    assert 2_000 - answer.timing.total_s * 1000 - 5 - SLACK_S * 1000 < limit_ms < 2_000


async def test_hung_searches_leave_time_for_an_answer_within_the_budget(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.retriever.found[QUESTION] = [passage("pq", relevance=0.3)]

    async def search(text: str) -> None:
        if text != QUESTION:
            await never()

    stack.retriever.on_search = search
    answer = await stack.answer(QUESTION, budget_ms=400)
    assert [entry.id for entry in answer.passages] == ["pq"]
    assert answer.timing.total_s < 0.4 + SLACK_S
    assert answer.end_reason == orchestrator_pb2.END_REASON_BUDGET
    # The hung calls were given up by the step, not left behind.
    for call in stack.retriever.calls:
        await asyncio.wait_for(call.ended.wait(), PATIENCE_S)
    hung = [call for call in stack.retriever.calls if list(call.request.texts) != [QUESTION]]
    assert {text for call in hung for text in call.request.texts} == {"find alpha", "find beta"}
    assert all(call.cancelled for call in hung)


async def test_a_frozen_decomposer_leaves_time_to_search_the_question_itself(stack: Stack) -> None:
    stack.decomposer.on_plan = never
    stack.retriever.found[QUESTION] = [passage("pq", relevance=0.9, foci={"f1": 0.9})]
    answer = await stack.answer(QUESTION, budget_ms=600)
    assert [entry.id for entry in answer.passages] == ["pq"]
    assert answer.degradations[0].detail == (
        "the question was not split into foci (DEADLINE_EXCEEDED); it was searched as it is"
    )


async def test_hung_searches_leave_time_for_an_answer_before_the_hard_deadline(stack: Stack) -> None:
    stack.retriever.found[QUESTION] = [passage("pq", relevance=0.3)]

    async def search(text: str) -> None:
        if text != QUESTION:
            await never()

    stack.retriever.on_search = search
    answer = await stack.answer(QUESTION, budget_ms=0, timeout=2.0)
    assert [entry.id for entry in answer.passages] == ["pq"]
    assert answer.end_reason == orchestrator_pb2.END_REASON_BUDGET


async def test_a_frozen_synthesizer_is_given_up_soon_after_the_budget(stack: Stack) -> None:
    stack.synthesizer.on_synthesize = never
    stack.retriever.found[QUESTION] = [passage("pq", "the words", 0.9, {"f1": 0.9})]
    answer = await stack.answer(QUESTION, budget_ms=300, timeout=5.0)
    assert '"the words" [1]' in answer.text
    assert answer.timing.total_s < 1.0 + SLACK_S
    assert not answer.within_budget


async def test_a_frozen_synthesizer_is_given_up_before_the_hard_deadline(stack: Stack) -> None:
    stack.synthesizer.on_synthesize = never
    stack.retriever.found[QUESTION] = [passage("pq", "the words", 0.9, {"f1": 0.9})]
    answer = await stack.answer(QUESTION, budget_ms=0, timeout=2.0)
    assert '"the words" [1]' in answer.text
    assert answer.timing.total_s < 2.0


async def test_a_budget_spent_before_the_first_step_is_what_ended_the_loop(stack: Stack) -> None:
    stack.decomposer.on_plan = lambda: asyncio.sleep(0)
    times = (await stack.policy()).action_time_s
    # Enough for the answer, too little for any step besides.
    budget_ms = 50
    assert times["answer_free"] < budget_ms / 1000
    late = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, late.set)
    stack.decomposer.on_plan = late.wait
    answer = await stack.answer(QUESTION, budget_ms=budget_ms)
    assert answer.end_reason == orchestrator_pb2.END_REASON_BUDGET
    assert answer.steps == 0
    assert answer.abstained
    # "Not found" must not pass for what a search has found.
    assert answer.degradations[-1].detail == "no search fitted the time, so nothing was looked for"


async def test_a_passed_deadline_ends_the_call_with_grpcs_own_status(stack: Stack) -> None:
    stack.decomposer.on_plan = never
    call = stack.call(QUESTION, timeout=0.0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [event async for event in call]
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
