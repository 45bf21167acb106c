"""kill -9 while questions run: what callers see, and what becomes of a question whose orchestrator died."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from running_stack import PATIENCE_S, Up, running

from argo.client import Client
from argo.errors import ArgoError, NotReadyError, UnavailableError
from argo.result import Answer
from deploy.roster import SERVICES

_LOG = logging.getLogger(__name__)
_QUESTIONS = (
    "What is the A1 interface for?",
    "What is the difference between an xApp and an rApp?",
    "Which split does the open fronthaul use?",
)
_WORKERS = 3


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running(tmp_path / "state") as stack:
        yield stack


def _connect(up: Up) -> Client:
    targets = up.record["targets"]
    return Client.connect(targets["orchestrator"], retriever_target=targets["retriever"])


def _outcome(answer: Answer) -> str:
    kinds = sorted({str(degradation.kind) for degradation in answer.degradations})
    return "degraded: " + ", ".join(kinds) if kinds else "answered"


async def _ask_until(client: Client, stop: asyncio.Event, seen: Counter[str]) -> None:
    turn = 0
    while not stop.is_set():
        turn += 1
        try:
            seen[_outcome(await client.ask(_QUESTIONS[turn % len(_QUESTIONS)], budget_ms=0))] += 1
        except ArgoError as error:
            seen[type(error).__name__] += 1
            # The launcher needs the processor to bring the service back; a tight loop of refusals would take it.
            await asyncio.sleep(0.02)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.01)


async def _kill_under_load(up: Up, name: str) -> Counter[str]:
    """Kill one service while questions run; return how those that were asked until it served again came out."""
    seen: Counter[str] = Counter()
    stop = asyncio.Event()
    async with _connect(up) as client, asyncio.TaskGroup() as group:
        for _ in range(_WORKERS):
            group.create_task(_ask_until(client, stop, seen))

        async def some_answered() -> bool:
            return seen["answered"] >= _WORKERS

        await _until(some_answered)
        os.kill(up.record["pids"][name], signal.SIGKILL)
        await asyncio.to_thread(up.wait_for, f"{name} serves again")
        stop.set()
    return seen


@pytest.mark.timeout(300)
def test_a_service_killed_under_load_degrades_answers_or_refuses_them_and_then_recovers(up: Up) -> None:
    allowed = {
        "decomposer": {"answered", "degraded: decomposer"},
        "synthesizer": {"answered", "degraded: synthesizer"},
        # Without a language model nothing but the documents can answer, so some are refused.
        "retriever": {"answered", "degraded: partial_fan_out", "UnavailableError"},
        "orchestrator": {"answered", "UnavailableError"},
    }
    assert set(allowed) == set(SERVICES)
    for name, outcomes in allowed.items():
        seen = asyncio.run(_kill_under_load(up, name))
        _LOG.info("%s killed: %s", name, dict(seen))
        strange = {outcome for outcome in seen if outcome not in outcomes and not _mixed(outcome, outcomes)}
        assert not strange, f"{name}: {dict(seen)}"

        async def full_answer() -> bool:
            async with _connect(up) as client:
                await client.wait_until_serving(PATIENCE_S)
                try:
                    return _outcome(await client.ask(_QUESTIONS[0], budget_ms=0)) == "answered"
                except UnavailableError:
                    return False

        # Channels of the other services reconnect within their back-off, and a breaker lets a call through after it.
        asyncio.run(_until(full_answer))


def _mixed(outcome: str, allowed: set[str]) -> bool:
    """Whether several degradations of one answer are each allowed."""
    kinds = outcome.removeprefix("degraded: ").split(", ")
    return outcome.startswith("degraded: ") and all(f"degraded: {kind}" in allowed for kind in kinds)


@pytest.mark.timeout(300)
def test_a_question_whose_orchestrator_was_killed_is_resumed_from_its_last_recorded_step(up: Up) -> None:
    asyncio.run(_killed_and_resumed(up))


async def _killed_and_resumed(up: Up) -> None:
    session_id = "killed-in-mid-question"
    synthesizer = up.record["pids"]["synthesizer"]
    # A frozen synthesizer holds the question between its last step and its answer.
    os.kill(synthesizer, signal.SIGSTOP)
    try:
        async with _connect(up) as client:
            asking = asyncio.create_task(client.ask(_QUESTIONS[1], budget_ms=0, session_id=session_id))

            async def step_recorded() -> bool:
                try:
                    return bool((await client.session(session_id)).steps)
                except ArgoError:
                    return False

            await _until(step_recorded)
            before = await client.session(session_id)
            os.kill(up.record["pids"]["orchestrator"], signal.SIGKILL)
            with pytest.raises(UnavailableError):
                await asking
        await asyncio.to_thread(up.wait_for, "orchestrator serves again")
    finally:
        os.kill(synthesizer, signal.SIGCONT)
    async with _connect(up) as client:
        await client.wait_until_serving(PATIENCE_S)
        assert str((await client.session(session_id)).status) == "interrupted"
        with pytest.raises(NotReadyError, match="ResumeSession"):
            await client.ask(_QUESTIONS[1], budget_ms=0, session_id=session_id)
        answer = await client.resume(session_id)
        after = await client.session(session_id)
        again = await client.ask(_QUESTIONS[1], budget_ms=0, session_id=session_id)
    assert answer.citations and not answer.abstained and not answer.degradations
    assert [step.to_dict() for step in after.steps[: len(before.steps)]] == [step.to_dict() for step in before.steps]
    assert answer.searches == sum(step.searches for step in after.steps)
    assert after.resumed == 1 and str(after.status) == "finished"
    assert again.text == answer.text and again.searches == answer.searches
