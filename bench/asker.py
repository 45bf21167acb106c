"""How a benchmark asks: one question in, the answer and the time that its caller waited out."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from argo import convert
from argo import request as wire
from argo.client import Client
from argo.errors import InternalError
from argo.result import Answer, AskLimits
from argo.rpc import Caller, channel
from argo.target import check_target
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc

__all__ = ["AskRequest", "Asked", "Asker", "SdkAsker", "StubAsker"]

_METHOD = "argo.v1.OrchestratorService/Ask"
_SESSION_ID_BYTES = 8


@dataclass(frozen=True)
class AskRequest:
    """A question as it is put; None leaves a field to the stack's own setting."""

    question: str
    options: tuple[str, ...] = ()
    strategy: str | None = None
    budget_ms: int | None = None
    """0 for none."""
    seed: int | None = None
    limits: AskLimits | None = None


@dataclass(frozen=True)
class Asked:
    """An answer, and what its caller saw."""

    answer: Answer
    latency_s: float
    """From before the call until the answer was in hand."""
    time_to_first_delta_s: float | None = None
    """Until the first words of the answer came; None where none came before the whole, or the asker does not look."""


class Asker(Protocol):
    """Whatever puts questions to a running stack."""

    async def put(self, request: AskRequest) -> Asked:
        """Put one question.

        Raises:
            ArgoError: The question failed.
        """


class StubAsker:
    """Asks over the bare stub and converts only the last event, so that the load generator costs little.

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

    async def put(self, request: AskRequest) -> Asked:
        """Put one question; see :class:`Asker`."""
        message = wire.ask_request(
            request.question,
            options=request.options,
            strategy=request.strategy,
            budget_ms=request.budget_ms,
            limits=request.limits,
            session_id=secrets.token_hex(_SESSION_ID_BYTES),
            seed=request.seed,
        )
        began = time.perf_counter()
        last: orchestrator_pb2.AskEvent | None = None
        first_delta_s: float | None = None
        async for event in self._caller.stream(_METHOD, self._stub.Ask, message, wire.deadline_s(request.budget_ms)):
            last = event
            if first_delta_s is None and event.WhichOneof("event") == "answer_delta":
                first_delta_s = time.perf_counter() - began
        latency_s = time.perf_counter() - began
        answer = convert.event(last) if last is not None else None
        if not isinstance(answer, Answer):
            raise InternalError("the stream of a question ended without its answer")
        return Asked(answer, latency_s, first_delta_s)


class SdkAsker:
    """Asks through the SDK, as a user's program would.

    Args:
        client: An open client, which its maker closes.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def put(self, request: AskRequest) -> Asked:
        """Put one question; see :class:`Asker`."""
        began = time.perf_counter()
        answer = await self._client.ask(
            request.question,
            options=request.options,
            strategy=request.strategy,
            budget_ms=request.budget_ms,
            limits=request.limits,
            seed=request.seed,
        )
        return Asked(answer, time.perf_counter() - began)
