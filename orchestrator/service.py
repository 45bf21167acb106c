"""The orchestrator's process: policies, peers and sessions around the servicer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import grpc.aio
from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from argo.errors import ArgoError
from argo.server import Service
from argo.telemetry import Telemetry
from argo.v1 import orchestrator_pb2_grpc, types_pb2
from orchestrator.pace import is_measured
from orchestrator.peer import Peers
from orchestrator.policy_upkeep import PolicyUpkeep
from orchestrator.servicer import OrchestratorServicer
from orchestrator.session import SessionStore
from orchestrator.settings import OrchestratorSettings
from orchestrator.tenant import TenantSessions

__all__ = ["Orchestrator"]

_LOG = logging.getLogger(__name__)
_PROBE_TIMEOUT_S: Final = 1.0
_RETRY_S: Final = 0.2
_CONNECT_S: Final = 1.0
"""As long as an engine that cannot be reached holds the start up."""


class Orchestrator(Service):
    """The orchestrator as its process sees it.

    Args:
        settings: Addresses, defaults and caps.
        telemetry: Where spans go.
        store: The sessions; opened at warm-up, closed with the service.
    """

    name = "orchestrator"
    full_name = "argo.v1.OrchestratorService"

    def __init__(self, settings: OrchestratorSettings, telemetry: Telemetry, store: SessionStore) -> None:
        super().__init__()
        self._settings = settings
        self._store = store
        self._peers = Peers(settings, telemetry)
        self._upkeep = PolicyUpkeep(settings.tracker, settings.policy_file)
        sessions = TenantSessions(store)
        self._servicer = OrchestratorServicer(settings, self._upkeep, self._peers, sessions, telemetry, self.info)
        self._watch: asyncio.Task[None] | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(self._servicer, server)

    async def warm_up(self) -> None:
        """Open the session store, look at the engines, and go on watching them.

        Engines that can be reached are known before the first question is taken: it would be answered as if no model
        ran. Those that cannot are not waited for.
        """
        await self._store.open()
        known, _ = await asyncio.gather(_looked(self._look), self._peers.connect(_CONNECT_S))
        self._upkeep.looked.set()
        self._watch = asyncio.create_task(_forever(self._look, self._settings.peer_poll_s, known=known))

    async def close(self) -> None:
        """Stop watching, close channels and sessions."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await self._peers.close()
        await self._store.close()

    async def _look(self) -> bool:
        """Learn what the engines are and how fast; False where that is not all known yet."""
        # Belongs to no question: as traces of their own, these calls would bury the questions'.
        with trace.use_span(_unsampled()):
            engines = await asyncio.gather(_engine(self._peers.decomposer_info), _engine(self._peers.synthesizer_info))
        await self._upkeep.take_in(*engines, time.monotonic())
        return all(engine is not None and is_measured(engine) for engine in engines)


async def _engine(ask: Callable[[float], Awaitable[types_pb2.ServiceInfo]]) -> types_pb2.EngineInfo | None:
    """The engine of a service; None where it cannot be asked."""
    try:
        return (await ask(_PROBE_TIMEOUT_S)).engine
    except ArgoError:
        return None


def _unsampled() -> trace.Span:
    """A parent under which neither this process nor the one called records a span."""
    ids = RandomIdGenerator()
    return trace.NonRecordingSpan(trace.SpanContext(ids.generate_trace_id(), ids.generate_span_id(), is_remote=False))


async def _looked(look: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
    try:
        return await look()
    except Exception:
        # One bad look must not end the watch: the next question would run on what was true long ago.
        _LOG.exception("the engines could not be looked at")
        return False


async def _forever(look: Callable[[], Coroutine[Any, Any, bool]], period_s: float, *, known: bool) -> None:
    while True:
        # Until both are up and warm, look often: the first questions are near.
        await asyncio.sleep(period_s if known else min(_RETRY_S, period_s))
        known = await _looked(look)
