"""How the services are, by the standard health protocol and by what the orchestrator says of its peers."""

from __future__ import annotations

from typing import Any, Final

from grpc_health.v1 import health_pb2, health_pb2_grpc

from argo.errors import ArgoError
from argo.rpc import Caller
from argo.service import OrchestratorInfo, ServiceHealth

__all__ = ["PROBE_TIMEOUT_S", "check", "peer_health", "service_health"]

PROBE_TIMEOUT_S: Final = 3.0
"""Longest time that one service may take to say how it is."""


def service_health(service: str, caller: Caller, health: str, detail: str) -> ServiceHealth:
    """How a service is, as it is seen from here."""
    return ServiceHealth(service=service, target=caller.target, health=health, seen_from="client", detail=detail)


async def check(service: str, caller: Caller) -> ServiceHealth:
    """Ask a service itself; one that does not answer is UNREACHABLE."""
    stub: Any = health_pb2_grpc.HealthStub(caller.channel)
    try:
        reply = await caller.unary(
            "grpc.health.v1.Health/Check", stub.Check, health_pb2.HealthCheckRequest(), PROBE_TIMEOUT_S
        )
    except ArgoError as error:
        return service_health(service, caller, "UNREACHABLE", error.message)
    serving = reply.status == health_pb2.HealthCheckResponse.SERVING
    return service_health(service, caller, "SERVING" if serving else "NOT_SERVING", "")


def peer_health(info: OrchestratorInfo) -> list[ServiceHealth]:
    """How the services behind the orchestrator are, as it sees them."""
    peers: list[ServiceHealth] = []
    for peer in info.peers:
        detail = ""
        if peer.info is not None:
            detail = f"version {peer.info.version}"
            if peer.info.engine is not None:
                detail += f", engine {peer.info.engine.name}"
            if (collection := peer.info.collection) is not None:
                detail += f", {collection.documents} documents, {collection.passages} passages, {collection.embedder}"
        if peer.breaker not in ("", "closed"):
            detail = ", ".join(part for part in (detail, f"breaker {peer.breaker.replace('_', ' ')}") if part)
        peers.append(
            ServiceHealth(
                service=peer.service, target=peer.target, health=peer.health, seen_from="orchestrator", detail=detail
            )
        )
    return peers
