"""Asks what a policy fit is made of: the train questions in several arms, and the held-out ones under each strategy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from argo.client import Client
from argo.errors import ArgoError
from argo.result import AskLimits, SessionStatus
from bench.asker import Asker, AskRequest
from bench.evidence import cap, match
from bench.question import Question
from bench.record import RecordFile
from bench.session import repository_of, session_row

__all__ = ["ONCE", "OTHER_ARMS", "Arm", "collect_recorded", "measure_held_out", "record_sessions"]


@dataclass(frozen=True)
class Arm:
    """One way in which every train question is asked."""

    name: str
    strategy: str
    max_steps: int | None = None
    """None for the stack's own."""


ONCE: Final = Arm("once", "mdp", 1)
"""One step, which opens every focus under the default parameters."""
OTHER_ARMS: Final = (Arm("twice", "mdp", 2), Arm("one by one", "always_retrieve"))
"""The same questions after two steps, so that what the second brings is seen on the same questions; and foci searched
one at a time, so that narrow retrievals are timed with many foci too."""


async def record_sessions(
    client: Client,
    asker: Asker,
    questions: Sequence[Question],
    arms: Sequence[Arm],
    records: RecordFile,
    *,
    concurrency: int,
    advance: Callable[[], None],
) -> None:
    """Ask every train question in every arm, without a budget, and record the sessions as GetSession gives them.

    Args:
        client: Reads the sessions back.
        asker: Asks.
        questions: The train split.
        arms: How each is asked.
        records: Takes rows of kind "session"; a question that failed is one of kind "failure".
        concurrency: Questions in flight.
        advance: Called for each finished question.
    """
    about = (await client.info()).info.settings
    gate = asyncio.Semaphore(concurrency)

    async def one(question: Question, arm: Arm) -> None:
        request = AskRequest(
            question.question, strategy=arm.strategy, budget_ms=0, limits=AskLimits(max_steps=arm.max_steps)
        )
        async with gate:
            try:
                asked = await asker.put(request)
                session = await client.session(asked.answer.session_id)
                row = session_row(session, about)
            except ArgoError as error:
                records.write("failure", {"id": question.id, "arm": arm.name, "error": f"{error.code.name}: {error}"})
            else:
                found = match(question, cap(asked.answer.passages)).evidence_rank
                held = sum(rank is not None for rank in found) / len(found) if found else None
                records.write(
                    "session", {"id": question.id, "cluster": _cluster(question), "arm": arm.name, **row, "held": held}
                )
        advance()

    async with asyncio.TaskGroup() as group:
        for question in questions:
            for arm in arms:
                group.create_task(one(question, arm))


async def collect_recorded(client: Client, most: int, records: RecordFile, advance: Callable[[], None]) -> int:
    """Read the latest finished sessions of a running stack; returns their number.

    Nothing is known of their evidence. One question's sessions are one cluster.

    Args:
        client: Of the running stack.
        most: Sessions to read.
        records: Takes rows of kind "session".
        advance: Called for each.
    """
    about = (await client.info()).info.settings
    listed = await client.sessions(limit=most, status=SessionStatus.FINISHED)
    numbers: dict[str, int] = {}
    for summary in listed:
        session = await client.session(summary.session_id)
        # No text in the record: a number stands for the question.
        number = numbers.setdefault(session.question, len(numbers))
        row = session_row(session, about)
        records.write("session", {"id": str(number), "cluster": str(number), "arm": "recorded", **row, "held": None})
        advance()
    return len(listed)


def _cluster(question: Question) -> str:
    """The repository of a question's first evidence; the question itself where its documents have none."""
    path = question.evidence[0].path if question.evidence else question.path
    return repository_of(path) or question.id


async def measure_held_out(
    asker: Asker,
    questions: Sequence[Question],
    labels: Sequence[tuple[str, str]],
    budgets_ms: Sequence[int],
    records: RecordFile,
    *,
    split: str,
    seed: int,
    concurrency: int,
    advance: Callable[[], None],
) -> None:
    """Ask questions under several strategies, one after the other for each question.

    Args:
        asker: The running stack.
        questions: Of one split.
        labels: What to call each in the record, and its strategy.
        budgets_ms: Soft budgets; 0 for none.
        records: Takes rows of kind "question".
        split: Written to each row.
        seed: Of the `random` strategy.
        concurrency: Questions in flight.
        advance: Called for each finished one.
    """
    gate = asyncio.Semaphore(concurrency)

    async def one(question: Question, label: str, strategy: str, budget_ms: int) -> None:
        row: dict[str, Any] = {
            "split": split,
            "run": label,
            "strategy": strategy,
            "budget_ms": budget_ms,
            "id": question.id,
            "difficulty": question.difficulty,
            "cluster": _cluster(question),
        }
        async with gate:
            try:
                asked = await asker.put(
                    AskRequest(question.question, strategy=strategy, budget_ms=budget_ms, seed=seed)
                )
            except ArgoError as error:
                row |= {"found": False, "held": 0.0, "error": f"{error.code.name}: {error}"}
            else:
                answer = asked.answer
                met = match(question, cap(answer.passages))
                row |= {
                    "found": met.complete,
                    "held": sum(rank is not None for rank in met.evidence_rank) / len(met.evidence_rank),
                    "searches": answer.searches,
                    "steps": answer.steps,
                    "foci": len(answer.foci),
                    "progress": answer.progress,
                    "end_reason": answer.end_reason.value,
                    "refused": answer.abstained,
                    "latency_ms": asked.latency_s * 1000,
                    "within_budget": answer.within_budget,
                    "degraded": answer.degraded,
                    "error": "",
                }
        records.write("question", row)
        advance()

    async with asyncio.TaskGroup() as group:
        for question in questions:
            for label, strategy in labels:
                for budget_ms in budgets_ms:
                    group.create_task(one(question, label, strategy, budget_ms))
