"""The raw record of one recorded session: what the decision process did, step by step, and no text.

Whatever a fit of the process needs is in it, so that a fit can be made again from the record alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from argo.result import Action, DegradationKind, Hop, Session

__all__ = ["repository_of", "session_row"]

_SUBQUERY_CALLS: Final = ("GenerateSubquery", "Search")
_REPOSITORY_DEPTH: Final = 2
"""Folders of a path that name a repository: owner and name."""


def repository_of(path: str) -> str:
    """The repository of a document: the first two folders of its path, or as many as it has."""
    return "/".join(PurePosixPath(path).parts[:-1][:_REPOSITORY_DEPTH])


def session_row(session: Session, settings: Mapping[str, str]) -> dict[str, Any]:
    """The numbers of a finished session.

    Args:
        session: As GetSession gives it.
        settings: Of the orchestrator that ran it, as its GetInfo tells them.

    Returns:
        strategy, tracker, mode, foci, top_k, close_relevance, budget_ms, end_reason; steps, each with the ids of the
        foci that it opened, how often each had been searched before, and those that it closed; answer_ms from the call
        that writes the answer to its end; milliseconds of subqueries and of notes.

    Raises:
        ValueError: The session is not finished.
    """
    answer = session.answer
    if answer is None:
        raise ValueError(f"session {session.session_id!r} must be finished, got {session.status.value}")
    hops = answer.timing.hops
    row: dict[str, Any] = {
        "session": session.session_id,
        "strategy": answer.strategy,
        "tracker": settings["tracker"],
        "mode": "choice" if session.options else "free",
        "foci": len(session.foci),
        "top_k": session.limits.top_k or int(settings["top_k"]),
        "close_relevance": float(settings["close_relevance"]),
        "budget_ms": answer.budget_ms,
        "end_reason": answer.end_reason.value,
        "progress": answer.progress,
        "searches": answer.searches,
        "resumed": session.resumed,
        "extractive": any(lost.kind is DegradationKind.EXTRACTIVE for lost in answer.degradations),
        "degraded": answer.degraded,
        "steps": _steps(session),
        "answer_ms": _answer_ms(hops, answer.timing.total_s),
    }
    for name, calls in (("subquery", _SUBQUERY_CALLS), ("note", ("Reason",))):
        made = [hop for hop in hops if hop.step and hop.name in calls and not hop.error]
        row[f"{name}_ms"] = sum(hop.duration_s for hop in made) * 1000
    return row


def _steps(session: Session) -> list[dict[str, Any]]:
    """The steps in their order, each with how often the foci that it opened had been searched before."""
    searched: Counter[str] = Counter()
    rows = []
    for step in session.steps:
        retrieved = step.action is Action.RETRIEVE
        rows.append(
            {
                "action": step.action.value,
                "opened": list(step.focus_ids),
                "searched_before": [searched[focus] for focus in step.focus_ids],
                "closed": list(step.closed_focus_ids),
                "progress_before": step.progress_before,
                "progress_after": step.progress_after,
                "duration_ms": step.duration_s * 1000,
                "searches": step.searches,
                "new_passages": step.new_passages,
                "notes": len(step.notes),
            }
        )
        if retrieved:
            searched.update(step.focus_ids)
    return rows


def _answer_ms(hops: Sequence[Hop], total_s: float) -> float | None:
    """From the first call that writes the answer until the question's end; None where none was made."""
    starts = [hop.start_s for hop in hops if hop.name == "Synthesize"]
    return (total_s - min(starts)) * 1000 if starts else None
