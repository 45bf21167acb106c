"""What the system itself costs: builtin engines on small documents, one question at a time and many at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from argo.errors import ArgoError
from bench.asker import Asked, Asker, AskRequest
from bench.component import calls, mean_own_ms, service_ms
from bench.process import host_busy_s, read_usage, used_cpu_s
from bench.record import RecordFile
from bench.row import answer_row
from bench.statistic import summary

__all__ = ["LOAD", "Phase", "run_phase", "score_phase", "warm_up"]

LOAD: Final = "load generator"
"""Name of this process among those whose processor time is counted."""


@dataclass
class Phase:
    """One load: so many questions in flight until all were asked."""

    name: str
    in_flight: int
    samples: list[Asked] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    """Processor seconds by process, over the whole phase."""
    others_s: float | None = None
    """Processor seconds that the machine spent on anything else meanwhile; None where that is not known."""
    rss_mib: dict[str, float] = field(default_factory=dict)
    """Resident memory by process at its end."""


async def warm_up(asker: Asker, questions: Sequence[str], n: int, in_flight: int, budget_ms: int | None) -> None:
    """Ask n questions whose times are thrown away: connections, caches and lazy imports are paid here."""
    await _ask_all(asker, questions, n, in_flight, budget_ms, Phase("warm-up", in_flight), lambda: None)


async def run_phase(
    asker: Asker,
    questions: Sequence[str],
    *,
    name: str,
    n: int,
    in_flight: int,
    budget_ms: int | None,
    pids: Mapping[str, int],
    records: RecordFile,
    advance: Callable[[], None],
) -> Phase:
    """Ask n questions, in turn over the list, with a fixed number in flight (a closed loop).

    Args:
        asker: The running stack.
        questions: Texts to take in turn.
        name: Of the phase, in records and tables.
        n: Questions to ask.
        in_flight: Questions at once; the next one starts when one is finished.
        budget_ms: Soft budget; None for the stack's own.
        pids: Processes whose processor time is counted, by name.
        records: Where raw samples go.
        advance: Called once for each finished question.
    """
    phase = Phase(name, in_flight)
    watched = {**pids, LOAD: os.getpid()}
    before, busy, began = read_usage(watched), host_busy_s(), time.perf_counter()
    await _ask_all(asker, questions, n, in_flight, budget_ms, phase, advance)
    phase.wall_s = time.perf_counter() - began
    after, busy_after = read_usage(watched), host_busy_s()
    phase.cpu_s = used_cpu_s(before, after)
    if pids and busy is not None and busy_after is not None:
        phase.others_s = max(0.0, busy_after - busy - sum(phase.cpu_s.values()))
    phase.rss_mib = {process: usage.rss_mib for process, usage in after.items()}
    # Written after the clock has stopped, so that the disk is no part of the figure.
    for asked in phase.samples:
        records.write("question", {"phase": name, "latency_ms": asked.latency_s * 1000, **answer_row(asked.answer)})
    records.write("phase", score_phase(phase))
    return phase


async def _ask_all(
    asker: Asker,
    questions: Sequence[str],
    n: int,
    in_flight: int,
    budget_ms: int | None,
    phase: Phase,
    advance: Callable[[], None],
) -> None:
    turns = iter(list(itertools.islice(itertools.cycle(questions), n)))

    async def worker() -> None:
        for question in turns:
            try:
                phase.samples.append(await asker.put(AskRequest(question, budget_ms=budget_ms)))
            except ArgoError as error:
                phase.errors.append(f"{error.code.name}: {error}")
            advance()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight, n)):
            group.create_task(worker())


def _hop_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Calls a question, mean duration and mean time inside the service, by method."""
    grouped: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        for call in calls(row):
            grouped[f"{call['service']}.{call['name']}"].append((call["duration_ms"], service_ms(call)))
    return {
        name: {
            "calls_per_question": len(times) / len(rows),
            "mean_ms": statistics.fmean(duration for duration, _ in times),
            "service_mean_ms": statistics.fmean(inside for _, inside in times),
            "p95_ms": summary([duration for duration, _ in times]).p95,
        }
        for name, times in sorted(grouped.items())
    }


def score_phase(phase: Phase) -> dict[str, Any]:
    """The figures of one phase, as they go into the last line of output."""
    answers = [asked.answer for asked in phase.samples]
    rows = [answer_row(answer) for answer in answers]
    n = len(answers)
    budgeted = [answer.within_budget for answer in answers if answer.within_budget is not None]
    caller = [(asked.latency_s - asked.answer.timing.total_s) * 1000 for asked in phase.samples]
    return {
        "phase": phase.name,
        "in_flight": phase.in_flight,
        "questions": n,
        "errors": len(phase.errors),
        "degraded": sum(answer.degraded for answer in answers),
        "within_budget": sum(budgeted) / len(budgeted) if budgeted else None,
        "wall_s": phase.wall_s,
        "questions_per_s": n / phase.wall_s if phase.wall_s else None,
        "latency_ms": asdict(summary([asked.latency_s * 1000 for asked in phase.samples])) if n else None,
        "own_ms": {**mean_own_ms(rows), "caller and its channel": statistics.fmean(caller)} if n else {},
        "hops": _hop_table(rows) if n else {},
        "mean_searches": statistics.fmean(answer.searches for answer in answers) if n else None,
        "cpu_ms_per_question": {name: seconds * 1000 / n for name, seconds in phase.cpu_s.items()} if n else {},
        "cpu_cores_used": sum(phase.cpu_s.values()) / phase.wall_s if phase.wall_s else None,
        "others_cores_used": phase.others_s / phase.wall_s if phase.others_s is not None and phase.wall_s else None,
        "rss_mib": phase.rss_mib,
    }
