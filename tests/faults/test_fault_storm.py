"""Retries against a backend that is dead, and searches that straggle: how often the backends are really called."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from fault_network import Network, network
from fault_process import Process
from fault_report import Observed
from fault_stack import QUESTIONS, Stack, running, script, until
from faulting_proxy import FaultingProxy, Way

from argo.client import Client
from argo.errors import UnavailableError
from argo.rpc import Caller, channel
from argo.telemetry import Telemetry
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc
from deploy.roster import DECOMPOSER, ORCHESTRATOR, RETRIEVER, SYNTHESIZER
from orchestrator.peer import HopLog, Peers
from orchestrator.settings import OrchestratorSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUP = "Retries and hedging"
REQUESTS = 200
MOST = 1.2
"""Attempts a request, of the issue that asks for these tests."""
HEDGED = "argo_hedged_searches_total"
LATE_S = 2.0
PLAN_FOCI = "argo.v1.DecomposerService/PlanFoci"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with network(tmp_path_factory.mktemp("storm"), scripts={SYNTHESIZER: script(0.005, 0.0005)}) as made:
        yield made


class Dead(grpc.GenericRpcHandler):
    """A backend that is reached and answers UNAVAILABLE, and counts what reaches it.

    Args:
        well: It answers with an empty reply instead.
    """

    def __init__(self, *, well: bool = False) -> None:
        self.well = well
        self.attempts: Counter[str] = Counter()
        self.target = ""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def refuse(request: bytes, context: Any) -> bytes:
            self.attempts[details.method.rpartition("/")[2]] += 1
            if not self.well:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "dead")
            return b""

        if not details.method.startswith("/argo."):
            # A server without health checks counts as SERVING.
            return None
        return grpc.unary_unary_rpc_method_handler(refuse)


@contextlib.asynccontextmanager
async def dead(*, well: bool = False) -> AsyncIterator[Dead]:
    backend, server = Dead(well=well), grpc.aio.server()
    server.add_generic_rpc_handlers((backend,))
    backend.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield backend
    finally:
        await server.stop(0)


@pytest.mark.parametrize("at_once", [1, REQUESTS])
@pytest.mark.case(
    GROUP,
    "retry storm on a channel, {at_once} at once",
    injected=f"a backend that answers UNAVAILABLE to {REQUESTS} calls over one channel, without a breaker",
    expected=f"at most {MOST} attempts a call, by gRPC's retry throttling",
)
async def test_a_channel_makes_no_storm(at_once: int, observed: Observed) -> None:
    limit = asyncio.Semaphore(at_once)
    async with dead() as backend, channel(backend.target) as opened:
        caller, stub = Caller(opened, backend.target), decomposer_pb2_grpc.DecomposerServiceStub(opened)

        async def call() -> None:
            async with limit:
                with pytest.raises(UnavailableError):
                    await caller.unary(PLAN_FOCI, stub.PlanFoci, decomposer_pb2.PlanFociRequest(question="q"), 60)

        await asyncio.gather(*(call() for _ in range(REQUESTS)))
    attempts = backend.attempts["PlanFoci"]
    observed(f"{attempts} attempts for {REQUESTS} calls")
    # More than the calls, or nothing was retried and the bound says nothing.
    assert REQUESTS < attempts <= MOST * REQUESTS


@pytest.mark.parametrize("at_once", [1, 20, REQUESTS])
@pytest.mark.case(
    GROUP,
    "retry storm on two replicas, both dead, {at_once} at once",
    injected=f"both answer UNAVAILABLE to {REQUESTS} calls of an orchestrator, whose breakers never open",
    expected=f"at most {MOST} attempts a call",
)
async def test_two_dead_replicas_make_no_storm(at_once: int, observed: Observed) -> None:
    async with dead() as one, dead() as other:
        outcomes = await planned(at_once, one, other)
    attempts = one.attempts["PlanFoci"] + other.attempts["PlanFoci"]
    observed(f"{attempts} attempts for {REQUESTS} calls, {outcomes['UNAVAILABLE']} of them failed")
    assert outcomes == {"UNAVAILABLE": REQUESTS}
    assert REQUESTS < attempts <= MOST * REQUESTS


@pytest.mark.parametrize("at_once", [1, 20])
@pytest.mark.parametrize(("what", "failures"), [("closed", 1_000), ("as they are", 5)])
@pytest.mark.case(
    GROUP,
    "one of two replicas dead, {at_once} at once, breakers {what}",
    injected=f"one answers UNAVAILABLE to {REQUESTS} calls of an orchestrator, the other is well",
    expected="no call fails: each that meets the dead one is made again on the other; with breakers, few meet it",
)
async def test_one_dead_replica_of_two_costs_no_answer(
    at_once: int, what: str, failures: int, observed: Observed
) -> None:
    async with dead() as one, dead(well=True) as other:
        outcomes = await planned(at_once, one, other, failures=failures)
    in_vain = one.attempts["PlanFoci"]
    observed(f"{outcomes['OK']} of {REQUESTS} answered, {in_vain} attempts in vain")
    assert outcomes == {"OK": REQUESTS}
    assert other.attempts["PlanFoci"] == REQUESTS
    # Every other call would meet it; a breaker that opens leaves those under way, and one each second.
    assert 0 < in_vain <= (REQUESTS if failures > REQUESTS else MOST * REQUESTS - REQUESTS)


async def planned(at_once: int, *backends: Dead, failures: int = 1_000) -> Counter[str]:
    """How as many calls as are made here over an orchestrator's channels end."""
    targets = ",".join(backend.target for backend in backends)
    settings = OrchestratorSettings(decomposer_target=targets, breaker_failures=failures)
    peers, limit = Peers(settings, Telemetry(None)), asyncio.Semaphore(at_once)

    async def call() -> str:
        async with limit:
            try:
                await peers.plan_foci(decomposer_pb2.PlanFociRequest(question="q"), 60, HopLog(0.0))
            except UnavailableError as error:
                return error.code.name
            return "OK"

    try:
        return Counter(await asyncio.gather(*(call() for _ in range(REQUESTS))))
    finally:
        await peers.close()


