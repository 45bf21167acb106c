"""How a benchmark asks: one question in, the answer and the time that its caller waited out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from argo import convert
from argo.client import Client
from argo.errors import InternalError
from argo.result import Answer
from argo.rpc import Caller, channel, check_target
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc

__all__ = ["Asked", "Asker", "SdkAsker", "StubAsker"]

_METHOD = "argo.v1.OrchestratorService/Ask"
_NO_BUDGET_TIMEOUT_S = 65.0
_GRACE_S = 1.0


@dataclass(frozen=True)
class Asked:
    """An answer, and what its caller saw."""

    answer: Answer
    latency_s: float
    """From before the call until the answer was in hand."""


class Asker(Protocol):
    """Whatever puts questions to a running stack."""

    async def ask(
        self, question: str, *, strategy: str | None = None, budget_ms: int | None = None, seed: int | None = None
    ) -> Asked:
        """Ask one question; None leaves a field to the stack's own setting.

        Raises:
            ArgoError: The question failed.
        """


class StubAsker:
    """Asks over the bare stub and reads only the last event, so that the load generator costs little.

    Args:
        target: Address of the orchestrator.
    """

    def __init__(self, target: str) -> None:
        self._caller = Caller(channel(check_target("target", target)), target)
        # The generated stubs carry no annotations.
        self._stub: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(self._caller.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._caller.close()

    async def ask(
        self, question: str, *, strategy: str | None = None, budget_ms: int | None = None, seed: int | None = None
    ) -> Asked:
        """Ask one question; see :class:`Asker`."""
        request = orchestrator_pb2.AskRequest(question=question, strategy=strategy, budget_ms=budget_ms, seed=seed)
        timeout_s = budget_ms / 1000 + _GRACE_S if budget_ms else _NO_BUDGET_TIMEOUT_S
        began = time.perf_counter()
        last: orchestrator_pb2.AskEvent | None = None
        async for event in self._caller.stream(_METHOD, self._stub.Ask, request, timeout_s):
            last = event
        latency_s = time.perf_counter() - began
        answer = convert.event(last) if last is not None else None
        if not isinstance(answer, Answer):
            raise InternalError("the stream of a question ended without its answer")
        return Asked(answer, latency_s)


class SdkAsker:
    """Asks through the SDK, as a user's program would.

    Args:
        client: An open client, which its maker closes.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(
        self, question: str, *, strategy: str | None = None, budget_ms: int | None = None, seed: int | None = None
    ) -> Asked:
        """Ask one question; see :class:`Asker`."""
        began = time.perf_counter()
        answer = await self._client.ask(question, strategy=strategy, budget_ms=budget_ms, seed=seed)
        return Asked(answer, time.perf_counter() - began)
