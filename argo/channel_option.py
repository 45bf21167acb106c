"""Options of every gRPC channel and server: sizes, pings, balancing, and what gRPC itself tries again."""

from __future__ import annotations

import json
from typing import Final

from argo import limits

__all__ = ["channel_options", "server_options"]

_RETRIED_SERVICES: Final = ("argo.v1.DecomposerService", "argo.v1.RetrieverService", "argo.v1.SynthesizerService")
_RETRIED_ORCHESTRATOR_METHODS: Final = ("GetSession", "ListSessions", "GetPolicy", "GetInfo")
_REPLICA_RETRIES: Final = {"maxTokens": 80, "tokenRatio": 1}
"""Half of the tokens may be spent before gRPC stops trying: 1.2 attempts a call for 200 calls to replicas that are all
ill. An orchestrator towards a list of replicas has its own budget instead (:mod:`orchestrator.lane`)."""
_SINGLE_RETRIES: Final = {"maxTokens": 20, "tokenRatio": 0.1}
"""One that has no other beside it is seldom back within the backoff: ten failed attempts, and each is tried once only
until a hundred calls have succeeded."""


def _service_config(*, by_health: bool, repeats: bool) -> str:
    # Ask, ResumeSession and DeleteSession are not repeated for the caller: a question may have begun.
    names: list[dict[str, str]] = [{"service": name} for name in _RETRIED_SERVICES]
    names += [{"service": "argo.v1.OrchestratorService", "method": m} for m in _RETRIED_ORCHESTRATOR_METHODS]
    # A replica that is NOT_SERVING gets no call. Where there is no other, it gets them all: a service whose engine is
    # ill still answers by its own fallback, which is better than none.
    health = {"healthCheckConfig": {"serviceName": ""}} if by_health else {}
    balanced = {"loadBalancingConfig": [{"round_robin": {}}], **health}
    if not repeats:
        return json.dumps(balanced)
    return json.dumps(
        {
            **balanced,
            "retryThrottling": _REPLICA_RETRIES if by_health else _SINGLE_RETRIES,
            "methodConfig": [
                {
                    "name": names,
                    "retryPolicy": {
                        "maxAttempts": 3,
                        "initialBackoff": "0.02s",
                        "maxBackoff": "0.2s",
                        "backoffMultiplier": 2,
                        "retryableStatusCodes": ["UNAVAILABLE"],
                    },
                }
            ],
        }
    )


def channel_options(*, by_health: bool = False, repeats: bool = True) -> list[tuple[str, int | str]]:
    """Options of every client channel; sizes are those of :mod:`argo.limits`.

    Args:
        by_health: Call only replicas that are SERVING.
        repeats: Whether gRPC makes a call once more that ends with UNAVAILABLE.
    """
    return [
        ("grpc.service_config", _service_config(by_health=by_health, repeats=repeats)),
        ("grpc.enable_retries", 1),
        ("grpc.max_send_message_length", limits.REQUEST_BYTES),
        ("grpc.max_receive_message_length", limits.REPLY_BYTES),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        # A frozen peer still acknowledges TCP; only an unanswered HTTP/2 ping shows it.
        ("grpc.http2.ping_timeout_ms", 3_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # The C core waits up to two minutes between attempts by default; a restarted service is back in a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # What an attempt itself may take: on a machine that loads a model, a handshake does take 0.1 s.
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.use_local_subchannel_pool", 1),
    ]


def server_options(connection_age_s: float | None = None) -> list[tuple[str, int | str]]:
    """Options of every server.

    Args:
        connection_age_s: Age at which a connection is asked to close once its calls are done; None for never.
    """
    age = [] if connection_age_s is None else [("grpc.max_connection_age_ms", round(connection_age_s * 1000))]
    return [
        *age,
        ("grpc.max_receive_message_length", limits.REQUEST_BYTES),
        ("grpc.max_send_message_length", limits.REPLY_BYTES),
        # Otherwise a second process binds the same port and takes half of the calls.
        ("grpc.so_reuseport", 0),
        # Our own clients ping every 10 s; the default of two strikes would end in too_many_pings.
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
