"""A closed loop of questions, and its figures; shared by the stack's and the bare engines' measurements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import numpy as np


def levels_of(text: str) -> list[tuple[int, int]]:
    """Questions in flight and their number, from "1:40,64:400"."""
    pairs = [part.split(":") for part in text.split(",")]
    return [(int(level), int(count)) for level, count in pairs]


async def summary_of(ask: Callable[[], Awaitable[Mapping[str, float]]], level: int, count: int) -> dict[str, object]:
    """Ask count questions with level in flight; latencies in seconds, raw samples included."""
    samples: list[Mapping[str, float]] = []
    errors: list[str] = []
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            try:
                samples.append(await ask())
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}"[:200])

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(level, count)):
            group.create_task(worker())
    wall_s = time.perf_counter() - began
    record: dict[str, object] = {
        "in_flight": level,
        "questions": len(samples),
        "errors": len(errors),
        "first_errors": errors[:3],
        "wall_s": wall_s,
        "questions_per_s": len(samples) / wall_s,
    }
    for name in sorted({name for sample in samples for name in sample}):
        values = np.array([sample[name] for sample in samples if name in sample])
        record[name] = {
            "p50": float(np.percentile(values, 50)),
            "p95": float(np.percentile(values, 95)),
            "mean": float(values.mean()),
        }
    record["samples"] = [{name: round(value, 6) for name, value in sample.items()} for sample in samples]
    return record
