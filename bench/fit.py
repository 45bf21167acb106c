"""A policy fitted to recorded sessions, and what it changes on questions that the fit has not seen.

Everything is made of the raw record: sessions of the train questions, and the outcome of each test question under each
strategy. The same record gives the same fit again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from argo.client import Client
from argo.errors import ArgoError, InvalidArgumentError
from argo.result import AskLimits, Policy, SessionStatus
from bench.action_time import fitted_times
from bench.asker import Asker, AskRequest
from bench.estimate import Estimate, estimate_parameters
from bench.evidence import cap, match
from bench.question import Question
from bench.record import RecordFile, Run
from bench.session import repository_of, session_row
from orchestrator.action_time import BUILTIN_TIMES, ActionTimes
from orchestrator.parameter import MdpParameters
from orchestrator.policy_book import PolicyBook
from orchestrator.policy_file import PolicyFile

__all__ = [
    "DEFAULT",
    "FITTED",
    "NON_ADAPTIVE",
    "TRAIN_ARMS",
    "Arm",
    "Fit",
    "collect_recorded",
    "fit",
    "fit_record",
    "in_force",
    "measure_held_out",
    "read_policy",
    "record_sessions",
    "write_policy",
]

DEFAULT: Final = "mdp, defaults"
FITTED: Final = "mdp, fitted"
NON_ADAPTIVE: Final = ("fixed", "always_retrieve")
"""The strategies that the fitted policy is to be held against; the better of them counts."""
_PAGE: Final = 100
_TIMES: Final = {
    "one_focus_retrieve_s": "retrieve_1_one_focus",
    "reason_s": "reason",
    "free_answer_s": "answer_free",
    "choice_answer_s": "answer_choice",
    "extractive_answer_s": "extractive",
}
"""Fields of the times, and what GetPolicy calls them."""


@dataclass(frozen=True)
class Arm:
    """One way in which every train question is asked."""

    name: str
    strategy: str
    max_steps: int | None = None
    """None for the stack's own."""


TRAIN_ARMS: Final = (
    Arm("once", "mdp", 1),
    Arm("twice", "mdp", 2),
    Arm("one by one", "always_retrieve"),
)
"""The same questions after one step and after two, so that what the second brings is seen on the same questions; and
foci searched one at a time, so that narrow retrievals are timed with many foci too."""


@dataclass(frozen=True)
class Fit:
    """Parameters and times as they were, and as sessions have them."""

    before: PolicyFile
    after: PolicyFile
    estimates: tuple[Estimate, ...]
    observed: dict[str, int]
    """Observations behind each time that was measured."""


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
                row = session_row(session, about["tracker"], int(about["top_k"]))
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
        row = session_row(session, about["tracker"], int(about["top_k"]))
        records.write("session", {"id": str(number), "cluster": str(number), "arm": "recorded", **row, "held": None})
        advance()
    return len(listed)


def _cluster(question: Question) -> str:
    """The repository of a question's first evidence; the question itself where its documents have none."""
    path = question.evidence[0].path if question.evidence else question.path
    return repository_of(path) or question.id


def in_force(policy: Policy) -> PolicyFile:
    """The parameters and times that a stack runs with, as its GetPolicy tells them."""
    given: dict[str, Any] = {**policy.parameters, "quality": policy.quality}
    given["allow_free"] = bool(given.get("allow_free", False))
    seconds = policy.action_time_s
    times: dict[str, Any] = {field: seconds[name] for field, name in _TIMES.items() if name in seconds}
    times["retrieve_s"] = _by_fan_out(seconds, "retrieve_{}")
    if "retrieve_1_rules" in seconds:
        times["rules_retrieve_s"] = _by_fan_out(seconds, "retrieve_{}_rules")
    return PolicyFile(MdpParameters.from_mapping(given), ActionTimes.from_mapping(times), policy.origin)


def read_policy(mapping: Mapping[str, Any]) -> PolicyFile:
    """Parameters and times as a record holds them."""
    times = mapping["times"]
    return PolicyFile(
        MdpParameters.from_mapping(mapping["parameters"]),
        None if times is None else ActionTimes.from_mapping(times),
        mapping["origin"],
    )


def write_policy(content: PolicyFile) -> dict[str, Any]:
    """Parameters and times for a record."""
    return {
        "parameters": content.parameters.to_mapping(),
        "times": None if content.times is None else content.times.to_mapping(),
        "origin": content.origin,
    }


def fit_record(run: Run) -> Fit:
    """The fit of a record, with the settings that it was made with."""
    settings, n = run.head["settings"], len(run.of_kind("session"))
    return fit(
        run,
        read_policy(run.head["before"]),
        seed=settings["seed"],
        origin=f"bench policy fit: {run.path.name}, {n} sessions, seed {settings['seed']}",
        with_times=settings["times"],
    )


def _by_fan_out(seconds: Any, name: str) -> list[float]:
    return [seconds[name.format(n)] for n in range(1, 9)]


def fit(run: Run, before: PolicyFile, *, seed: int, origin: str, with_times: bool) -> Fit:
    """Fit parameters and times to the sessions of a record, and make sure that they can be solved for.

    Args:
        run: With rows of kind "session".
        before: What was in force when they ran; what they say nothing of stays as it is.
        seed: Of the intervals.
        origin: What the file is to say of itself.
        with_times: Whether the file is to hold times, which then replace those that the engines measure.

    Raises:
        InvalidArgumentError: There is no session with a retrieval.
    """
    rows = run.of_kind("session")
    estimates = estimate_parameters(rows, np.random.default_rng(seed), retrieve_cost=before.parameters.retrieve_cost)
    found = {estimate.name: estimate.value for estimate in estimates if estimate.value is not None}
    if "success_probability" not in found:
        raise InvalidArgumentError(f"sessions must hold at least 1 retrieval, got none in {run.path}")
    given = {name: _within(name, value) for name, value in found.items()}
    parameters = MdpParameters.from_mapping({**before.parameters.to_mapping(), **given})
    times = before.times
    observed: dict[str, int] = {}
    if before.times is not None:
        times, observed = fitted_times(rows, before.times)
    after = PolicyFile(parameters, times if with_times else None, origin)
    # Not a file that an orchestrator would refuse.
    solved_for = times or BUILTIN_TIMES
    PolicyBook(parameters, solved_for, reason_available=solved_for.reason_s is not None)
    return Fit(before, after, tuple(estimates), observed)


def _within(name: str, value: float) -> float:
    """A gain must be above 0 even where nothing was gained; costs and chances may be 0."""
    return max(value, 1e-3) if name.endswith("gain") else value


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
