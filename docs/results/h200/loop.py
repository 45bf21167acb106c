"""A closed loop of questions, and its figures; shared by the stack's and the bare engines' measurements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Level", "closed_loop", "levels_of", "spread", "summary_of"]

Sample = Mapping[str, float]


@dataclass(frozen=True)
class Level:
    """Questions in flight, and how many are asked."""

    in_flight: int
    count: int


def levels_of(text: str) -> list[Level]:
    """Levels from "1:40,64:400"."""
    return [Level(*map(int, part.split(":"))) for part in text.split(",")]


async def closed_loop(
    ask: Callable[[int], Awaitable[Sample]], numbers: Sequence[int], in_flight: int, most_s: float
) -> dict[str, Any]:
    """Ask the numbered questions with so many in flight; none is begun after most_s seconds."""
    samples: list[dict[str, float]] = []
    errors: list[str] = []
    left = iter(numbers)
    began = time.monotonic()

    async def worker() -> None:
        for number in left:
            if time.monotonic() - began > most_s:
                return
            try:
                samples.append({"case": number, **await ask(number)})
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}"[:300])

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight, len(numbers))):
            group.create_task(worker())
    return {"samples": samples, "errors": errors, "began": began, "ended": time.monotonic()}


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, 95th percentile, mean and extremes."""
    array = np.array(list(values), dtype=float)
    return {
        "p50": float(np.percentile(array, 50)),
        "p95": float(np.percentile(array, 95)),
        "mean": float(array.mean()),
        "min": float(array.min()),
        "max": float(array.max()),
    }


def summary_of(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures over what several load generators saw side by side; their clocks are the machine's one."""
    samples = [sample for reply in replies for sample in reply["samples"]]
    errors = [error for reply in replies for error in reply["errors"]]
    wall_s = max(reply["ended"] for reply in replies) - min(reply["began"] for reply in replies)
    record: dict[str, Any] = {
        "questions": len(samples),
        "errors": len(errors),
        "first_errors": errors[:3],
        "wall_s": wall_s,
        "questions_per_s": len(samples) / wall_s,
    }
    for name in sorted({name for sample in samples for name in sample} - {"case"}):
        record[name] = spread(sample[name] for sample in samples if name in sample)
    record["samples"] = {
        name: [round(sample[name], 5) for sample in samples if name in sample] for name in ("latency_s", "ttft_s")
    }
    return record
