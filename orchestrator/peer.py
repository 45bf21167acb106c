"""The three services behind the orchestrator, and a record of every call made to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, Protocol

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from argo.errors import (
    ArgoError,
    InvalidArgumentError,
    NotReadyError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from argo.replica import Replicas
from argo.rpc import Caller
from argo.target import check_target, is_replicated
from argo.telemetry import Telemetry
from argo.v1 import (
    decomposer_pb2,
    decomposer_pb2_grpc,
    orchestrator_pb2,
    retriever_pb2,
    retriever_pb2_grpc,
    synthesizer_pb2,
    synthesizer_pb2_grpc,
    types_pb2,
)
from orchestrator.breaker import Breaker
from orchestrator.hedge import Hedge
from orchestrator.lane import Lane, Lanes
from orchestrator.lateness import Lateness
from orchestrator.metric import BreakerMetrics, HedgeMetrics
from orchestrator.settings import OrchestratorSettings

__all__ = ["FATAL", "HopLog", "PeerRefusalError", "Peers"]

_LOG = logging.getLogger(__name__)
_PROBE_TIMEOUT_S: Final = 1.0

FATAL: Final = (InvalidArgumentError, NotReadyError)
"""Errors that no rung of the ladder can work around: the request is wrong, or an operator must act."""


class PeerRefusalError(NotReadyError):
    """A service does not let the orchestrator in, whoever asked: an operator must give it a token or a certificate."""


class _Timed(Protocol):
    """A reply that carries its own timing."""

    @property
    def timing(self) -> types_pb2.Timing:
        """Where the call's time went inside the service."""


_STUBS: Final[dict[str, Callable[[Any], Any]]] = {
    "decomposer": decomposer_pb2_grpc.DecomposerServiceStub,
    "retriever": retriever_pb2_grpc.RetrieverServiceStub,
    "synthesizer": synthesizer_pb2_grpc.SynthesizerServiceStub,
}


class HopLog:
    """Every call of one question, with its start and end on the question's clock.

    Args:
        arrived_at: time.perf_counter() at the question's arrival.
    """

    def __init__(self, arrived_at: float) -> None:
        self._arrived_at = arrived_at
        self._hops: list[orchestrator_pb2.Hop] = []

    def now_s(self) -> float:
        """Seconds since the question's arrival."""
        return time.perf_counter() - self._arrived_at

    def add(
        self, service: str, name: str, step: int, start_s: float, timing: types_pb2.Timing | None, error: str = ""
    ) -> None:
        """Record a call that ended now."""
        self._hops.append(
            orchestrator_pb2.Hop(
                service=service,
                name=name,
                step=step,
                start_s=start_s,
                duration_s=max(0.0, self.now_s() - start_s),
                timing=timing,
                error=error,
            )
        )

    def hops(self) -> list[orchestrator_pb2.Hop]:
        """Every call so far, by start."""
        return sorted(self._hops, key=lambda hop: hop.start_s)


