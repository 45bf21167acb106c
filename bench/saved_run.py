"""A saved run of any benchmark as it is compared: its questions in groups, its other figures, and what it ran on.

What benchmarks write differs. Common to all is that a row of kind "question" is one question's, that a field of every
such row which names a strategy, a load or a set tells groups apart, and that what is numeric in it is a figure. Two
kinds of file are read: records (JSON lines that begin with a row of kind "run"), and the last lines of output that are
kept under docs/results, which hold figures without the samples behind them.
"""

from __future__ import annotations

import json
import statistics
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from argo.errors import InvalidArgumentError
from bench.record import Run, read_record, read_text
from bench.strategies import BENCH as STRATEGIES
from bench.strategy_cell import cells

__all__ = ["GROUP_FIELDS", "PASSING", "SavedRun", "flat", "read_saved_run"]

GROUP_FIELDS: Final = (
    "set",
    "split",
    "run",
    "arm",
    "variant",
    "profile",
    "phase",
    "asked_strategy",
    "strategy",
    "told_budget_ms",
    "budget_ms",
    "at",
    "in_flight",
    "answerable",
)
"""Fields that tell groups of questions apart, in the order in which they are named."""
_OF_ANSWERS: Final = ("question", "row", "session", "failure")
"""Kinds of rows that are no figure of the whole run."""
_HEAD: Final = ("settings", "versions", "hardware", "stack", "collection")
"""What a line of output or a row says of how it was made."""
PASSING: Final = ("uptime_s", "target", "health", "at", "note", "load")
"""Leaves of it that differ from run to run and mean nothing."""


@dataclass(frozen=True)
class SavedRun:
    """One side of a comparison."""

    name: str
    """The file, with its line where one was asked for."""
    bench: str
    head: Mapping[str, Any]
    questions: tuple[Mapping[str, Any], ...]
    """Rows of the measured questions; none where only figures were kept."""
    figures: Mapping[str, float]
    """Figures without samples, by name."""

    @property
    def budget_ms(self) -> float | None:
        """What questions of the run were to take; None where it had no one budget."""
        value = self.head.get("settings", {}).get("budget_ms")
        return float(value) if value else None

    @property
    def offered(self) -> bool:
        """Whether questions came at a rate, so that answers a second say nothing of the stack."""
        rated = any("rate_per_s" in row for row in self.questions)
        return rated or self.head.get("settings", {}).get("rate_per_s") is not None


def read_saved_run(text: str) -> SavedRun:
    """Read FILE, or FILE:LINE for one of several lines of output, counted from 1; without a line, the last.

    Raises:
        InvalidArgumentError: It is neither a record nor the last line of a benchmark's output.
    """
    path, line = _place(text)
    lines = _lines(path)
    if not lines:
        raise InvalidArgumentError(f"a saved run must hold at least 1 line, got none in {path}")
    first = _object(lines[0])
    if first is not None and first.get("kind") == "run":
        if line is not None:
            raise InvalidArgumentError(f"{path} is a record, which is compared whole, got line {line}")
        return _of_record(read_record(path))
    number = len(lines) if line is None else line
    if not 1 <= number <= len(lines):
        raise InvalidArgumentError(f"line must be in 1..{len(lines)} of {path}, got {number}")
    result = _object(lines[number - 1])
    if result is None or "bench" not in result:
        raise InvalidArgumentError(
            f"a saved run must be a record or a benchmark's last line of output, got {path}: line {number} is neither"
        )
    figures = {name: value for name, value in result.items() if name not in _HEAD}
    numbers = {name: float(value) for name, value in flat(figures) if _is_number(value)}
    return SavedRun(f"{path.name}:{number}", str(result["bench"]), result, (), numbers)


def _place(text: str) -> tuple[Path, int | None]:
    file, colon, line = text.rpartition(":")
    if colon and line.isdecimal() and not Path(text).exists():
        return Path(file), int(line)
    return Path(text), None


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in read_text(path).split("\n") if line]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"a saved run must be a readable file of JSON lines, got {path}: {error}") from None


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _of_record(run: Run) -> SavedRun:
    # A load that goes on so that its measured part holds no ramp marks what was not measured.
    questions = [row for row in run.of_kind("question") if row.get("chunk", 0) is not None]
    if run.bench == STRATEGIES:
        questions = _judged(run)
    return SavedRun(run.path.name, run.bench, run.head, tuple(questions), _figures(run.rows))


def _judged(run: Run) -> list[Mapping[str, Any]]:
    """Rows of `strategies` with whether they are right, which their keys tell."""
    return [{**one.row, "correct": one.correct} for cell in cells(run) for one in cell.judged]


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means of what is numeric in the other rows, by kind and group."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["kind"] in _OF_ANSWERS:
            continue
        where = [f"{name} {row[name]}" for name in GROUP_FIELDS if name in row]
        label = ", ".join([str(row["kind"]), *where])
        own = {name: value for name, value in row.items() if name not in (*GROUP_FIELDS, *_HEAD)}
        for name, value in flat(own):
            if _is_number(value):
                found[f"{label}: {name}"].append(float(value))
    return {name: statistics.fmean(values) for name, values in found.items()}


def flat(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings by their path, such as "hardware.cores".

    A list of services is a mapping by their name; other lists are leaves.
    """
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "service" in one for one in value):
        value = {one["service"]: one for one in value}
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from flat(below, f"{above}.{name}" if above else str(name))
    else:
        yield above, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
