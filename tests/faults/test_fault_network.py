"""Partitions, half-open connections and frozen processes, between every two processes that talk to each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fault_network import BEHIND, Network, network
from fault_report import Observed
from fault_stack import QUESTIONS, Asked, script, until
from faulting_proxy import Way

from argo.client import Client
from argo.result import QuestionEvent
from deploy.roster import ORCHESTRATOR, RETRIEVER, SYNTHESIZER

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUP = "Network"
BUDGET_MS = 1_000
DEADLINE_S = 2.0
"""What the client gives a question with that budget."""
SLACK = 5
BREAKER_S = 1.0
RECONNECT_S = 1.0
AT_ONCE = 6
"""More questions than the failures after which a breaker opens."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    # A language model, so that every row of the ladder is there; it takes 0.2 s for an answer.
    async with network(tmp_path_factory.mktemp("network"), scripts={SYNTHESIZER: script(0.05, 0.01)}) as made:
        yield made


async def healed(net: Network, client: Client, observed: Observed) -> None:
    """Lift what was injected; full answers come again once the breaker has let a call through."""
    await net.heal()
    took_s = await net.stack.until_answered(client)
    observed(f"full answers {took_s:.1f} s after it")
    assert took_s < SLACK * (BREAKER_S + RECONNECT_S)


def told(asked: Asked) -> str:
    """How a question with a budget ended, in the words of a report."""
    inside = asked.answer is not None and asked.answer.within_budget
    return f"{asked.outcome} in {asked.seconds:.2f} s, {'inside' if inside else 'not inside'} the budget"


@pytest.mark.parametrize("service", BEHIND)
@pytest.mark.case(
    GROUP,
    "partition of the {service}",
    injected="all that goes to and comes from the {service} is held back, connections stay open; a budget of 1,000 ms",
    expected="an answer before the deadline, flagged {service}; full answers afterwards",
)
async def test_a_partition_costs_its_service_and_no_answer(net: Network, service: str, observed: Observed) -> None:
    async with net.stack.invariant() as checked, net.client() as client:
        net[service].partition()
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=BUDGET_MS)
        observed(told(asked))
        assert asked.outcome == f"degraded: {service}"
        await healed(net, client, observed)
    observed(checked)


@pytest.mark.parametrize("way", list(Way), ids=lambda way: way.name.lower())
@pytest.mark.case(
    GROUP,
    "half-open connection of the retriever, nothing goes {way.value}",
    injected="one direction of the connection is held back; a budget of 1,000 ms",
    expected="an answer before the deadline, flagged retriever; full answers afterwards",
)
async def test_a_half_open_connection_is_a_partition(net: Network, way: Way, observed: Observed) -> None:
    async with net.stack.invariant() as checked, net.client() as client:
        net[RETRIEVER].hold(way)
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=BUDGET_MS)
        observed(told(asked))
        assert asked.outcome == "degraded: retriever"
        await healed(net, client, observed)
    observed(checked)


@pytest.mark.case(
    GROUP,
    "partition of the synthesizer in mid-answer",
    injected="all is held back from the first words of the answer on; a budget of 1,000 ms",
    expected="an answer before the deadline, flagged synthesizer, and Synthesize was called once",
)
async def test_a_partition_in_mid_answer_is_answered_without_a_second_try(net: Network, observed: Observed) -> None:
    async def cut(event: QuestionEvent) -> None:
        if event.event == "answer_delta":
            net[SYNTHESIZER].partition()

    before = await net.stack[SYNTHESIZER].served("Synthesize")
    async with net.stack.invariant() as checked, net.client() as client:
        # Slow enough that most of the answer is still to come, however late its first words are heard of here.
        net[SYNTHESIZER].trickle(2_000, Way.TO_CLIENT)
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=BUDGET_MS, on_event=cut)
        observed(told(asked))
        assert asked.outcome == "degraded: synthesizer"
        await net.heal()

        async def ended() -> bool:
            return not await net.stack.unfinished(net.stack[SYNTHESIZER])

        # It has heard that its caller is gone, and has let go of the generation.
        await until(ended, SLACK * DEADLINE_S, why="the synthesizer goes on with a call that is gone")
        called = await net.stack[SYNTHESIZER].served("Synthesize") - before
        observed(f"Synthesize called {called} time")
        assert called == 1
        await healed(net, client, observed)
    observed(checked)


