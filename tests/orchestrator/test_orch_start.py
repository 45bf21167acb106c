"""The start of an orchestrator: it takes questions once it knows its engines, and waits for none that is away."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from scripted_stack import PATIENCE_S, Event, Stack, kinds

from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from deploy.plan import take_ports
from deploy.settings import DeploySettings

QUESTION = "What is E2?"


async def _all(call: Any) -> list[Event]:
    return [event async for event in call]


async def test_an_orchestrator_that_serves_knows_that_a_model_runs(peers: Stack) -> None:
    peers.synthesizer.language_model = True
    await peers.start_orchestrator()
    assert (await peers.policy()).reason_available


async def test_a_question_that_comes_before_the_engines_are_known_is_answered_once_they_are(peers: Stack) -> None:
    port = take_ports(DeploySettings(), ephemeral=True)["orchestrator"]
    released = asyncio.Event()
    peers.synthesizer.language_model = True
    peers.synthesizer.on_info = released.wait
    starting = asyncio.create_task(peers.start_orchestrator(port=port))
    await peers.synthesizer.wait_for("GetInfo")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
        call = stub.Ask(orchestrator_pb2.AskRequest(question=QUESTION), timeout=PATIENCE_S)
        events = asyncio.create_task(_all(call))
        # Long enough for an answer: a call that is answered at once has come and gone.
        await stub.GetPolicy(orchestrator_pb2.GetPolicyRequest(), timeout=PATIENCE_S)
        assert not events.done()
        released.set()
        policy, *_, answer = await events
        assert policy.policy.reason_available
        assert kinds([answer]) == ["answer"]
    await starting


async def test_an_orchestrator_whose_engines_are_away_serves_all_the_same(peers: Stack) -> None:
    for name in ("decomposer", "synthesizer"):
        await peers.stop(name)
    await peers.start_orchestrator()
    assert not (await peers.policy()).reason_available
