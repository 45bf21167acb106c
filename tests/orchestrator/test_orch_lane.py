"""The ways to a service: replicas that are ill or hang are passed by, on real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest

from argo.errors import DeadlineExceededError, UnavailableError
from argo.replica import Replicas
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc
from orchestrator.breaker import BreakerState
from orchestrator.lane import Lane, Lanes

METHOD = "argo.v1.DecomposerService/PlanFoci"
_DEAD_PORT = 1
"""Nobody listens there, or behind it, without being root."""
TELLING_S = 0.2
"""Long enough that a breaker takes a deadline that is missed as the replica's fault."""


class Backend(grpc.GenericRpcHandler):
    """A replica that answers, or never does."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs
        self.called = 0

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def handle(request: bytes, context: Any) -> bytes:
            self.called += 1
            if self.hangs:
                await asyncio.Event().wait()
            return b""

        # A server without health checks counts as SERVING.
        return grpc.unary_unary_rpc_method_handler(handle) if details.method == f"/{METHOD}" else None


@contextlib.asynccontextmanager
async def lanes(*backends: Backend, failures: int = 5, open_s: float = 60.0) -> AsyncIterator[Lanes]:
    async with contextlib.AsyncExitStack() as held:
        targets = []
        for backend in backends:
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((backend,))
            targets.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
            await server.start()
            held.push_async_callback(server.stop, 0)
        replicas = Replicas(",".join(targets))
        held.push_async_callback(replicas.close)
        yield Lanes("decomposer", replicas, failures, open_s)


async def plan(lane: Lane, left_s: float) -> decomposer_pb2.PlanFociResponse:
    stub: Any = decomposer_pb2_grpc.DecomposerServiceStub(lane.caller.channel)
    with lane.breaker.call(left_s):
        return await lane.caller.unary(METHOD, stub.PlanFoci, decomposer_pb2.PlanFociRequest(question="q"), left_s)


async def test_every_way_is_connected_before_the_first_call_and_one_that_is_away_is_not_waited_for() -> None:
    async with lanes(Backend(), Backend()) as ways:
        assert not any(lane.caller.is_connected() for lane in ways.each)
        await ways.connect(10.0)
        assert all(lane.caller.is_connected() for lane in ways.each)
    replicas = Replicas(f"127.0.0.1:{_DEAD_PORT},127.0.0.1:{_DEAD_PORT + 1}")
    async with asyncio.timeout(10.0):
        await Lanes("decomposer", replicas, 5, 60.0).connect(0.1)
    await replicas.close()


async def test_a_replica_that_hangs_is_given_up_by_itself_while_the_other_answers() -> None:
    frozen, well = Backend(hangs=True), Backend()
    async with lanes(frozen, well) as ways:
        await ways.connect(10.0)
        missed = 0
        for _ in range(50):
            try:
                await ways.unary(plan, TELLING_S)
            except DeadlineExceededError:
                missed += 1
        # Every other call meets it until five of its own have failed in a row; the successes between them are not its.
        assert (missed, frozen.called, well.called) == (5, 5, 45)
        assert [lane.breaker.state for lane in ways.each] == [BreakerState.OPEN, BreakerState.CLOSED]


async def test_a_replica_that_is_given_up_is_tried_again_and_taken_back() -> None:
    ill, well = Backend(hangs=True), Backend()
    async with lanes(ill, well, failures=1, open_s=0.05) as ways:
        await ways.connect(10.0)
        with contextlib.suppress(DeadlineExceededError):
            await ways.unary(plan, TELLING_S)
            await ways.unary(plan, TELLING_S)
        assert ways.each[0].breaker.state is BreakerState.OPEN
        ill.hangs = False
        async with asyncio.timeout(10.0):
            while ways.each[0].breaker.state is not BreakerState.CLOSED:
                await ways.unary(plan, 5.0)
        assert ill.called >= 2


def _fails(error: Callable[[], UnavailableError]) -> Any:
    async def send(lane: Lane, left_s: float) -> Any:
        yield lane
        raise error()

    return send


async def test_a_stream_that_has_begun_is_not_begun_again_on_another_way() -> None:
    async with lanes(Backend(), Backend()) as ways:
        seen = []
        with pytest.raises(UnavailableError):
            async for lane in ways.stream(_fails(lambda: UnavailableError("gone", connection_lost=True)), 5.0):
                seen.append(lane)
        assert len(seen) == 1


async def test_a_stream_that_has_not_begun_is_begun_on_another_way() -> None:
    tried: list[Lane] = []

    async def send(lane: Lane, left_s: float) -> Any:
        tried.append(lane)
        if len(tried) == 1:
            raise UnavailableError("ill")
        yield "begun"

    async with lanes(Backend(), Backend()) as ways:
        assert [reply async for reply in ways.stream(send, 5.0)] == ["begun"]
        assert len(set(tried)) == 2
