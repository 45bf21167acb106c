"""The raw record of one question, the same in every benchmark: whatever a figure is made of, and no text.

Times are milliseconds. A row without an error has every field of an answer; one with an error has none of them.
"""

from __future__ import annotations

from typing import Any

from argo.result import Answer, Hop
from bench.load import Attempt

__all__ = ["answer_row", "attempt_row", "hop_row"]


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """One attempt: when it was put, what its caller saw, and its answer's numbers where there is one.

    Returns:
        intended_ms, sent_ms and ended_ms since the load began; latency_ms from the intended start; error, empty where
        there is none; and with an answer first_delta_ms, None where its text came whole, and :func:`answer_row`.
    """
    row: dict[str, Any] = {
        "intended_ms": attempt.intended_s * 1000,
        "sent_ms": attempt.sent_s * 1000,
        "ended_ms": attempt.ended_s * 1000,
        "latency_ms": attempt.latency_s * 1000,
        "error": attempt.error,
    }
    if attempt.asked is not None:
        first_s = attempt.asked.time_to_first_delta_s
        row["first_delta_ms"] = None if first_s is None else first_s * 1000
        row |= answer_row(attempt.asked.answer)
    return row


def answer_row(answer: Answer) -> dict[str, Any]:
    """The numbers of an answer, and its calls."""
    return {
        "strategy": answer.strategy,
        "total_ms": answer.timing.total_s * 1000,
        "budget_ms": answer.budget_ms,
        "within_budget": answer.within_budget,
        "searches": answer.searches,
        "steps": answer.steps,
        "reasoning_steps": sum(call.name == "Reason" and not call.error for call in answer.timing.hops),
        "foci": len(answer.foci),
        "progress": answer.progress,
        "end_reason": answer.end_reason.value,
        "degradations": [degradation.kind.value for degradation in answer.degradations],
        "abstained": answer.abstained,
        "choice": answer.choice,
        "option_probabilities": list(answer.option_probabilities),
        "passages": len(answer.passages),
        "citations": len(answer.citations),
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "cached_tokens": answer.usage.cached_tokens,
        "hops": [hop_row(call) for call in answer.timing.hops],
    }


def hop_row(hop: Hop) -> dict[str, Any]:
    """One call as the orchestrator saw it, with what the service reported of itself; None where it did not."""
    row: dict[str, Any] = {
        "service": hop.service,
        "name": hop.name,
        "step": hop.step,
        "start_ms": hop.start_s * 1000,
        "duration_ms": hop.duration_s * 1000,
        "error": hop.error,
    }
    for field in ("queue", "work", "prefill", "decode", "ttft"):
        seconds = getattr(hop.timing, f"{field}_s") if hop.timing is not None else None
        row[f"{field}_ms"] = None if seconds is None else seconds * 1000
    return row
