"""Planning: what must be known to answer, or the question itself where the decomposer cannot say."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from argo import limits
from argo.errors import ArgoError, InvalidArgumentError
from argo.v1 import decomposer_pb2, session_pb2, types_pb2
from orchestrator.peer import FATAL, HopLog, Peers
from orchestrator.question import Question

__all__ = ["plan_question"]

_LOG = logging.getLogger(__name__)


async def plan_question(question: Question, peers: Peers, hops: HopLog, timeout_s: float) -> session_pb2.RecordedPlan:
    """Ask the decomposer for foci.

    Args:
        question: The question.
        peers: The services.
        hops: Where the call is recorded.
        timeout_s: Seconds that the call may take.

    Returns:
        The plan; with a degradation where the question itself had to be the only focus.

    Raises:
        ArgoError: The request is wrong, or an operator must act.
    """
    if question.strategy.question_only:
        return session_pb2.RecordedPlan(foci=[_whole(question)])
    request = decomposer_pb2.PlanFociRequest(question=question.text, options=question.options)
    try:
        reply = await peers.plan_foci(request, timeout_s, hops)
    except FATAL:
        raise
    except ArgoError as error:
        _LOG.warning("planning failed: %s", error.code.name)
        return _without_plan(question, error.code.name)
    fault = _fault(reply.foci)
    if fault:
        _LOG.error("the decomposer's plan cannot be used: %s", fault)
        return _without_plan(question, fault)
    return session_pb2.RecordedPlan(foci=reply.foci)


def _fault(foci: Sequence[types_pb2.Focus]) -> str:
    """Why a plan cannot be worked on; empty where it can."""
    low, high = limits.FOCI
    if not low <= len(foci) <= high:
        return f"{len(foci)} foci, not {low}..{high}"
    if len({focus.id for focus in foci}) < len(foci):
        return "two foci with the same id"
    if not all(focus.id and focus.text.strip() for focus in foci):
        return "a focus without id or text"
    try:
        # The retriever will check the same bound, and there it would end the question.
        for focus in foci:
            limits.check_text("focus", focus.text, limits.QUESTION_CHARACTERS)
    except InvalidArgumentError as error:
        return error.message
    return ""


def _whole(question: Question) -> types_pb2.Focus:
    return types_pb2.Focus(id="f1", text=question.text)


def _without_plan(question: Question, reason: str) -> session_pb2.RecordedPlan:
    lost = types_pb2.Degradation(
        kind=types_pb2.DEGRADATION_KIND_DECOMPOSER,
        detail=f"the question was not split into foci ({reason}); it was searched as it is",
    )
    return session_pb2.RecordedPlan(foci=[_whole(question)], degradations=[lost])
