"""Connections that are reset in the middle of a message, and readers that stop reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from fault_network import Network, network
from fault_report import Observed
from fault_stack import QUESTIONS, script, until
from faulting_proxy import Way

from argo.errors import NotReadyError
from argo.result import AskLimits, QuestionEvent
from deploy.roster import DECOMPOSER, ORCHESTRATOR, RETRIEVER, SYNTHESIZER

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUP = "Network"
SLOW = 500
"""Bytes a second at which most of an answer is still to come, however late its first words are heard of here."""
READERS = 24
HEAVY: Mapping[str, Any] = {"strategy": "always_retrieve", "limits": AskLimits(top_k=20)}
"""A question whose events are many and long."""
GROWTH_BYTES = 16 * 1024 * 1024
"""What a process grows by that begins to answer several questions at once, besides what it holds of them."""
SLACK = 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with network(tmp_path_factory.mktemp("reset"), scripts={SYNTHESIZER: script(0.05, 0.01)}) as made:
        yield made


@pytest.mark.case(
    GROUP,
    "reset in the middle of a reply of Search",
    injected="400 bytes of the reply pass, then RST on both sides",
    expected="Search is made once more and the answer is whole, the same as without the fault",
)
async def test_a_search_whose_reply_was_cut_is_made_once_more(net: Network, observed: Observed) -> None:
    retriever = net.stack[RETRIEVER]
    async with net.stack.invariant() as checked, net.client() as client:
        fields = {"budget_ms": 0, "strategy": "single_shot"}
        whole = await net.stack.ask(client, QUESTIONS[0], **fields)
        before = await retriever.served("Search")
        net[RETRIEVER].reset_after(400)
        asked = await net.stack.ask(client, QUESTIONS[0], **fields)
        assert whole.answer is not None and asked.answer is not None
        hops = [hop.error or "OK" for hop in asked.answer.timing.hops if hop.name == "Search"]
        observed(f"{asked.outcome}, Search ended {', then '.join(hops)}")
        assert (asked.outcome, hops) == ("answered", ["UNAVAILABLE", "OK"])
        assert await retriever.served("Search") - before == 2
        assert asked.answer.text == whole.answer.text
        assert [one.id for one in asked.answer.passages] == [one.id for one in whole.answer.passages]
    observed(checked)


@pytest.mark.case(
    GROUP,
    "reset before a reply of PlanFoci",
    injected="one byte passes back, then RST on both sides",
    expected="gRPC's retry makes the call again, and the answer is whole",
)
async def test_a_call_of_which_nothing_came_back_is_retried(net: Network, observed: Observed) -> None:
    async with net.stack.invariant() as checked, net.client() as client:
        net[DECOMPOSER].reset_after(1)
        before = net[DECOMPOSER].accepted
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=0)
        observed(f"{asked.outcome} over {net[DECOMPOSER].accepted - before} new connection")
        assert asked.outcome == "answered"
        assert net[DECOMPOSER].accepted - before == 1
    observed(checked)


@pytest.mark.case(
    GROUP,
    "reset in the middle of a streamed answer",
    injected="RST on both sides, in the third piece of the answer",
    expected="answered with quoted passages, flagged synthesizer; Synthesize was called once",
)
async def test_an_answer_that_had_begun_is_not_begun_again(net: Network, observed: Observed) -> None:
    synthesizer, pieces = net.stack[SYNTHESIZER], 0

    async def cut(event: QuestionEvent) -> None:
        nonlocal pieces
        pieces += event.event == "answer_delta"
        if event.event == "answer_delta" and pieces == 2:
            net[SYNTHESIZER].reset_after(5)

    async with net.stack.invariant() as checked, net.client() as client:
        net[SYNTHESIZER].trickle(SLOW, Way.TO_CLIENT)
        before = await synthesizer.served("Synthesize")
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=0, on_event=cut)
        assert asked.outcome == "degraded: synthesizer" and asked.answer is not None
        assert "best passages" in asked.answer.text and asked.answer.citations

        async def ended() -> bool:
            return await synthesizer.served("Synthesize") > before

        await until(ended, why="the synthesizer has not let go of the answer")
        called = await synthesizer.served("Synthesize") - before
        observed(f"{asked.outcome} after {pieces} pieces, Synthesize called {called} time")
        assert called == 1
        await net.heal()
        await net.stack.until_answered(client)
    observed(checked)


@pytest.mark.case(
    GROUP,
    "reset between client and orchestrator in mid-answer",
    injected="RST on both sides at the second piece of the answer",
    expected="UNAVAILABLE; interrupted, resumed, then repeated under the same session id; one record",
)
async def test_a_client_that_lost_its_answer_resumes_it(net: Network, observed: Observed) -> None:
    pieces = 0

    async def cut(event: QuestionEvent) -> None:
        nonlocal pieces
        pieces += event.event == "answer_delta"
        if pieces == 2:
            net[ORCHESTRATOR].reset()

    async with net.stack.invariant() as checked, net.client() as client:
        net[SYNTHESIZER].trickle(SLOW, Way.TO_CLIENT)
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=0, on_event=cut)
        await net.heal()
        assert asked.outcome == "UnavailableError"

        async def interrupted() -> bool:
            return (await client.session(asked.session_id)).status == "interrupted"

        await until(interrupted, why="the session of a lost client is not interrupted")
        before = await client.session(asked.session_id)
        again = await net.stack.ask(client, QUESTIONS[1], budget_ms=0, session_id=asked.session_id)
        assert isinstance(again.error, NotReadyError)
        resumed = await client.resume(asked.session_id)
        repeated = await net.stack.ask(client, QUESTIONS[1], budget_ms=0, session_id=asked.session_id)
        after = await client.session(asked.session_id)
        observed(f"{asked.outcome}, interrupted after {len(before.steps)} step, resumed to {len(after.steps)}")
        assert repeated.answer is not None and repeated.answer.text == resumed.text
        assert (after.status, after.resumed, resumed.degradations) == ("finished", 1, ())
        assert after.steps[: len(before.steps)] == before.steps
    observed(checked)


@pytest.mark.case(
    GROUP,
    "slow readers",
    injected=f"the connection of {READERS} questions is no longer read from; a budget of 2,000 ms",
    expected="their deadline ends them and what they asked is recorded; memory grows by little more than what was not"
    " read; another client is answered",
)
async def test_readers_that_stop_hold_up_nobody(net: Network, observed: Observed) -> None:
    orchestrator = net.stack[ORCHESTRATOR]
    async with net.stack.invariant() as checked, net.client() as client, net.stack.client() as other:
        passed = net[ORCHESTRATOR].passed[Way.TO_CLIENT]
        await net.stack.ask(client, QUESTIONS[1], budget_ms=2_000, **HEAVY)
        size = net[ORCHESTRATOR].passed[Way.TO_CLIENT] - passed
        before = orchestrator.resident_bytes()
        net[ORCHESTRATOR].hold(Way.TO_CLIENT)
        stuck = [
            asyncio.create_task(net.stack.ask(client, f"{QUESTIONS[1]} {number}", budget_ms=2_000, **HEAVY))
            for number in range(READERS)
        ]
        served = await net.stack.ask(other, QUESTIONS[0], budget_ms=0)
        ended = await asyncio.gather(*stuck)
        grown = orchestrator.resident_bytes() - before
        statuses = {(await other.session(one.session_id)).status.value for one in ended}
        observed(
            f"{READERS} ended {', '.join(sorted({one.outcome for one in ended}))}, recorded as"
            f" {', '.join(sorted(statuses))}; {READERS * size / 2**20:.1f} MiB were not read, memory grew by"
            f" {grown / 2**20:.1f} MiB; the other client {served.outcome}"
        )
        assert served.outcome == "answered"
        assert {one.outcome for one in ended} == {"DeadlineExceededError"}
        assert statuses == {"finished"}
        assert grown < GROWTH_BYTES + SLACK * READERS * size
        assert await orchestrator.metric("argo_questions_running") == 0
        await net.heal()
        await net.stack.until_answered(client)
    observed(checked)


@pytest.mark.case(
    GROUP,
    "trickling connection",
    injected="2,000 bytes a second between client and orchestrator, both ways; a budget of 1,000 ms",
    expected="DEADLINE_EXCEEDED at the client; the answer is recorded and given again",
)
async def test_an_answer_that_trickles_is_recorded_all_the_same(net: Network, observed: Observed) -> None:
    async with net.stack.invariant() as checked, net.client() as client, net.stack.client() as other:
        await net.stack.ask(client, budget_ms=0)
        net[ORCHESTRATOR].trickle(2_000, *Way)
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=1_000)
        await net.heal()
        observed(f"{len(asked.events)} events, then {asked.outcome} after {asked.seconds:.2f} s")
        assert asked.outcome == "DeadlineExceededError"
        again = await net.stack.ask(other, QUESTIONS[1], budget_ms=1_000, session_id=asked.session_id)
        assert again.outcome == "answered"
    observed(checked)
