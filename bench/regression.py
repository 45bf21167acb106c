"""Whether a run of `throughput` is worse than a saved one: a verdict for each thing that is judged, and why."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from argo.errors import InvalidArgumentError
from bench.memory import ran_out
from bench.record import Run
from bench.table import percent
from bench.throughput import best_level, score

__all__ = ["Bounds", "Finding", "Outcome", "busier", "judge"]

_UNITS: Final = {"questions_per_s": "questions/s", "tokens_per_s": "tokens/s"}


class Outcome(enum.Enum):
    """What became of one thing that is judged."""

    PASSED = "passed"
    FAILED = "FAILED"
    UNKNOWN = "not judged"


@dataclass(frozen=True)
class Bounds:
    """What a run must keep to.

    Raises:
        InvalidArgumentError: A bound out of range.
    """

    drop: float = 0.15
    """Share of the saved throughput that may be missing."""
    p50_s: float = 4.0
    """Most seconds of the median question."""
    gpu_use: float = 0.75
    """Least use of the GPUs where throughput is highest."""

    def __post_init__(self) -> None:
        for name, high in (("drop", 1.0), ("gpu_use", 1.0), ("p50_s", 3_600.0)):
            value = getattr(self, name)
            if not 0.0 < value <= high:
                raise InvalidArgumentError(f"{name} must be in (0, {high:g}], got {value:g}")


@dataclass(frozen=True)
class Finding:
    """One thing that was judged, or could not be."""

    what: str
    outcome: Outcome
    why: str

    def fields(self) -> dict[str, str]:
        """As JSON."""
        return {**asdict(self), "outcome": self.outcome.value}


def judge(saved: Run, new: Run, bounds: Bounds) -> list[Finding]:
    """Judge a new run of `throughput`, against a saved one where that matters.

    Args:
        saved: The run to keep up with.
        new: The run to judge.
        bounds: What it must keep to.

    Returns:
        Findings in the order throughput, median latency, GPU use, memory. A figure that a run does not have is not
        judged, which is said; it is never passed.

    Raises:
        InvalidArgumentError: The runs have no level in common, or one holds no finished level.
    """
    before, after = score(saved), score(new)
    for run, rows in ((saved, before), (new, after)):
        if not rows:
            raise InvalidArgumentError(f"record must hold a finished level, got none in {run.path}")
    return [
        *_throughput(before, after, bounds.drop),
        *_latency(after, bounds.p50_s),
        _gpu_use(after, bounds.gpu_use),
        _memory(new),
    ]


def _throughput(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], drop: float
) -> Iterator[Finding]:
    old = {row["in_flight"]: row for row in before}
    if not any(row["in_flight"] in old for row in after):
        raise InvalidArgumentError(
            "concurrency must have a level in common with the saved run, got "
            f"{sorted(row['in_flight'] for row in after)} and {sorted(old)}"
        )
    for row in after:
        name = f"throughput, {row['in_flight']} in flight"
        if row["in_flight"] not in old:
            yield Finding(name, Outcome.UNKNOWN, "the saved run has no such level")
            continue
        for field in _UNITS:
            yield from _compared(name, old[row["in_flight"]], row, field, drop)
    for missing in sorted(set(old) - {row["in_flight"] for row in after}):
        yield Finding(f"throughput, {missing} in flight", Outcome.UNKNOWN, "the new run has no such level")


def _compared(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any], field: str, drop: float
) -> Iterator[Finding]:
    old, new, unit = before[field], after[field], _UNITS[field]
    if old is None and new is None:
        return
    if not old or new is None:
        who = "saved" if not old else "new"
        yield Finding(name, Outcome.UNKNOWN, f"the {who} run has no {unit}")
        return
    change = new / old - 1
    failed = change < -drop
    why = f"{new:,.1f} {unit}, {change * 100:+.1f} % from {old:,.1f}; at least {-drop * 100:+.0f} %"
    if failed and _overlap(before, after, field):
        why += "; the intervals over the chunks overlap, so measure longer before looking for a cause"
    yield Finding(name, Outcome.FAILED if failed else Outcome.PASSED, why)


def _overlap(before: Mapping[str, Any], after: Mapping[str, Any], field: str) -> bool:
    """Whether the intervals of a figure have a value in common; a single chunk has none."""
    low, high = before[f"{field}_low"], after[f"{field}_high"]
    return low is not None and high is not None and low <= high


def busier(saved: Run, new: Run, cores: float) -> list[str]:
    """Levels at which other work on the machine used more than so many cores more in one run than in the other.

    Args:
        saved: One run.
        new: The other.
        cores: Least difference that is told.
    """
    old = {row["in_flight"]: row["others_cores"] for row in score(saved)}
    told = []
    for row in score(new):
        before, after = old.get(row["in_flight"]), row["others_cores"]
        if before is not None and after is not None and abs(after - before) > cores:
            told.append(f"other work, {row['in_flight']} in flight: {before:.1f} cores then, {after:.1f} now")
    return told


def _latency(after: Sequence[Mapping[str, Any]], p50_s: float) -> Iterator[Finding]:
    for row in after:
        name = f"median latency, {row['in_flight']} in flight"
        if row["p50_ms"] is None:
            # A stack that answers nothing is not fast.
            yield Finding(name, Outcome.FAILED, f"none of {row['questions']:,} questions was answered")
            continue
        got = row["p50_ms"] / 1000
        outcome = Outcome.FAILED if got > p50_s else Outcome.PASSED
        yield Finding(name, outcome, f"{got:.3f} s; at most {p50_s:g} s")


def _gpu_use(after: Sequence[Mapping[str, Any]], least: float) -> Finding:
    row = best_level(after)
    name = f"GPU use, {row['in_flight']} in flight"
    if row["gpu_use"] is None:
        why = "no service holds a GPU" if not row["gpus"] else "the driver does not tell the use of these GPUs"
        return Finding(name, Outcome.UNKNOWN, why)
    outcome = Outcome.FAILED if row["gpu_use"] < least else Outcome.PASSED
    of = (
        f"mean of {row['gpus']} GPUs, the least used {percent(row['gpu_use_least'], 0)}"
        if row["gpus"] > 1
        else "one GPU"
    )
    return Finding(name, outcome, f"{percent(row['gpu_use'], 0)}, {of}; at least {percent(least, 0)}")


def _memory(new: Run) -> Finding:
    refused = ran_out(row["error"] for row in new.of_kind("question"))
    told = new.of_kind("memory")
    reasons = [f"{refused:,} questions failed so"] if refused else []
    for row in told:
        reasons += [f"the log of {name} says so {count:,} times" for name, count in row["lines"].items()]
        if row["kernel_kills"]:
            reasons.append(f"the kernel killed {row['kernel_kills']} processes for memory")
    gone = sorted({name for row in told for name in row["gone"]})
    if gone:
        reasons.append(f"{', '.join(gone)} ended during the run")
    if reasons:
        return Finding("out of memory", Outcome.FAILED, "; ".join(reasons))
    logs = sorted({name for row in told for name in row["logs"]})
    if not logs:
        return Finding("out of memory", Outcome.UNKNOWN, "no log could be read, as of a stack on another machine")
    return Finding("out of memory", Outcome.PASSED, f"none in the logs of {', '.join(logs)}, none by the kernel")
