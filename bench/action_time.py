"""How long recorded actions and answers took: percentiles with intervals, and the times of a policy file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from argo.limits import FAN_OUT
from bench.cluster import cluster_percentile_interval
from bench.statistic import percentile
from orchestrator.action_time import ActionTimes

__all__ = ["TimeCell", "fitted_times", "time_table"]

ACTION_PERCENTILE: Final = 90.0
ANSWER_PERCENTILE: Final = 99.0
LEAST: Final = 20
"""Observations from which a percentile goes into a policy file; from fewer, its interval says nothing."""
_Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TimeCell:
    """One action or answer, for one tracker, answer mode and number of foci."""

    what: str
    """RETRIEVE(n), REASON, answer, or extractive answer."""
    tracker: str
    mode: str
    foci: int | None
    """None for all numbers together."""
    n: int
    q: float
    """Which percentile."""
    ms: float
    low_ms: float | None
    """Lower end of its 95 % interval; None for one that so few clusters cannot give."""
    high_ms: float | None


def _observed(rows: Sequence[_Row]) -> list[tuple[str, _Row, float]]:
    """Every action and answer with its milliseconds."""
    found = []
    for row in rows:
        for step in row["steps"]:
            retrieved = step["action"] == "retrieve"
            name = f"RETRIEVE({len(step['opened'])})" if retrieved else step["action"].upper()
            found.append((name, row, step["duration_ms"]))
        if row["answer_ms"] is not None:
            found.append(("extractive answer" if row["extractive"] else "answer", row, row["answer_ms"]))
    return found


def time_table(rows: Sequence[_Row], rng: np.random.Generator) -> list[TimeCell]:
    """The 90th percentile of each action and the 99th of each answer, by tracker, answer mode and number of foci.

    Args:
        rows: Of :func:`bench.session.session_row`, each with its "cluster".
        rng: Draws the clusters.
    """
    cells: dict[tuple[str, str, str, int], list[tuple[str, float]]] = {}
    for name, row, milliseconds in _observed(rows):
        key = (name, row["tracker"], row["mode"], row["foci"])
        cells.setdefault(key, []).append((row["cluster"], milliseconds))
    return [_cell(key, cells[key], rng) for key in sorted(cells)]


def _cell(key: tuple[str, str, str, int], observed: Sequence[tuple[str, float]], rng: np.random.Generator) -> TimeCell:
    name, tracker, mode, foci = key
    q = ANSWER_PERCENTILE if name.endswith("answer") else ACTION_PERCENTILE
    values = [milliseconds for _, milliseconds in observed]
    low, high = cluster_percentile_interval(values, [cluster for cluster, _ in observed], q, rng)
    return TimeCell(
        what=name,
        tracker=tracker,
        mode=mode,
        foci=foci,
        n=len(values),
        q=q,
        ms=percentile(values, q),
        low_ms=low,
        high_ms=high,
    )


def fitted_times(rows: Sequence[_Row], before: ActionTimes) -> tuple[ActionTimes, dict[str, int]]:
    """The times of a policy file: measured where at least :data:`LEAST` were observed, else as they were.

    A fan-out that was not observed takes as much longer than the widest one below it that was, or as much less than
    the narrowest above it, as it did before.

    Args:
        rows: Of :func:`bench.session.session_row`.
        before: Times in force when the sessions ran.

    Returns:
        The times, and the observations behind each one that was measured, by field; RETRIEVE(n) as "retrieve_s[n]".
    """
    seconds: dict[str, list[float]] = {}
    for name, row, milliseconds in _observed(rows):
        fields = {
            "REASON": ["reason_s"],
            "answer": [f"{row['mode']}_answer_s"],
            "extractive answer": ["extractive_answer_s"],
        }.get(name, [f"retrieve_s[{name.removeprefix('RETRIEVE(').removesuffix(')')}]"])
        for field in fields:
            seconds.setdefault(field, []).append(milliseconds / 1000)
    measured = {field: values for field, values in seconds.items() if len(values) >= LEAST}
    retrieve_s = _retrieve_s(
        {
            n: percentile(measured[field], ACTION_PERCENTILE)
            for n in range(FAN_OUT[0], FAN_OUT[1] + 1)
            if (field := f"retrieve_s[{n}]") in measured
        },
        before.retrieve_s,
    )
    found: dict[str, Any] = {"retrieve_s": retrieve_s, "one_focus_retrieve_s": before.one_focus_retrieve_s}
    if "reason_s" in measured:
        found["reason_s"] = percentile(measured["reason_s"], ACTION_PERCENTILE)
    for field in ("free_answer_s", "choice_answer_s", "extractive_answer_s"):
        if field in measured:
            found[field] = percentile(measured[field], ANSWER_PERCENTILE)
    if before.extractive_answer_s == before.free_answer_s and "extractive_answer_s" not in measured:
        # Without a model the answer is the extractive one.
        found["extractive_answer_s"] = found.get("free_answer_s", before.extractive_answer_s)
    return replace(before, **found), {field: len(values) for field, values in measured.items()}


def _retrieve_s(measured: Mapping[int, float], before: Sequence[float]) -> tuple[float, ...]:
    """RETRIEVE(n) by n: measured, or carried over from the nearest that was, with the differences from before."""
    if not measured:
        return tuple(before)
    found = []
    for n in range(1, len(before) + 1):
        nearest = max((known for known in measured if known <= n), default=min(measured))
        found.append(max(measured[nearest] + before[n - 1] - before[nearest - 1], before[0] / len(before)))
    return tuple(found)
