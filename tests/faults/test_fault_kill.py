"""kill -9 and SIGSTOP of each service at each stage of a question, with one and with two replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fault_report import Observed
from fault_stack import QUESTIONS, Stack, running

from argo.result import QuestionEvent

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running(tmp_path_factory.mktemp("kill")) as stack:
        yield stack


@pytest.mark.case(
    "Death of a service",
    "retriever dies while a question is searched",
    injected="SIGSTOP before the question, SIGKILL at its first subquery",
    expected="the question ends flagged or refused; after a restart full answers",
)
async def test_killed(stack: Stack, observed: Observed) -> None:
    retriever = stack["retriever"]

    async def kill(event: QuestionEvent) -> None:
        if event.event == "subquery" and retriever.running:
            retriever.kill()

    async with stack.invariant() as checked:
        retriever.freeze()
        async with stack.client() as client:
            asked = await stack.ask(client, QUESTIONS[1], budget_ms=0, on_event=kill)
            observed(f"{asked.outcome} after {asked.seconds:.2f} s")
            assert asked.outcome in ("UnavailableError", "degraded: retriever")
            await retriever.restart()
            await stack.until_answered(client)
    observed(checked)
