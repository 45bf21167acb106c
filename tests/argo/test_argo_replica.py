"""Several replicas behind one target: who is called, and what becomes of the calls of one that is killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from replica_process import Replica

from argo.client import Client
from argo.errors import InvalidArgumentError, UnavailableError
from argo.replica import Replicas
from argo.rpc import Caller
from argo.server import RunningServer, start
from argo.settings import ServerSettings
from argo.target import addresses, check_target, grpc_name, is_replicated
from argo.telemetry import Telemetry
from argo.tls import TlsFiles
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, synthesizer_pb2, synthesizer_pb2_grpc
from orchestrator.lane import Lane, Lanes

PATIENCE_S = 20.0
_HELD = 250
"""As many calls as one replica may have under way: each of an orchestrator's questions is in one."""
SCRIPT = Path(__file__).with_name("replica_process.py")


class Calls:
    """The methods of the replicas behind some ports."""

    def __init__(self, *ports: int, tls: TlsFiles | None = None) -> None:
        self.replicas = Replicas(check_target("target", ",".join(f"127.0.0.1:{port}" for port in ports)), tls=tls)
        self._write: Any = synthesizer_pb2_grpc.SynthesizerServiceStub(self.replicas.together.channel)

    async def plan(self, timeout_s: float = PATIENCE_S, by: Caller | None = None) -> str:
        request = decomposer_pb2.PlanFociRequest(question="q")
        caller = by or self.replicas.together
        stub: Any = decomposer_pb2_grpc.DecomposerServiceStub(caller.channel)
        reply = await caller.unary("argo.v1.DecomposerService/PlanFoci", stub.PlanFoci, request, timeout_s)
        return str(reply.foci[0].text)

    async def write(self, question: str) -> AsyncIterator[str]:
        request = synthesizer_pb2.SynthesizeRequest(question=question)
        async for event in self.replicas.together.stream(
            "argo.v1.SynthesizerService/Synthesize", self._write.Synthesize, request, PATIENCE_S
        ):
            yield event.delta

    async def until(self, *wanted: str) -> None:
        """Call until these replicas answer, and no other: a channel learns of a change a moment later."""
        async with asyncio.timeout(PATIENCE_S):
            while {await self.plan() for _ in range(2 * len(wanted) + 2)} != set(wanted):
                await asyncio.sleep(0.01)

    async def __aenter__(self) -> Calls:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.replicas.close()


@asynccontextmanager
async def serving(*names: str) -> AsyncIterator[list[RunningServer]]:
    running = [await start(Replica(name, False), ServerSettings(port=0), Telemetry(None)) for name in names]
    try:
        yield running
    finally:
        for server in running:
            await server.stop(0)


async def test_calls_go_round_all_replicas() -> None:
    async with serving("a", "b", "c") as servers, Calls(*(server.port for server in servers)) as calls:
        await calls.until("a", "b", "c")
        assert Counter([await calls.plan() for _ in range(12)]) == {"a": 4, "b": 4, "c": 4}


async def test_a_replica_that_is_not_serving_gets_no_call_until_it_serves_again() -> None:
    async with serving("ill", "well") as servers, Calls(*(server.port for server in servers)) as calls:
        await calls.until("ill", "well")
        await servers[0].set_serving(False)
        await calls.until("well")
        assert {await calls.plan() for _ in range(20)} == {"well"}
        await servers[0].set_serving(True)
        await calls.until("ill", "well")


async def test_no_call_is_lost_when_connections_are_renewed() -> None:
    young = ServerSettings(port=0, connection_age_s=1)
    running = [await start(Replica(name, False), young, Telemetry(None)) for name in ("a", "b")]
    async with Calls(*(server.port for server in running)) as calls:
        await calls.until("a", "b")
        loop = asyncio.get_running_loop()
        # Long enough for each connection to be renewed twice.
        end = loop.time() + 2.5

        async def ask() -> Counter[str]:
            seen: Counter[str] = Counter()
            while loop.time() < end:
                seen[await calls.plan()] += 1
                seen.update(await _read(calls.write("begin")))
            return seen

        seen = sum(await asyncio.gather(*(ask() for _ in range(8))), Counter())
        assert set(seen) == {"a", "b"}
    for server in running:
        await server.stop(0)


async def test_where_no_replica_serves_the_error_says_so() -> None:
    async with serving("a", "b") as servers, Calls(*(server.port for server in servers)) as calls:
        for server in servers:
            await server.set_serving(False)
        with pytest.raises(
            UnavailableError, match=r"PlanFoci could not reach 127\.0\.0\.1:\d+,127\.0\.0\.1:\d+: .*health"
        ):
            await calls.plan()


async def test_a_lone_replica_is_called_whatever_its_health() -> None:
    async with serving("ill") as [server], Calls(server.port) as calls:
        await server.set_serving(False)
        assert await calls.plan() == "ill"


async def test_each_replica_can_be_looked_at_whatever_its_health() -> None:
    async with serving("ill", "well") as servers, Calls(*(server.port for server in servers)) as calls:
        await servers[0].set_serving(False)
        target = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        async with Client.connect(target, retriever_target=target) as client:
            report = await client.health()
        assert [(one.target, one.health) for one in report.services if one.service == "retriever"] == [
            (f"127.0.0.1:{servers[0].port}", "NOT_SERVING"),
            (f"127.0.0.1:{servers[1].port}", "SERVING"),
        ]
        assert [caller.target for caller in calls.replicas.each] == target.split(",")


