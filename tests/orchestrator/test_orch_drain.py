"""Drain, on the orchestrator's own process: what SIGTERM finishes, what it interrupts, and what a second one cuts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from scripted_stack import PATIENCE_S, Stack, kinds

from argo.rpc import channel
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc

QUESTION = "What is E2?"
ROOT = Path(__file__).parents[2]
START_S = 60.0
"""A process that imports gRPC on a busy machine."""


class Process:
    """`python -m orchestrator` in front of the scripted services."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.log: list[str] = []
        self.stub: Any = None
        self.health: Any = None

    async def until_logged(self, part: str) -> str:
        assert self._process.stderr is not None
        async with asyncio.timeout(START_S):
            while line := (await self._process.stderr.readline()).decode():
                self.log.append(line)
                if part in line:
                    return line.rstrip("\n")
        raise AssertionError(f"ended without {part!r}:\n" + "".join(self.log))

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    async def code(self) -> int:
        assert self._process.stderr is not None
        async with asyncio.timeout(START_S):
            self.log.append((await self._process.stderr.read()).decode())
            return await self._process.wait()

    def ask(self, session_id: str) -> Any:
        return self.stub.Ask(orchestrator_pb2.AskRequest(question=QUESTION, session_id=session_id), timeout=START_S)

    def status(self, session_id: str) -> str:
        """As the file says once the process is gone."""
        with contextlib.closing(sqlite3.connect(self._folder / "sessions.db")) as file:
            return str(file.execute("SELECT status FROM session WHERE session_id = ?", (session_id,)).fetchone()[0])

    def spans(self) -> str:
        return "".join(path.read_text() for path in (self._folder / "spans").glob("*"))


@contextlib.asynccontextmanager
async def orchestrator(peers: Stack, **settings: str) -> AsyncIterator[Process]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARGO_")}
    given = {f"{name}_target": f"127.0.0.1:{peers.port(name)}" for name in ("decomposer", "retriever", "synthesizer")}
    given |= {"port": "0", "budget_ms": "0", "session_path": str(peers.folder / "sessions.db"), **settings}
    environ |= {f"ARGO_ORCHESTRATOR_{name.upper()}": value for name, value in given.items()}
    environ["ARGO_TELEMETRY_SPAN_DIR"] = str(peers.folder / "spans")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", cwd=ROOT, env=environ, stderr=asyncio.subprocess.PIPE
    )
    process = Process(child, peers.folder)
    try:
        port = (await process.until_logged("serving on")).rpartition(":")[2]
        async with channel(f"127.0.0.1:{port}") as opened:
            process.stub = orchestrator_pb2_grpc.OrchestratorServiceStub(opened)
            process.health = health_pb2_grpc.HealthStub(opened)
            yield process
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def read(call: Any) -> list[Any]:
    return [event async for event in call]


async def test_sigterm_turns_not_serving_finishes_what_runs_and_leaves_with_0_as_soon_as_it_has(peers: Stack) -> None:
    held = asyncio.Event()
    peers.synthesizer.on_synthesize = held.wait
    async with orchestrator(peers, grace_s="50") as process:
        # As a client of several replicas does: a stream that stays open must not hold the process.
        health = process.health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=START_S)
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        running = asyncio.create_task(read(process.ask("s1")))
        await peers.synthesizer.wait_for("Synthesize")
        process.signal()
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await process.until_logged("draining")
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await read(process.ask("s2"))
        assert late.value.code() is grpc.StatusCode.UNAVAILABLE
        held.set()
        assert kinds(await running)[-1] == "answer"
        answered_at = time.perf_counter()
        assert await process.code() == 0
        # Bounded by a fifth of the grace; an open health stream alone would have taken all of it.
        assert time.perf_counter() - answered_at < 10
        assert process.status("s1") == "finished"
        assert "argo.v1.OrchestratorService/Ask" in process.spans()
        assert "Traceback" not in "".join(process.log)


async def test_what_outlasts_the_grace_is_interrupted_and_can_be_resumed(peers: Stack) -> None:
    peers.synthesizer.on_synthesize = asyncio.Event().wait
    async with orchestrator(peers, grace_s="0.2") as process:
        running = asyncio.create_task(read(process.ask("s1")))
        (writing,) = await peers.synthesizer.wait_for("Synthesize")
        process.signal()
        with pytest.raises(grpc.aio.AioRpcError):
            await running
        assert await process.code() == 0
        assert process.status("s1") == "interrupted"
        assert "argo.v1.OrchestratorService/Ask" in process.spans()
        assert "Traceback" not in "".join(process.log)
        async with asyncio.timeout(PATIENCE_S):
            await writing.ended.wait()
        assert writing.cancelled
    peers.synthesizer.on_synthesize = None
    async with orchestrator(peers) as process:
        resumed = process.stub.ResumeSession(orchestrator_pb2.ResumeSessionRequest(session_id="s1"), timeout=START_S)
        assert kinds(await read(resumed))[-1] == "answer"
        process.signal()
        assert await process.code() == 0
    assert len(peers.decomposer.of("PlanFoci")) == 1


async def test_a_second_sigterm_cuts_and_what_ran_can_be_resumed(peers: Stack) -> None:
    peers.synthesizer.on_synthesize = asyncio.Event().wait
    async with orchestrator(peers, grace_s="600") as process:
        running = asyncio.create_task(read(process.ask("s1")))
        await peers.synthesizer.wait_for("Synthesize")
        process.signal()
        await process.until_logged("draining")
        process.signal()
        assert await process.code() == -signal.SIGTERM
        with pytest.raises(grpc.aio.AioRpcError):
            await running
    peers.synthesizer.on_synthesize = None
    async with orchestrator(peers) as process:
        resumed = process.stub.ResumeSession(orchestrator_pb2.ResumeSessionRequest(session_id="s1"), timeout=START_S)
        assert kinds(await read(resumed))[-1] == "answer"
        process.signal()
        assert await process.code() == 0