@pytest.mark.case(
    GROUP,
    "half-open connection between client and orchestrator",
    injected="what the orchestrator sends is held back; a budget of 500 ms",
    expected="DEADLINE_EXCEEDED at the client; the answer is recorded, and the same session id gets it later",
)
async def test_an_answer_that_never_arrived_is_given_again(net: Network, observed: Observed) -> None:
    async with net.stack.invariant() as checked, net.client() as client:
        # Connected: what is held is the reply, not the connection.
        await net.stack.ask(client, budget_ms=BUDGET_MS)
        net[ORCHESTRATOR].hold(Way.TO_CLIENT)
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=500)
        observed(f"{asked.outcome} after {asked.seconds:.2f} s")
        assert asked.outcome == "DeadlineExceededError"
        await net.heal()
        again = await net.stack.ask(client, QUESTIONS[1], budget_ms=500, session_id=asked.session_id)
        observed(f"asked again with its session id: {again.outcome}, {len(again.events)} event")
        assert again.outcome == "answered"
        # What is recorded is repeated without the events that led to it.
        assert len(again.events) == 1
    observed(checked)


@pytest.mark.case(
    GROUP,
    "partition between client and orchestrator",
    injected="all is held back both ways, connections stay open; a budget of 500 ms",
    expected="DEADLINE_EXCEEDED at the client, within its deadline of 1.5 s; answers afterwards on the same client",
)
async def test_a_client_that_reaches_nobody_is_told_by_its_deadline(net: Network, observed: Observed) -> None:
    async with net.stack.invariant() as checked, net.client() as client:
        await net.stack.ask(client, budget_ms=BUDGET_MS)
        net[ORCHESTRATOR].partition()
        asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=500)
        observed(f"{asked.outcome} after {asked.seconds:.2f} s")
        assert asked.outcome == "DeadlineExceededError"
        assert asked.seconds < SLACK * 1.5
        await healed(net, client, observed)
    observed(checked)


@pytest.mark.parametrize("service", BEHIND)
@pytest.mark.case(
    GROUP,
    "frozen {service}",
    injected="SIGSTOP; six questions at once, then one more, each with a budget of 1,000 ms; SIGCONT",
    expected="all answered and flagged {service}; the last does not wait for it, since its breaker is open",
)
async def test_a_frozen_service_is_waited_for_by_the_first_questions_alone(
    net: Network, service: str, observed: Observed
) -> None:
    process, orchestrator = net.stack[service], net.stack[ORCHESTRATOR]
    async with net.stack.invariant() as checked, net.client() as client:
        process.freeze()
        try:
            first = await asyncio.gather(
                *(net.stack.ask(client, QUESTIONS[1], budget_ms=BUDGET_MS) for _ in range(AT_ONCE))
            )
            last = await net.stack.ask(client, QUESTIONS[1], budget_ms=BUDGET_MS)
            opened = await orchestrator.metric(f"argo_breaker_opened_total{{service={service}}}")
        finally:
            process.thaw()
        observed(f"six in at most {max(one.seconds for one in first):.2f} s; then {told(last)}")
        assert {one.outcome for one in (*first, last)} == {f"degraded: {service}"}
        assert last.answer is not None and last.answer.within_budget
        assert opened
        await healed(net, client, observed)
    observed(checked)


@pytest.mark.case(
    GROUP,
    "frozen synthesizer, no budget",
    injected="SIGSTOP; nothing ends the wait but the call's own deadline of 65 s",
    expected="noticed by an unanswered HTTP/2 ping, in at most 13 s; the answer is flagged synthesizer",
)
async def test_a_frozen_peer_is_noticed_by_a_ping_where_no_budget_ends_the_wait(
    net: Network, observed: Observed
) -> None:
    process = net.stack[SYNTHESIZER]

    async with net.stack.invariant() as checked, net.client() as client:
        process.freeze()
        try:
            asked = await net.stack.ask(client, QUESTIONS[1], budget_ms=0)
        finally:
            process.thaw()
        assert asked.outcome == "degraded: synthesizer" and asked.answer is not None
        ended = [hop.error for hop in asked.answer.timing.hops if hop.name == "Synthesize"]
        observed(f"{asked.outcome} after {asked.seconds:.1f} s, its call ended {ended[0]}")
        # The deadline would have ended it as DEADLINE_EXCEEDED.
        assert ended == ["UNAVAILABLE"]
        await healed(net, client, observed)
    observed(checked)


@pytest.mark.parametrize("service", BEHIND)
@pytest.mark.case(
    GROUP,
    "{service} refuses connections",
    injected="its connection is reset and new ones are refused; six questions; then it listens again",
    expected="all answered and flagged {service}; full answers as soon as it is connected again",
)
async def test_a_service_that_is_back_is_called_at_once(net: Network, service: str, observed: Observed) -> None:
    async with net.stack.invariant() as checked, net.client() as client:
        await net[service].refuse()
        flagged = [await net.stack.ask(client, QUESTIONS[1], budget_ms=BUDGET_MS) for _ in range(AT_ONCE)]
        observed(f"six flagged in {sum(one.seconds for one in flagged):.2f} s")
        assert {one.outcome for one in flagged} == {f"degraded: {service}"}
        await healed(net, client, observed)
    observed(checked)