async def asked(stack: Stack, client: Client) -> Counter[str]:
    """How as many questions as are asked here come out."""
    limit = asyncio.Semaphore(20)

    async def ask() -> str:
        async with limit:
            return (await stack.ask(client, budget_ms=0)).outcome

    return Counter(await asyncio.gather(*(ask() for _ in range(REQUESTS))))


@pytest.mark.parametrize("service", [SYNTHESIZER, DECOMPOSER])
@pytest.mark.case(
    GROUP,
    "retry storm of questions, {service} dead",
    injected=f"a backend in its place that answers UNAVAILABLE; {REQUESTS} questions, 20 at once",
    expected=f"all answered and flagged {{service}}; at most {MOST} attempts at the backend a question, by the breaker",
)
async def test_questions_make_no_storm(net: Network, service: str, observed: Observed) -> None:
    async with dead() as backend, net.stack.invariant() as checked, net.client() as client:
        behind, net[service].service = net[service].service, backend.target
        net[service].reset()
        outcomes = await asked(net.stack, client)
        attempts = sum(count for method, count in backend.attempts.items() if method != "GetInfo")
        observed(f"{attempts} attempts for {REQUESTS} questions, all {next(iter(outcomes))}")
        assert outcomes == {f"degraded: {service}": REQUESTS}
        assert 0 < attempts <= MOST * REQUESTS
        net[service].service = behind
        net[service].reset()
        await net.stack.until_answered(client)
    observed(checked)


