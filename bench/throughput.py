"""What a stack, or an engine by itself, gets done at each number of questions in flight.

A level is one closed loop that runs on: a warm-up, then measurement chunks of so many questions, each timed from the
end of the one before, then as many more questions as keep the number in flight until the last chunk has ended. So no
chunk holds a ramp, and the chunks of a level are repetitions of one measurement.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scipy import stats

from argo.errors import InvalidArgumentError
from bench.asker import Asker
from bench.gpu import GpuWatch
from bench.latency import GENERATOR
from bench.load import Attempt, closed_loop
from bench.process import host_busy_s, read_usage, used_cpu_s
from bench.record import RecordFile, Run
from bench.row import attempt_row
from bench.statistic import percentile
from bench.workload import Item, Workload, requests

__all__ = ["Plan", "Spread", "best_level", "measure_level", "question_row", "score", "spread"]

_CONFIDENCE: Final = 0.95
_GIB: Final = 2**30


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Raises:
        InvalidArgumentError: No level, one twice or below 1; or a chunk or a repeat below 1.
    """

    workload: Workload
    levels: Sequence[int]
    """Questions in flight, one level after the other."""
    chunk: int
    """Questions of one measurement."""
    repeat: int
    """Measurements of a level."""
    warm_up: int
    """Questions before the first of them, at least as many as are in flight."""
    strategy: str | None
    """None for the stack's own."""
    budget_ms: int
    """Told to the stack; 0 for none."""
    seed: int

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 1 or len(set(self.levels)) < len(self.levels):
            raise InvalidArgumentError(f"concurrency must be numbers from 1, none twice, got {list(self.levels)}")
        for name in ("chunk", "repeat"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be at least 1, got {getattr(self, name)}")

    def warming(self, in_flight: int) -> int:
        """Questions before the first chunk of a level: every place has been taken once by then."""
        return max(self.warm_up, in_flight)

    def total(self, in_flight: int) -> int:
        """Questions that a level puts: warm-up, chunks, and what keeps the places taken until the last chunk ends."""
        return self.warming(in_flight) + self.chunk * self.repeat + in_flight - 1


def question_row(attempt: Attempt) -> dict[str, Any]:
    """The record of one question: :func:`bench.row.attempt_row` with the times of its tokens in place of its calls.

    Returns:
        Besides, in ms and None where there is none: ttft_ms, until the answer's first words were in hand;
        engine_ttft_ms, mean over its generations as their engine tells it; tpot_ms, all decoding for all tokens but
        each generation's first.
    """
    row = attempt_row(attempt)
    if attempt.asked is None:
        return row
    generations = [hop for hop in row.pop("hops") if hop["ttft_ms"] is not None]
    decoded = row["completion_tokens"] - len(generations)
    decode_ms = sum(hop["decode_ms"] or 0.0 for hop in generations)
    row["ttft_ms"] = row["first_delta_ms"]
    row["engine_ttft_ms"] = statistics.fmean(hop["ttft_ms"] for hop in generations) if generations else None
    row["tpot_ms"] = decode_ms / decoded if generations and decoded > 0 else None
    return row


async def measure_level(
    asker: Asker,
    plan: Plan,
    in_flight: int,
    records: RecordFile,
    *,
    gpus: GpuWatch,
    pids: Mapping[str, int] | None = None,
    advance: Callable[[Attempt], None] = lambda _: None,
) -> None:
    """Run one level, and write down every question and chunk, and what the GPUs did during the chunks.

    Args:
        asker: The running stack.
        plan: What to measure.
        in_flight: Questions at once.
        records: Takes rows of kind "question" (those of the warm-up and after the last chunk have no chunk), "chunk"
            and "gpu", and one of kind "load" with the processor time of the whole level.
        gpus: Reads the GPUs while the level runs.
        pids: Processes of the stack, by name; None where they are not known.
        advance: Called for each question that ended.
    """
    items = _items(plan, in_flight)
    put = requests(items, strategy=plan.strategy, budget_ms=plan.budget_ms, seed=plan.seed)
    watched = {**(pids or {}), GENERATOR: os.getpid()}
    before, busy, began = read_usage(watched), host_busy_s(), time.perf_counter()
    async with gpus.watching() as samples:
        attempts = await closed_loop(asker, put, in_flight, advance=advance)
    wall_s, cpu_s, busy_after = time.perf_counter() - began, used_cpu_s(before, read_usage(watched)), host_busy_s()
    ended = sorted(zip(items, attempts, strict=True), key=lambda pair: pair[1].ended_s)
    warming = plan.warming(in_flight)
    for place, (item, attempt) in enumerate(ended):
        number = (place - warming) // plan.chunk
        counted = place >= warming and number < plan.repeat
        where = {"in_flight": in_flight, "chunk": number if counted else None, "id": item.id}
        records.write("question", {**where, **question_row(attempt)})
    edges = [ended[warming + plan.chunk * number - 1][1].ended_s for number in range(plan.repeat + 1)]
    for number, (began_s, ended_s) in enumerate(itertools.pairwise(edges)):
        records.write("chunk", {"in_flight": in_flight, "chunk": number, "wall_s": ended_s - began_s})
    for row in samples.rows(edges[0], edges[-1]):
        records.write("gpu", {"in_flight": in_flight, **row})
    known = bool(pids) and busy is not None and busy_after is not None
    others_s = max(0.0, (busy_after or 0.0) - (busy or 0.0) - sum(cpu_s.values())) if known else None
    records.write("load", {"in_flight": in_flight, "wall_s": wall_s, "cpu_s": cpu_s, "others_s": others_s})


def _items(plan: Plan, in_flight: int) -> list[Item]:
    return plan.workload.drawn(plan.total(in_flight), plan.seed)


@dataclass(frozen=True)
class Spread:
    """A figure over the chunks of a level."""

    mean: float | None
    low: float | None
    """Lower end of the 95 % interval of the mean; None of a single chunk."""
    high: float | None

    def fields(self, name: str) -> dict[str, float | None]:
        """As fields of a row."""
        return {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high}


_NONE: Final = Spread(None, None, None)


def spread(values: Sequence[float]) -> Spread:
    """Mean of a few repetitions with its interval by Student's t.

    Args:
        values: At least one.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Spread(mean, None, None)
    quantile = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return Spread(mean, mean - half, mean + half)


def score(run: Run) -> list[dict[str, Any]]:
    """The figures of each level, from a saved record alone, in the order in which they were run.

    Returns:
        For each level: questions and failed ones, questions and tokens a second with their intervals over the chunks
        (tokens None where no language model wrote any), latency, times to first token and per output token,
        in ms and None where there are none, cores that other work used, and of the GPUs, None without any, mean use
        and most memory held.
    """
    levels = dict.fromkeys(row["in_flight"] for row in run.of_kind("chunk"))
    return [_level(run, in_flight) for in_flight in levels]


def _level(run: Run, in_flight: int) -> dict[str, Any]:
    chunks = [row for row in run.of_kind("chunk") if row["in_flight"] == in_flight]
    rows = [row for row in run.of_kind("question") if row["in_flight"] == in_flight and row["chunk"] is not None]
    answered = [row for row in rows if not row["error"]]
    by_chunk = [[row for row in answered if row["chunk"] == chunk["chunk"]] for chunk in chunks]
    walls = [chunk["wall_s"] for chunk in chunks]
    per_s = spread([len(each) / wall_s for each, wall_s in zip(by_chunk, walls, strict=True)])
    tokens = [sum(row["completion_tokens"] for row in each) for each in by_chunk]
    tokens_per_s = spread([count / wall_s for count, wall_s in zip(tokens, walls, strict=True)])
    return {
        "in_flight": in_flight,
        "chunks": len(chunks),
        "questions": len(rows),
        "errors": len(rows) - len(answered),
        **per_s.fields("questions_per_s"),
        **(tokens_per_s if any(tokens) else _NONE).fields("tokens_per_s"),
        **{f"p{q}_ms": _percentile(answered, "latency_ms", q) for q in (50, 95)},
        **{
            f"{name}_p{q}_ms": _percentile(answered, f"{name}_ms", q)
            for name in ("ttft", "engine_ttft", "tpot")
            for q in (50, 95)
        },
        "others_cores": _others_cores(run, in_flight),
        **_gpus([row for row in run.of_kind("gpu") if row["in_flight"] == in_flight]),
    }


def _others_cores(run: Run, in_flight: int) -> float | None:
    """Cores that the machine spent on other work during a level; None where the stack's processes are not known."""
    loads = [row for row in run.of_kind("load") if row["in_flight"] == in_flight and row["others_s"] is not None]
    return sum(row["others_s"] for row in loads) / sum(row["wall_s"] for row in loads) if loads else None


def _percentile(rows: Sequence[Mapping[str, Any]], name: str, q: float) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return percentile(values, q) if values else None


def _gpus(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Use and memory of a level: each GPU's mean use, and the mean of those; memory is the most that one held."""
    used: dict[str, list[tuple[float, int]]] = {}
    for row in rows:
        if row["utilisation"] is not None:
            used.setdefault(row["uuid"], []).append((row["utilisation"], row["samples"]))
    each = [sum(share * n for share, n in samples) / sum(n for _, n in samples) for samples in used.values()]
    memory = [row["memory_used_bytes"] / _GIB for row in rows if row["memory_used_bytes"] is not None]
    return {
        "gpus": len({row["uuid"] for row in rows}),
        "gpu_use": statistics.fmean(each) if each else None,
        "gpu_use_least": min(each, default=None),
        "gpu_memory_gib": max(memory, default=None),
    }


def best_level(scores: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The level with the most questions a second, of equals the first."""
    return max(scores, key=lambda row: row["questions_per_s"])
