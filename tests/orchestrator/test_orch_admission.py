"""Questions over capacity on real gRPC; the queue by itself has its tests in tests/argo."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from scripted_stack import PATIENCE_S, Stack, foci, kinds, refused

from argo.metric import Metrics
from argo.telemetry import Telemetry
from argo.v1 import types_pb2

QUESTION = "What is E2?"


async def test_a_question_over_capacity_waits_for_its_turn_and_is_answered(peers: Stack) -> None:
    metrics = Metrics("orchestrator")
    await peers.start_orchestrator(Telemetry(None, metrics=metrics), max_running=1, max_queued=1)
    held = asyncio.Event()
    peers.synthesizer.on_synthesize = held.wait
    first = asyncio.create_task(peers.ask(QUESTION))
    await peers.synthesizer.wait_for("Synthesize")
    second = asyncio.create_task(peers.ask(QUESTION))
    await _until_gauge(metrics, "argo_questions_queued", 1)
    with pytest.raises(grpc.aio.AioRpcError) as full:
        await peers.ask(QUESTION, session_id="third")
    assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(full.value.trailing_metadata() or ())["argo-retry-after-ms"] == "1000"
    held.set()
    for task in (first, second):
        assert kinds(await task)[-1] == "answer"
    assert metrics.registry.get_sample_value("argo_questions_refused_total", {"reason": "full"}) == 1
    assert metrics.registry.get_sample_value("argo_question_queue_seconds_count") == 2
    assert len(peers.decomposer.of("PlanFoci")) == 2


async def test_what_is_recorded_is_repeated_although_nobody_more_may_ask(peers: Stack) -> None:
    await peers.start_orchestrator(max_running=1, max_queued=0)
    answered = (await peers.ask(QUESTION, session_id="first"))[-1]
    held = asyncio.Event()
    peers.synthesizer.on_synthesize = held.wait
    running = asyncio.create_task(peers.ask(QUESTION, session_id="running"))
    await peers.synthesizer.wait_for("Synthesize", 2)
    assert await peers.ask(QUESTION, session_id="first") == [answered]
    async with refused(grpc.StatusCode.ALREADY_EXISTS):
        await peers.ask(QUESTION, session_id="running")
    async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        await peers.ask(QUESTION, session_id="new")
    held.set()
    await running


async def test_a_repeat_takes_no_place_and_waits_for_none_where_others_wait(peers: Stack) -> None:
    metrics = Metrics("orchestrator")
    await peers.start_orchestrator(Telemetry(None, metrics=metrics), max_running=1, max_queued=4)
    answered = (await peers.ask(QUESTION, session_id="first"))[-1]
    held = asyncio.Event()
    peers.synthesizer.on_synthesize = held.wait
    running = asyncio.create_task(peers.ask(QUESTION, session_id="running"))
    await peers.synthesizer.wait_for("Synthesize", 2)
    waiting = asyncio.create_task(peers.ask(QUESTION, session_id="waiting"))
    await _until_gauge(metrics, "argo_questions_queued", 1)
    # With a place it would wait for as long as the others are held.
    async with asyncio.timeout(PATIENCE_S / 2):
        assert await peers.ask(QUESTION, session_id="first") == [answered]
        async with refused(grpc.StatusCode.ALREADY_EXISTS):
            await peers.ask(QUESTION, session_id="running")
    assert not waiting.done()
    held.set()
    await asyncio.gather(running, waiting)
    assert metrics.registry.get_sample_value("argo_question_queue_seconds_count") == 3


async def test_a_question_whose_answer_no_longer_fits_is_not_begun(peers: Stack) -> None:
    await peers.start_orchestrator(max_running=1)
    held = asyncio.Event()
    peers.synthesizer.on_synthesize = held.wait
    first = asyncio.create_task(peers.ask(QUESTION))
    await peers.synthesizer.wait_for("Synthesize")
    async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as message:
        await peers.ask(QUESTION, session_id="late", budget_ms=100)
    assert message[0].startswith("no turn came in 0.")
    async with refused(grpc.StatusCode.NOT_FOUND):
        await peers.session("late")
    held.set()
    await first
    assert len(peers.decomposer.of("PlanFoci")) == 1


async def test_a_caller_that_allows_less_gets_one_search_and_an_extractive_answer_flagged(peers: Stack) -> None:
    peers.synthesizer.language_model = True
    await peers.start_orchestrator(max_running=1, max_queued=0, max_reduced=1)
    peers.decomposer.foci = foci("alpha", "beta")
    held = asyncio.Event()
    peers.decomposer.on_plan = held.wait
    full = asyncio.create_task(peers.answer(QUESTION))
    await peers.decomposer.wait_for("PlanFoci")
    reduced = await peers.answer(QUESTION, session_id="less", allow_reduced=True)
    assert peers.retriever.searched == [QUESTION]
    assert len(peers.decomposer.calls) == 1
    # A millisecond is too little for any model: the synthesizer takes its extractive way.
    assert [call.request.time_limit_ms for call in peers.synthesizer.of("Synthesize")] == [1]
    assert [lost.kind for lost in reduced.degradations] == [types_pb2.DEGRADATION_KIND_OVERLOAD]
    assert (reduced.searches, reduced.steps, reduced.strategy) == (1, 1, "single_shot")
    held.set()
    assert [lost.kind for lost in (await full).degradations] == []


async def test_reduced_answers_have_a_bound_of_their_own(peers: Stack) -> None:
    await peers.start_orchestrator(max_running=1, max_queued=0, max_reduced=1)
    held = asyncio.Event()
    peers.synthesizer.on_synthesize = held.wait
    running = [asyncio.create_task(peers.answer(QUESTION, allow_reduced=True))]
    await peers.synthesizer.wait_for("Synthesize")
    running.append(asyncio.create_task(peers.answer(QUESTION, allow_reduced=True)))
    await peers.synthesizer.wait_for("Synthesize", 2)
    async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        await peers.answer(QUESTION, allow_reduced=True)
    held.set()
    assert [len((await task).degradations) for task in running] == [0, 1]


async def test_a_deadline_too_near_for_any_answer_is_told_before_anything_is_begun(stack: Stack) -> None:
    # The shortest builtin answer takes 15 ms, and a tenth of a deadline is kept for the way back.
    async with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
        await stack.ask(QUESTION, session_id="near", timeout=0.012)
    async with refused(grpc.StatusCode.NOT_FOUND):
        await stack.session("near")
    assert stack.decomposer.of("PlanFoci") == []


async def _until_gauge(metrics: Metrics, name: str, value: float) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while metrics.registry.get_sample_value(name) != value:
            await asyncio.sleep(0.005)
