"""The figures of a latency record: distribution, pass rate, components, throughput, and the CSV rows of them all.

Everything here is computed from the saved rows alone. A question that failed is outside the budget and has no latency.
Intervals are 95 %: Wilson for shares, percentile bootstrap for the others, in blocks of neighbours (block_of).
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from argo.errors import InvalidArgumentError
from bench.component import COMPONENTS, critical_ms, exclusive_ms
from bench.extrapolation import block_of, throughput
from bench.record import Run
from bench.statistic import bootstrap_interval, percentile, percentile_interval, wilson_interval

__all__ = ["PERCENTILES", "component_times", "distribution", "measurement_rows", "score", "summary_rows"]

PERCENTILES: Final = (50, 90, 95, 99)
_MEANS: Final = ("searches", "steps", "reasoning_steps", "prompt_tokens", "completion_tokens", "cached_tokens")


def distribution(sample: Sequence[float], seed: int) -> dict[str, dict[str, float | None]]:
    """Mean, sd, extremes and percentiles, each as value, low and high.

    Args:
        sample: At least one number, in the order in which they were measured.
        seed: Of the resamples.

    Returns:
        By statistic: mean, sd (of a sample, n - 1; 0 of one number), min, max, p50 to p99. low and high are None for
        extremes, which have no bootstrap interval, and where the sample is too small for that end.
    """
    n = len(sample)
    found: dict[str, dict[str, float | None]] = {}
    for name, statistic in (("mean", _mean), ("sd", _sd)):
        low, high = bootstrap_interval(sample, statistic, np.random.default_rng(seed), block=block_of(n))
        found[name] = {"value": float(statistic(np.asarray([sample]))[0]), "low": low, "high": high}
    for name, value in (("min", min(sample)), ("max", max(sample))):
        found[name] = {"value": value, "low": None, "high": None}
    for q in PERCENTILES:
        ends = percentile_interval(sample, q, np.random.default_rng(seed), block=block_of(n))
        found[f"p{q}"] = {"value": percentile(sample, q), "low": ends[0], "high": ends[1]}
    return found


def _mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows.mean(axis=1))


def _sd(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows.std(axis=1, ddof=1 if rows.shape[1] > 1 else 0))


def component_times(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Exclusive time and time on the critical path of each answered question, in milliseconds, by component.

    Components that took no time in any question are left out.
    """
    exclusive, critical = [exclusive_ms(row) for row in rows], [critical_ms(row) for row in rows]
    return {
        name: ([times[name] for times in exclusive], [times[name] for times in critical])
        for name in COMPONENTS
        if any(times[name] for times in (*exclusive, *critical))
    }


def score(run: Run) -> dict[str, Any]:
    """The figures of a record, for tables, files and the last line of output.

    Raises:
        InvalidArgumentError: The record holds no question.
    """
    rows, settings = run.of_kind("question"), run.head["settings"]
    if not rows:
        raise InvalidArgumentError(f"record must hold at least 1 question, got 0 in {run.path}")
    answered = [row for row in rows if not row["error"]]
    budget_ms, seed = settings["budget_ms"], settings["seed"]
    inside = sum(row["latency_ms"] <= budget_ms for row in answered)
    low, high = wilson_interval(inside, len(rows))
    first = [row["first_delta_ms"] for row in answered if row["first_delta_ms"] is not None]
    return {
        "questions": len(rows),
        "distinct": len({row["id"] for row in rows}),
        "errors": len(rows) - len(answered),
        "failures": dict(Counter(row["error"].partition(":")[0] for row in rows if row["error"]).most_common()),
        "budget_ms": budget_ms,
        "inside": {"value": inside / len(rows), "low": low, "high": high, "n": inside},
        "latency_ms": distribution([row["latency_ms"] for row in answered], seed) if answered else None,
        "first_delta_ms": distribution(first, seed) if first else None,
        "components": _components(answered, seed),
        "generator_late_p99_ms": percentile([row["sent_ms"] - row["intended_ms"] for row in rows], 99),
        "throughput": _throughput(rows, settings),
        "degraded": sum(bool(row["degradations"]) for row in answered),
        "abstained": sum(row["abstained"] for row in answered),
        **{f"mean_{name}": statistics.fmean(row[name] for row in answered) if answered else None for name in _MEANS},
        **_machine(run),
    }