@pytest.mark.parametrize("service", [SYNTHESIZER, DECOMPOSER])
@pytest.mark.case(
    GROUP,
    "connection storm, nothing behind the {service}'s address",
    injected=f"every connection is reset as it is made; {REQUESTS} questions, 20 at once",
    expected=f"all answered and flagged {{service}}; at most {MOST} connections a question",
)
async def test_questions_make_no_storm_of_connections(net: Network, service: str, observed: Observed) -> None:
    proxy = net[service]
    async with net.stack.invariant() as checked, net.client() as client:
        with socket.socket() as nobody:
            # Bound and never listening, so that whoever connects to it is refused.
            nobody.bind(("127.0.0.1", 0))
            behind, proxy.service = proxy.service, f"127.0.0.1:{nobody.getsockname()[1]}"
            before = proxy.accepted
            proxy.reset()
            outcomes = await asked(net.stack, client)
            made = proxy.accepted - before
        observed(f"{made} connections for {REQUESTS} questions, all {next(iter(outcomes))}")
        assert outcomes == {f"degraded: {service}": REQUESTS}
        assert 0 < made <= MOST * REQUESTS
        proxy.service = behind
        await net.stack.until_answered(client)
    observed(checked)


@contextlib.asynccontextmanager
async def two_retrievers(folder: Path) -> AsyncIterator[tuple[Stack, FaultingProxy]]:
    """A stack with two retrievers, the first behind a proxy."""
    async with FaultingProxy.before() as proxy:
        targets: list[str] = []

        def wrap(process: Process) -> None:
            if process.service == RETRIEVER:
                targets.append(process.target if targets else proxy.target)
                proxy.service = proxy.service or process.target
            elif process.service == ORCHESTRATOR:
                process.environ["ARGO_ORCHESTRATOR_RETRIEVER_TARGET"] = ",".join(targets)

        # Every other search may be hedged: one that straggled by itself leaves enough for the one that is meant.
        settings = {"ARGO_ORCHESTRATOR_HEDGE_SHARE": "0.5"}
        async with running(folder, replicas={RETRIEVER: 2}, wrap=wrap, settings=settings) as stack:
            yield stack, proxy


@pytest.mark.case(
    GROUP,
    "straggling search",
    injected="what one of two retrievers sends is two seconds late, once the times of searches are known",
    expected="one second search, at the other replica, whose reply is the answer's; the first is cancelled",
)
async def test_a_straggling_search_is_hedged_once(tmp_path: Path, observed: Observed) -> None:
    fields: dict[str, Any] = {"budget_ms": 0, "strategy": "single_shot"}
    async with two_retrievers(tmp_path) as (stack, proxy), stack.invariant() as checked, stack.client() as client:
        for number in range(25):
            # As many as must be measured before one is hedged, and a few more.
            await stack.ask(client, QUESTIONS[number % len(QUESTIONS)], **fields)
        whole = (await stack.ask(client, QUESTIONS[1], **fields)).answer
        proxy.delay(LATE_S, Way.TO_CLIENT)
        searches: list[str] = []
        turns = 0
        # Calls go round: the second question meets the late replica if the first did not. On a machine that does
        # other things too, a search straggles by itself now and then.
        while len(searches) < 2 and turns < 5:
            turns += 1
            hedged, made = await stack[ORCHESTRATOR].metric(HEDGED), await searched(stack)
            asked = await stack.ask(client, QUESTIONS[1], **fields)
            assert whole is not None and asked.answer is not None
            searches = [hop.error or "OK" for hop in asked.answer.timing.hops if hop.name == "Search"]
        hedged = await stack[ORCHESTRATOR].metric(HEDGED) - hedged
        observed(f"{asked.outcome} in {asked.seconds:.2f} s; {hedged:.0f} hedge; its searches: {', '.join(searches)}")
        assert asked.outcome == "answered" and asked.seconds < LATE_S
        assert hedged == 1
        assert sorted(searches) == ["CANCELLED", "OK"]

        async def both_counted() -> bool:
            return await searched(stack) == made + 2

        await until(both_counted, why="the retrievers were not searched twice")
        found = [passage.id for passage in asked.answer.passages]
        assert len(found) == len(set(found)) and found == [passage.id for passage in whole.passages]
        assert asked.answer.searches == 1
        await proxy.heal()
        await stack.until_answered(client)
    observed(checked)


async def searched(stack: Stack) -> int:
    """Searches that both retrievers have ended."""
    return sum([await one.served("Search") for one in stack.of(RETRIEVER)])
