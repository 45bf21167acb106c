"""A caller hears of a step once it is in the store, and of nothing after it before."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from contextlib import closing
from typing import Any

from scripted_stack import Event, Stack, foci, kinds, passage

from argo.errors import AlreadyExistsError
from argo.v1 import session_pb2
from orchestrator.recorder import Recorder

QUESTION = "What is E2?"


async def test_a_step_is_told_once_it_is_recorded_and_what_follows_is_told_after_it(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha")
    stack.retriever.found[QUESTION] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    events: list[Event] = []
    searching = asyncio.Event()
    locked = asyncio.Event()

    async def search(text: str) -> None:
        searching.set()
        await locked.wait()

    async def ask() -> None:
        async for event in stack.call(QUESTION, session_id="s1"):
            events.append(event)

    stack.retriever.on_search = search
    asked = asyncio.create_task(ask())
    await searching.wait()
    with closing(sqlite3.connect(stack.session_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked.set()
        # The answer is begun meanwhile, and its words are there before the step is recorded.
        [answering] = await stack.synthesizer.wait_for("Synthesize")
        await answering.ended.wait()
        await stack.policy()
        assert not {"step_finished", "answer_delta"} & set(kinds(events))
        other.execute("ROLLBACK")
    await asked
    assert list(dict.fromkeys(kinds(events)))[-3:] == ["step_finished", "answer_delta", "answer"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_a_write_refused_under_a_question_that_ended_otherwise_is_no_lost_task() -> None:
    # As of an orchestrator that was frozen, and whose question another has taken over and answered.
    class TakenOver:
        async def plan(self, session_id: str, plan: session_pb2.RecordedPlan) -> None:
            raise AlreadyExistsError("taken over by another orchestrator")

    lost: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: lost.append(context))
    store: Any = TakenOver()
    recorder = Recorder("s1", store, lambda event: None)
    recorder.plan(session_pb2.RecordedPlan())
    await recorder.ended()
    del recorder
    gc.collect()
    assert lost == []