def _components(answered: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    times = component_times(answered)
    total = statistics.fmean(row["latency_ms"] for row in answered) if answered else 0.0
    found = []
    for name, (exclusive, critical) in times.items():
        block = block_of(len(exclusive))
        low, high = bootstrap_interval(exclusive, _mean, np.random.default_rng(seed), block=block)
        mean, waited = statistics.fmean(exclusive), statistics.fmean(critical)
        found.append(
            {
                "component": name,
                "mean_ms": mean,
                "low": low,
                "high": high,
                "share": mean / total,
                "p50_ms": percentile(exclusive, 50),
                "p95_ms": percentile(exclusive, 95),
                "critical_ms": waited,
                "critical_share": waited / total,
            }
        )
    return found


def _throughput(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any] | None:
    in_flight, questions = settings["concurrency"], settings["extrapolate_to"]
    found = throughput(rows, in_flight, np.random.default_rng(settings["seed"]))
    if found is None:
        return None
    time_s, time_low_s, time_high_s = found.time_s(questions)
    if in_flight is None:
        how = (
            f"at an offered {settings['rate_per_s']:g} questions/s, so that it says how long a load at that rate "
            "lasts, not how fast the stack could go"
        )
    else:
        how = f"with {in_flight} in flight throughout"
    return {
        "questions_per_s": found.per_s,
        "low": found.low,
        "high": found.high,
        "answers": found.answers,
        "until_s": found.until_s,
        "later": found.later,
        "extrapolated_questions": questions,
        "extrapolated_s": time_s,
        "extrapolated_low_s": time_low_s,
        "extrapolated_high_s": time_high_s,
        "how": (
            f"at {found.per_s:.4g} answers a second, which is {found.answers:,} in the {found.until_s:.4g} s until the "
            f"last question was put, {how}; the interval resamples the times between answers"
        ),
    }


def _machine(run: Run) -> dict[str, Any]:
    loads = run.of_kind("load")
    if not loads:
        return {"wall_s": None, "cores_used": None, "others_cores_used": None}
    load, wall_s = loads[0], loads[0]["wall_s"]
    others_s = load["others_s"]
    return {
        "wall_s": wall_s,
        "cores_used": sum(load["cpu_s"].values()) / wall_s,
        "others_cores_used": None if others_s is None else others_s / wall_s,
    }


def measurement_rows(run: Run) -> list[dict[str, Any]]:
    """One row a question: its times, what its answer was made of, and its components, all in milliseconds."""
    budget_ms = run.head["settings"]["budget_ms"]
    found = []
    for row in run.of_kind("question"):
        kept = {name: value for name, value in row.items() if not isinstance(value, list) and name != "kind"}
        kept["inside"] = not row["error"] and row["latency_ms"] <= budget_ms
        if not row["error"]:
            kept["degradations"] = " ".join(row["degradations"])
            for name, value in exclusive_ms(row).items():
                kept[f"{name}_ms"] = value
            for name, value in critical_ms(row).items():
                kept[f"{name}_critical_ms"] = value
        found.append(kept)
    return found


def summary_rows(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures of :func:`score` one a row: measure, statistic, value, low, high, unit."""
    rows: list[dict[str, Any]] = []

    def add(measure: str, statistic: str, unit: str, value: float | None, **ends: float | None) -> None:
        rows.append({"measure": measure, "statistic": statistic, "unit": unit, "value": value, **ends})

    for measure in ("latency", "first_delta"):
        for statistic, figure in (scores[f"{measure}_ms"] or {}).items():
            add(measure, statistic, "ms", **figure)
    inside = scores["inside"]
    add("inside_budget", "share", "", inside["value"], low=inside["low"], high=inside["high"])
    for row in scores["components"]:
        name = row["component"]
        add(name, "exclusive_mean", "ms", row["mean_ms"], low=row["low"], high=row["high"])
        add(name, "exclusive_share", "", row["share"])
        add(name, "exclusive_p50", "ms", row["p50_ms"])
        add(name, "exclusive_p95", "ms", row["p95_ms"])
        add(name, "critical_mean", "ms", row["critical_ms"])
        add(name, "critical_share", "", row["critical_share"])
    rate = scores["throughput"]
    if rate is not None:
        add("throughput", "mean", "questions/s", rate["questions_per_s"], low=rate["low"], high=rate["high"])
        add(
            f"time_of_{rate['extrapolated_questions']}_questions",
            "extrapolated",
            "s",
            rate["extrapolated_s"],
            low=rate["extrapolated_low_s"],
            high=rate["extrapolated_high_s"],
        )
    for name in ("questions", "errors", "degraded", "abstained"):
        add(name, "count", "", scores[name])
    for name in _MEANS:
        add(name, "mean", "", scores[f"mean_{name}"])
    return rows
