"""How many questions end inside the budget, at shares of what the stack can take.

The capacity is measured first, as the most questions a second over closed loops of rising number in flight. Then
questions come at shares of it, as a Poisson process, to each strategy in turn: once with the budget told to the stack,
which then shapes its work to it, and once without, where only the clock of this benchmark knows it. The arrivals of one
load are the same for all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from argo.errors import InvalidArgumentError
from bench.asker import Asker, AskRequest
from bench.load import Attempt, closed_loop, open_loop, poisson_arrivals
from bench.record import RecordFile, Run
from bench.row import attempt_row
from bench.statistic import percentile, wilson_interval

__all__ = ["Level", "Plan", "capacity", "measure_capacity", "measure_loads", "score"]

_GAIN: Final = 1.05
"""A next number in flight that brings less than this has found the capacity."""


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Raises:
        InvalidArgumentError: A share is not above 0, or a number is below 1.
    """

    questions: Sequence[str]
    """Texts, taken in turn."""
    strategies: Sequence[str]
    shares: Sequence[float]
    """Of the capacity."""
    budget_ms: int
    count: int
    """Questions of each load."""
    seed: int

    def __post_init__(self) -> None:
        for share in self.shares:
            if not 0 < share < float("inf"):
                raise InvalidArgumentError(f"at must be above 0 and finite, got {share}")
        if self.count < 1:
            raise InvalidArgumentError(f"count must be at least 1, got {self.count}")

    def requests(self, strategy: str, budget_ms: int, count: int) -> list[AskRequest]:
        """The questions of one load."""
        texts = self.questions
        return [
            AskRequest(texts[number % len(texts)], strategy=strategy, budget_ms=budget_ms, seed=self.seed)
            for number in range(count)
        ]


@dataclass(frozen=True)
class Level:
    """What a closed loop brought."""

    in_flight: int
    questions: int
    errors: int
    wall_s: float

    @property
    def questions_per_s(self) -> float:
        """Answers a second; what failed does not count."""
        return (self.questions - self.errors) / self.wall_s


def capacity(levels: Sequence[Level]) -> float:
    """The most questions a second of any level."""
    return max(level.questions_per_s for level in levels)


async def measure_capacity(
    asker: Asker, plan: Plan, strategy: str, levels: Sequence[int], records: RecordFile, say: Callable[[str], None]
) -> list[Level]:
    """Raise the number in flight until that brings no more.

    Args:
        asker: The running stack.
        plan: Questions and seed.
        strategy: Whose capacity it is; it works without a budget, so that no work is left out.
        levels: Numbers in flight, rising.
        records: Where each level goes.
        say: Told of each level.

    Returns:
        The levels that were run, at least one.
    """
    found: list[Level] = []
    for in_flight in levels:
        # Long enough that the ramp at both ends weighs little.
        count = max(plan.count // 2, 6 * in_flight)
        began = time.perf_counter()
        attempts = await closed_loop(asker, plan.requests(strategy, 0, count), in_flight)
        level = Level(in_flight, count, sum(one.asked is None for one in attempts), time.perf_counter() - began)
        records.write("level", {"strategy": strategy, **asdict(level), "questions_per_s": level.questions_per_s})
        say(f"{strategy}, {in_flight} in flight: {level.questions_per_s:.1f} questions/s")
        best = capacity(found) if found else 0.0
        found.append(level)
        if level.questions_per_s < best * _GAIN:
            break
    return found


async def measure_loads(
    asker: Asker, plan: Plan, capacity_per_s: float, records: RecordFile, advance: Callable[[Attempt], None]
) -> None:
    """Put each load to each strategy, with and without the budget, and write down every question.

    Args:
        asker: The running stack.
        plan: What to measure.
        capacity_per_s: Questions a second of which the loads are shares.
        records: Where the rows go, once a load is done.
        advance: Called for each question that ended.
    """
    for share in plan.shares:
        rate_per_s = share * capacity_per_s
        arrivals = poisson_arrivals(plan.count, rate_per_s, np.random.default_rng(plan.seed))
        for strategy, budget_ms in _turns(plan):
            requests = plan.requests(strategy, budget_ms, plan.count)
            for attempt in await open_loop(asker, requests, arrivals, advance=advance):
                where = {"asked_strategy": strategy, "told_budget_ms": budget_ms, "at": share, "rate_per_s": rate_per_s}
                records.write("question", {**where, **attempt_row(attempt)})


def _turns(plan: Plan) -> Iterator[tuple[str, int]]:
    for strategy in plan.strategies:
        yield strategy, plan.budget_ms
        yield strategy, 0


def score(run: Run) -> list[dict[str, Any]]:
    """The figures of each load, from a saved record alone, in the order in which they were run.

    Returns:
        For each strategy, told budget and share: inside, the share of questions answered within the budget by the clock
        of the caller from the intended start on, a failed one being outside, with its 95 % Wilson interval; latency of
        those answered; and what the answers were made of.
    """
    budget_ms = float(run.head["settings"]["budget_ms"])
    groups: dict[tuple[str, int, float], list[Any]] = {}
    for row in run.of_kind("question"):
        groups.setdefault((row["asked_strategy"], row["told_budget_ms"], row["at"]), []).append(row)
    return [
        {"strategy": strategy, "told_budget_ms": told, "at": share, **_score(rows, budget_ms)}
        for (strategy, told, share), rows in groups.items()
    ]


def _score(rows: Sequence[dict[str, Any]], budget_ms: float) -> dict[str, Any]:
    answered = [row for row in rows if not row["error"]]
    inside = sum(row["latency_ms"] <= budget_ms for row in answered)
    low, high = wilson_interval(inside, len(rows))
    latency = [row["latency_ms"] for row in answered]
    lateness = [row["sent_ms"] - row["intended_ms"] for row in rows]
    return {
        "rate_per_s": rows[0]["rate_per_s"],
        "questions": len(rows),
        "errors": len(rows) - len(answered),
        "inside": inside / len(rows),
        "inside_low": low,
        "inside_high": high,
        **{f"p{q}_ms": percentile(latency, q) if latency else None for q in (50, 95, 99)},
        "generator_late_p99_ms": percentile(lateness, 99),
        **{f"mean_{name}": _mean(answered, name) for name in ("searches", "reasoning_steps", "steps", "progress")},
        "mean_completion_tokens": _mean(answered, "completion_tokens"),
        "degraded": _share(answered, lambda row: bool(row["degradations"])),
        # An answer that says that it has found nothing is in time, and of no use.
        "abstained": _share(answered, lambda row: bool(row["abstained"])),
        "extractive": _share(answered, lambda row: "extractive" in row["degradations"]),
    }


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    return statistics.fmean(row[name] for row in rows) if rows else None


def _share(rows: Sequence[dict[str, Any]], holds: Callable[[dict[str, Any]], bool]) -> float | None:
    return sum(map(holds, rows)) / len(rows) if rows else None