class Peers:
    """Channels and stubs of the decomposer, the retriever and the synthesizer.

    Args:
        settings: The addresses.
        telemetry: Where client spans go.
    """

    def __init__(self, settings: OrchestratorSettings, telemetry: Telemetry) -> None:
        self.lateness = Lateness()
        """How late the synthesizer's answers are."""
        tls = settings.peer_tls()
        token = None if settings.peer_token is None else settings.peer_token.get_secret_value()
        self._sends_token = token is not None
        self._lanes = {
            name: Lanes(
                name,
                Replicas(check_target(f"{name}_target", target), telemetry, tls=tls, token=token),
                settings.breaker_failures,
                settings.breaker_open_s,
            )
            for name, target in (
                ("decomposer", settings.decomposer_target),
                ("retriever", settings.retriever_target),
                ("synthesizer", settings.synthesizer_target),
            )
        }
        self.breakers = {name: [lane.breaker for lane in lanes.each] for name, lanes in self._lanes.items()}
        """Towards each service: one for each address of a list, one for all that a name stands for."""
        self._stubs = {
            lane: _STUBS[name](lane.caller.channel) for name, lanes in self._lanes.items() for lane in lanes.each
        }
        hedges = (
            is_replicated(settings.retriever_target) if settings.hedge_searches is None else settings.hedge_searches
        )
        self._hedge: Hedge | None = None
        if hedges:
            count = HedgeMetrics(telemetry.metrics).count if telemetry.metrics is not None else _uncounted
            self._hedge = Hedge(settings.hedge_share, count)
        if telemetry.metrics is not None:
            BreakerMetrics(telemetry.metrics, self.breakers)

    @property
    def hedges(self) -> bool:
        """Whether late searches are made once more."""
        return self._hedge is not None

    async def connect(self, patience_s: float) -> None:
        """Connect to every replica, so that the first question finds them connected; none is waited for longer."""
        await asyncio.gather(*(lanes.connect(patience_s) for lanes in self._lanes.values()))

    async def close(self) -> None:
        """Close the channels."""
        for lanes in self._lanes.values():
            await lanes.replicas.close()

    async def plan_foci(
        self, request: decomposer_pb2.PlanFociRequest, timeout_s: float, hops: HopLog
    ) -> decomposer_pb2.PlanFociResponse:
        """Plan the question. Raises the ArgoError of the status that came back, as do the calls below."""
        reply: decomposer_pb2.PlanFociResponse = await self._logged(
            "decomposer", "PlanFoci", request, timeout_s, hops, 0
        )
        return reply

    async def generate_subquery(
        self, request: decomposer_pb2.GenerateSubqueryRequest, timeout_s: float, hops: HopLog, step: int
    ) -> decomposer_pb2.GenerateSubqueryResponse:
        """Word one subquery."""
        reply: decomposer_pb2.GenerateSubqueryResponse = await self._logged(
            "decomposer", "GenerateSubquery", request, timeout_s, hops, step
        )
        return reply

    async def search(
        self, request: retriever_pb2.SearchRequest, timeout_s: float, hops: HopLog, step: int
    ) -> retriever_pb2.SearchResponse:
        """Search the documents; a second time, with the next replica, where the first is late and hedging is on."""

        async def send(left_s: float) -> retriever_pb2.SearchResponse:
            reply: retriever_pb2.SearchResponse = await self._logged("retriever", "Search", request, left_s, hops, step)
            return reply

        return await (send(timeout_s) if self._hedge is None else self._hedge.call(send, timeout_s))

    async def reason(
        self, request: synthesizer_pb2.ReasonRequest, timeout_s: float, hops: HopLog, step: int
    ) -> synthesizer_pb2.ReasonResponse:
        """Write a note."""
        reply: synthesizer_pb2.ReasonResponse = await self._logged(
            "synthesizer", "Reason", request, timeout_s, hops, step
        )
        return reply

    async def synthesize(
        self, request: synthesizer_pb2.SynthesizeRequest, timeout_s: float, hops: HopLog
    ) -> AsyncIterator[synthesizer_pb2.SynthesizeEvent]:
        """Stream the answer; the last event holds it whole."""

        def send(lane: Lane, left_s: float) -> AsyncGenerator[synthesizer_pb2.SynthesizeEvent, None]:
            return self._written(lane, request, left_s, hops)

        with self._let_in("synthesizer"):
            async for event in self._lanes["synthesizer"].stream(send, timeout_s):
                yield event

    async def _written(
        self, lane: Lane, request: synthesizer_pb2.SynthesizeRequest, timeout_s: float, hops: HopLog
    ) -> AsyncGenerator[synthesizer_pb2.SynthesizeEvent, None]:
        start_s = hops.now_s()
        timing: types_pb2.Timing | None = None
        error_name = ""
        try:
            with lane.breaker.call(timeout_s):
                async for event in lane.caller.stream(
                    "argo.v1.SynthesizerService/Synthesize", self._stubs[lane].Synthesize, request, timeout_s
                ):
                    if event.HasField("answer"):
                        timing = event.answer.timing
                    yield event
                if timing is None:
                    raise UnavailableError("the synthesizer ended its stream without an answer")
        except ArgoError as error:
            error_name = error.code.name
            raise
        except asyncio.CancelledError:
            error_name = "CANCELLED"
            raise
        finally:
            hops.add("synthesizer", "Synthesize", 0, start_s, timing, error_name)

    async def _logged(
        self, service: str, name: str, request: Message, timeout_s: float, hops: HopLog, step: int
    ) -> Any:
        """Make a call that changes nothing, and record each attempt at it."""

        async def send(lane: Lane, left_s: float) -> _Timed:
            stub: Callable[..., Awaitable[_Timed]] = getattr(self._stubs[lane], name)
            start_s = hops.now_s()
            try:
                with lane.breaker.call(left_s):
                    reply = await lane.caller.unary(f"{_full_name(service)}/{name}", stub, request, left_s)
            except ArgoError as error:
                hops.add(service, name, step, start_s, None, error.code.name)
                raise
            except asyncio.CancelledError:
                hops.add(service, name, step, start_s, None, "CANCELLED")
                raise
            hops.add(service, name, step, start_s, reply.timing)
            return reply

        with self._let_in(service):
            return await self._lanes[service].unary(send, timeout_s)

    @contextlib.contextmanager
    def _let_in(self, service: str) -> Iterator[None]:
        """Tell a refusal of the orchestrator itself from one of its caller, whose own token was accepted."""
        try:
            yield
        except (UnauthenticatedError, PermissionDeniedError) as error:
            _LOG.error("the %s refused the orchestrator: %s", service, error.message)
            remedy = "set ARGO_ORCHESTRATOR_PEER_TOKEN (role service)"
            if isinstance(error, PermissionDeniedError) and not self._sends_token:
                # Where it asks for tokens, none at all is UNAUTHENTICATED.
                remedy = f"name its certificate in ARGO_{service.upper()}_TLS_PEER_NAMES"
            raise PeerRefusalError(f"the {service} refused the orchestrator: {remedy}") from error

    async def _info(self, service: str, timeout_s: float) -> types_pb2.ServiceInfo:
        caller = self._lanes[service].replicas.together
        stub = _STUBS[service](caller.channel).GetInfo
        info: types_pb2.ServiceInfo = await caller.unary(
            f"{_full_name(service)}/GetInfo", stub, types_pb2.GetInfoRequest(), timeout_s
        )
        return info

    async def decomposer_info(self, timeout_s: float) -> types_pb2.ServiceInfo:
        """What the decomposer is; says how fast its language model is, where one runs."""
        return await self._info("decomposer", timeout_s)

    async def synthesizer_info(self, timeout_s: float) -> types_pb2.ServiceInfo:
        """What the synthesizer is; says whether a language model runs, and how fast."""
        return await self._info("synthesizer", timeout_s)

    async def describe(self) -> list[orchestrator_pb2.PeerInfo]:
        """Health and self-description of each replica; one that cannot be reached is listed as UNREACHABLE."""
        return list(
            await asyncio.gather(
                *(
                    _describe(name, caller, _STUBS[name](caller.channel).GetInfo, lane.breaker)
                    for name, lanes in self._lanes.items()
                    for caller, lane in zip(lanes.replicas.each, lanes.each, strict=True)
                )
            )
        )


def _uncounted(outcome: str) -> None:
    """Where nothing is counted."""


def _full_name(service: str) -> str:
    return f"argo.v1.{service.capitalize()}Service"


async def _describe(service: str, caller: Caller, get_info: Any, breaker: Breaker) -> orchestrator_pb2.PeerInfo:
    full_name = _full_name(service)
    described = orchestrator_pb2.PeerInfo(
        service=service, target=caller.target, health="UNREACHABLE", breaker=breaker.state.name.lower()
    )
    try:
        reply = await caller.unary(
            "grpc.health.v1.Health/Check",
            health_pb2_grpc.HealthStub(caller.channel).Check,  # type: ignore[attr-defined]  # set at run time
            health_pb2.HealthCheckRequest(service=full_name),
            _PROBE_TIMEOUT_S,
        )
        described.health = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
        described.info.CopyFrom(
            await caller.unary(f"{full_name}/GetInfo", get_info, types_pb2.GetInfoRequest(), _PROBE_TIMEOUT_S)
        )
    except ArgoError:
        # Its health stays what was learnt last; the list itself is the report.
        return described
    return described
