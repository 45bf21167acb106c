"""What the services say of themselves, and how they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from argo.document import CollectionInfo
from argo.result import Result

__all__ = ["EngineInfo", "Gpu", "HealthReport", "OrchestratorInfo", "PeerInfo", "ServiceHealth", "ServiceInfo"]

_SERVING = "SERVING"


@dataclass(frozen=True, kw_only=True)
class Gpu(Result):
    """An accelerator that a service holds."""

    index: int
    name: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class EngineInfo(Result):
    """The engine behind a decomposer or synthesizer."""

    name: str
    language_model: bool
    model: str
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, kw_only=True)
class ServiceInfo(Result):
    """What a service is and how it is set."""

    service: str
    version: str
    settings: Mapping[str, str]
    engine: EngineInfo | None
    collection: CollectionInfo | None
    uptime_s: float


@dataclass(frozen=True, kw_only=True)
class PeerInfo(Result):
    """A service behind the orchestrator."""

    service: str
    target: str
    health: str
    """ "SERVING", "NOT_SERVING" or "UNREACHABLE"."""
    info: ServiceInfo | None
    breaker: str = ""
    """ "closed", "half_open" or "open": whether the orchestrator calls it; empty from an older orchestrator."""


@dataclass(frozen=True, kw_only=True)
class OrchestratorInfo(Result):
    """The orchestrator and what is behind it."""

    info: ServiceInfo
    peers: tuple[PeerInfo, ...]
    strategies: tuple[str, ...]
    limits: Mapping[str, int]
    """Published limits by name."""


@dataclass(frozen=True, kw_only=True)
class ServiceHealth(Result):
    """How one service is, seen from one place."""

    service: str
    target: str
    health: str
    """ "SERVING", "NOT_SERVING" or "UNREACHABLE"."""
    seen_from: str
    """ "client" or "orchestrator"."""
    detail: str
    """Version and what matters of the service, or why it could not be reached."""

    @property
    def serving(self) -> bool:
        """Whether it takes calls."""
        return self.health == _SERVING


@dataclass(frozen=True, kw_only=True)
class HealthReport(Result):
    """How all services are."""

    services: tuple[ServiceHealth, ...]
    refused: str = ""
    """Why the orchestrator does not tell this caller how the services behind it are; empty where it does."""

    @property
    def serving(self) -> bool:
        """Whether all of them, also those behind the orchestrator, are known to take calls."""
        return not self.refused and all(service.serving for service in self.services)