@asynccontextmanager
async def victim() -> AsyncIterator[tuple[subprocess.Popen[str], int]]:
    """A replica in a process of its own that never finishes what it begins."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "victim", "yes"], cwd=SCRIPT.parents[2], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, int(await asyncio.to_thread(process.stdout.readline))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def _calls_of(calls: Calls, place: int) -> int:
    caller = calls.replicas.each[place]
    stub: Any = decomposer_pb2_grpc.DecomposerServiceStub(caller.channel)
    info = await caller.unary("argo.v1.DecomposerService/GetInfo", stub.GetInfo, decomposer_pb2.PlanFociRequest(), 5.0)
    return int(info.settings["calls"])


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.001)


async def test_every_call_that_a_killed_replica_had_under_way_is_answered_by_another() -> None:
    async with victim() as (process, port), serving("survivor") as [server], Calls(port, server.port) as calls:
        asked: list[asyncio.Task[str]] = []
        lanes = Lanes("decomposer", calls.replicas, failures=5, open_s=1)

        async def send(lane: Lane, left_s: float) -> str:
            return await calls.plan(left_s, lane.caller)

        async def many_are_held() -> bool:
            asked.append(asyncio.create_task(lanes.unary(send, PATIENCE_S)))
            return len(asked) % 50 == 0 and await _calls_of(calls, 0) >= _HELD

        await _until(many_are_held)
        process.send_signal(signal.SIGKILL)
        assert Counter(await asyncio.gather(*asked)) == {"survivor": len(asked)}


async def test_a_stream_that_had_not_begun_is_begun_on_another_replica() -> None:
    async with victim() as (process, port), serving("survivor") as [server], Calls(port, server.port) as calls:
        answers: list[asyncio.Task[list[str]]] = []

        async def some_are_held() -> bool:
            # All go to the replica that is connected first, until both are.
            answers.append(asyncio.create_task(_read(calls.write("hold"))))
            return await _calls_of(calls, 0) >= 1

        await _until(some_are_held)
        process.send_signal(signal.SIGKILL)
        assert {tuple(read) for read in await asyncio.gather(*answers)} == {("survivor",)}


async def _read(stream: AsyncIterator[str]) -> list[str]:
    return [text async for text in stream]


async def test_a_stream_that_has_begun_fails_with_its_replica_and_is_not_repeated() -> None:
    async with victim() as (process, port), serving("survivor") as [server], Calls(port, server.port) as calls:
        while True:
            stream = calls.write("begin")
            if await anext(stream) == "victim":
                break
            await stream.aclose()
        before = await _calls_of(calls, 1)
        process.send_signal(signal.SIGKILL)
        with pytest.raises(UnavailableError, match="Synthesize could not reach"):
            await anext(stream)
        assert await _calls_of(calls, 1) == before


@pytest.mark.system
async def test_listed_replicas_behind_tls_are_verified_by_the_first_address(tmp_path: Path) -> None:
    names = ["-subj", "/CN=argo", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "ca.pem")]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *names, *files]
    subprocess.run(make, check=True, capture_output=True)
    pair = ((tmp_path / "key.pem").read_bytes(), (tmp_path / "ca.pem").read_bytes())
    servers, ports = [], []
    for name in ("a", "b"):
        server = grpc.aio.server()
        Replica(name, False).add_to(server)
        ports.append(server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair])))
        await server.start()
        servers.append(server)
    async with Calls(*ports, tls=TlsFiles(tmp_path / "ca.pem")) as calls:
        await calls.until("a", "b")
    for server in servers:
        await server.stop(None)


@pytest.mark.parametrize(
    ("target", "each", "name", "replicated"),
    [
        ("ric:50051", ["ric:50051"], "ric:50051", False),
        ("10.0.0.1:1,10.0.0.2:2", ["10.0.0.1:1", "10.0.0.2:2"], "ipv4:10.0.0.1:1,10.0.0.2:2", True),
        ("[::1]:1,[::1]:2", ["[::1]:1", "[::1]:2"], "ipv6:[::1]:1,[::1]:2", True),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", ["10.0.0.1:1", "10.0.0.2:2"], "ipv4:10.0.0.1:1,10.0.0.2:2", True),
        ("ipv4:10.0.0.1:1", ["10.0.0.1:1"], "ipv4:10.0.0.1:1", False),
        ("dns:///ric:50051", ["dns:///ric:50051"], "dns:///ric:50051", True),
        ("unix:/run/argo.sock", ["unix:/run/argo.sock"], "unix:/run/argo.sock", False),
    ],
)
def test_a_target_is_one_address_or_several(target: str, each: list[str], name: str, replicated: bool) -> None:
    assert check_target("target", target) == target
    assert (addresses(target), grpc_name(target), is_replicated(target)) == (each, name, replicated)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("10.0.0.1:1,", "target must be host:port with a port in 1..65535, got ''"),
        ("10.0.0.1:1,10.0.0.2", "target must be host:port with a port in 1..65535, got '10.0.0.2'"),
        ("10.0.0.1:1,ric:2", "target must list IP addresses, got 'ric:2' among 2; .* as dns:///ric:2"),
        ("10.0.0.1:1,[::1]:2", "target must list addresses of IPv4 or of IPv6, got both"),
        ("10.0.0.1:1,10.0.0.1:1", "target must list each address once"),
    ],
)
def test_a_list_that_cannot_be_balanced_is_refused(target: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        check_target("target", target)
