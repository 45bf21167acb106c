"""What the orchestrator says of itself: the settings that matter, the services behind, and the limits of a question."""

from __future__ import annotations

from collections.abc import Sequence

from argo import limits
from argo.v1 import orchestrator_pb2, types_pb2
from orchestrator.policy_book import PolicyBook
from orchestrator.settings import OrchestratorSettings
from orchestrator.strategy import STRATEGIES

__all__ = ["info_reply", "shown_settings"]


def shown_settings(settings: OrchestratorSettings, book: PolicyBook, origin: str, *, hedges: bool) -> dict[str, str]:
    """The settings that change an answer or a refusal, by name.

    Args:
        settings: As they were read.
        book: The policies in force, which may name a relevance of their own.
        origin: Where their parameters come from.
        hedges: Whether late searches are made once more.
    """
    return {
        "strategy": settings.strategy,
        "tracker": settings.tracker,
        "budget_ms": str(settings.budget_ms),
        "max_running": str(settings.max_running),
        "max_queued": str(settings.max_queued),
        "max_reduced": str(settings.max_reduced),
        "hedge_searches": str(hedges).lower(),
        "max_steps": str(settings.max_steps),
        "fan_out": str(settings.fan_out),
        "top_k": str(settings.top_k),
        "kept_passages": str(settings.kept_passages),
        "kept_words": str(settings.kept_words),
        "close_relevance": str(book.parameters.close_relevance or settings.close_relevance),
        "close_confidence": str(settings.close_confidence),
        "sessions": "sqlite" if settings.session_url is None else "redis",
        "policy": origin,
        "reason_available": str(book.reason_available).lower(),
    }


def info_reply(
    info: types_pb2.ServiceInfo, peers: Sequence[orchestrator_pb2.PeerInfo]
) -> orchestrator_pb2.OrchestratorInfo:
    """This service and those behind it."""
    return orchestrator_pb2.OrchestratorInfo(
        info=info,
        peers=peers,
        strategies=STRATEGIES,
        limits={
            "question_characters": limits.QUESTION_CHARACTERS,
            "options_max": limits.OPTIONS[1],
            "top_k_max": limits.TOP_K[1],
            "fan_out_max": limits.FAN_OUT[1],
            "steps_max": limits.STEPS[1],
            "budget_ms_min": limits.BUDGET_MS[0],
            "budget_ms_max": limits.BUDGET_MS[1],
            "request_bytes": limits.REQUEST_BYTES,
            "reply_bytes": limits.REPLY_BYTES,
            "document_bytes": limits.DOCUMENT_BYTES,
        },
    )
