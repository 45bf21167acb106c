"""Two saved runs side by side: ratios and differences with intervals, which are noise, and what else differs."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from argo.errors import InvalidArgumentError
from bench.change import Change, change, share_interval
from bench.extrapolation import block_of, gaps_s, pace
from bench.paired import mcnemar_p
from bench.question_figure import Better, QuestionFigure, figures, numbers
from bench.saved_run import GROUP_FIELDS, PASSING, SavedRun, flat

__all__ = ["OTHER_WORK", "Compared", "Unlike", "compare_figures", "compare_questions", "unlike"]

_PACE: Final = QuestionFigure("", "answers a second", pace, "higher")
_SIGNIFICANT: Final = 0.05
_HEAD: Final = ("hardware", "versions", "commit", "settings", "stack", "collection")
"""Parts of a record's head that say what was measured on what, most telling first."""
OTHER_WORK: Final = "cores used by other work"
"""Name of that difference."""
_BUSY_CORES: Final = 0.25

_Questions: TypeAlias = Mapping[tuple[Hashable, int], Mapping[str, float]]
"""Figures of questions by their id and how often it had been asked before."""


@dataclass(frozen=True)
class Compared:
    """One figure of both runs."""

    group: str
    """Questions that it is of; empty where a run has one group only."""
    name: str
    better: Better
    first_n: int
    second_n: int
    paired: bool
    """Whether both are of the same questions, compared one by one."""
    change: Change
    floor: float = 0.0
    """How far runs of the same thing were apart; a difference must exceed it, too."""
    p: float | None = None
    """Exact McNemar p-value of paired rights and wrongs."""

    @property
    def same(self) -> bool:
        """Whether every question has the same in both runs."""
        change = self.change
        return self.paired and change.low == change.high == change.difference == 0

    @property
    def verdict(self) -> str:
        """noise, or which way the second is from the first: better or worse, more or less."""
        beyond = self.change.beyond_noise and abs(self.change.difference) > self.floor
        if not beyond or (self.p is not None and self.p >= _SIGNIFICANT):
            return "noise"
        higher = self.change.difference > 0
        if not self.better:
            return "more" if higher else "less"
        return "better" if higher == (self.better == "higher") else "worse"


@dataclass(frozen=True)
class Unlike:
    """Something besides the figures in which the runs differ."""

    what: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.what}: {_said(self.first)} | {_said(self.second)}"


def _said(value: Any) -> str:
    return "-" if value is None else str(value)


def compare_questions(
    first: SavedRun, second: SavedRun, seed: int, *, again: Sequence[SavedRun] = (), every: bool = False
) -> list[Compared]:
    """Compare what both runs have of questions, group by group.

    Args:
        first: What the other is compared with.
        second: The other.
        seed: Of the resamples.
        again: Further runs of what the first one measured: as far as they are from it, so far is noise.
        every: Whether also figures of fields that are not known by name.

    Raises:
        InvalidArgumentError: The runs are of different benchmarks.
    """
    for other in (second, *again):
        if other.bench != first.bench:
            raise InvalidArgumentError(f"both runs must be of one benchmark, got {first.bench} and {other.bench}")
    fields = _telling(first, second)
    sides = [_grouped(run, fields) for run in (first, second, *again)]
    found = []
    for group, rows in sides[0].items():
        if group not in sides[1]:
            continue
        floors: dict[str, float] = defaultdict(float)
        for run, side in zip(again, sides[2:], strict=True):
            for one in _compare_group("", first, run, rows, side.get(group, []), seed, every):
                floors[one.name] = max(floors[one.name], abs(one.change.difference))
        for one in _compare_group(_label(fields, group), first, second, rows, sides[1][group], seed, every):
            found.append(dataclasses.replace(one, floor=floors[one.name]))
    return found


def _telling(first: SavedRun, second: SavedRun) -> list[str]:
    """Fields that tell groups apart in either run: every row has them, and not the same value."""
    found = []
    for field in GROUP_FIELDS:
        values = [{row.get(field, ...) for row in run.questions} for run in (first, second)]
        if all(... not in one for one in values) and any(len(one) > 1 for one in values):
            found.append(field)
    # What an answer says of its strategy and budget is what was asked for, where the row says that as well.
    if "asked_strategy" in found and "strategy" in found:
        found.remove("strategy")
    if "told_budget_ms" in found and "budget_ms" in found:
        found.remove("budget_ms")
    return found


def _grouped(run: SavedRun, fields: Sequence[str]) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in run.questions:
        found.setdefault(tuple(row[field] for field in fields), []).append(row)
    return found


def _label(fields: Sequence[str], group: Sequence[Any]) -> str:
    return ", ".join(f"{field} {value}" for field, value in zip(fields, group, strict=True))


def _compare_group(
    label: str,
    first: SavedRun,
    second: SavedRun,
    first_rows: Sequence[Mapping[str, Any]],
    second_rows: Sequence[Mapping[str, Any]],
    seed: int,
    every: bool,
) -> list[Compared]:
    one, other = _by_question(first_rows, first), _by_question(second_rows, second)
    paired = "id" in (first_rows[0] if first_rows else {}) and one.keys() == other.keys()
    fields = [
        field
        for field in dict.fromkeys(name for values in one.values() for name in values)
        if any(field in values for values in other.values())
    ]
    found = [_pace(label, first_rows, second_rows, seed)] if not (first.offered or second.offered) else []
    found += [_compare(label, figure, one, other, paired, seed) for figure in figures(fields, every=every)]
    return [each for each in found if each is not None]


def _by_question(rows: Sequence[Mapping[str, Any]], run: SavedRun) -> _Questions:
    seen: Counter[Hashable] = Counter()
    found = {}
    for row in rows:
        name = row.get("id")
        found[name, seen[name]] = numbers(row, run)
        seen[name] += 1
    return found


def _pace(
    label: str, first_rows: Sequence[Mapping[str, Any]], second_rows: Sequence[Mapping[str, Any]], seed: int
) -> Compared | None:
    """Answers a second, where the rows say when they ended."""
    if not all("ended_ms" in row for row in (*first_rows, *second_rows)):
        return None
    one, other = (
        # Before the first answer of a chunk came those of the warm-up, which are not here.
        gaps_s(rows)[1:] if rows and "chunk" in rows[0] else gaps_s(rows)
        for rows in (first_rows, second_rows)
    )
    if len(one) < 2 or len(other) < 2:
        return None
    block = max(block_of(len(one)), block_of(len(other)))
    made = change(one, other, np.random.default_rng(seed), statistic=pace, block=block)
    return Compared(label, _PACE.name, _PACE.better, len(one), len(other), False, made)


def _compare(
    label: str, figure: QuestionFigure, first: _Questions, second: _Questions, paired: bool, seed: int
) -> Compared | None:
    field = figure.field
    if paired:
        both = [key for key, values in first.items() if field in values and field in second[key]]
        one, other = [first[key][field] for key in both], [second[key][field] for key in both]
    else:
        one, other = ([values[field] for values in side.values() if field in values] for side in (first, second))
    if min(len(one), len(other)) < figure.least or (set(one) == set(other) and len(set(one)) == 1):
        # Too few, or the same in every question of both.
        return None
    made = change(
        one,
        other,
        np.random.default_rng(seed),
        statistic=figure.statistic,
        paired=paired,
        block=block_of(min(len(one), len(other))),
    )
    p = None
    if {*one, *other} <= {0.0, 1.0}:
        if paired:
            pairs = Counter(zip(one, other, strict=True))
            p = mcnemar_p(pairs[1.0, 0.0], pairs[0.0, 1.0])
        else:
            low, high = share_interval(int(sum(one)), len(one), int(sum(other)), len(other))
            made = dataclasses.replace(made, low=low, high=high)
    return Compared(label, figure.name, figure.better, len(one), len(other), paired, made, p=p)


def compare_figures(first: SavedRun, second: SavedRun) -> list[tuple[str, float, float]]:
    """Figures that both runs have without samples: name, first, second."""
    return [(name, value, second.figures[name]) for name, value in first.figures.items() if name in second.figures]


def unlike(first: SavedRun, second: SavedRun) -> list[Unlike]:
    """In what the runs differ besides their figures: hardware, versions, commit, settings, stack; most telling first.

    A run that shared its machine with other work is told as well, also where both did.
    """
    found = []
    for part in _HEAD:
        one, other = (dict(flat(run.head.get(part), part)) for run in (first, second))
        for name in dict.fromkeys([*one, *other]):
            if name.rpartition(".")[2] in PASSING:
                continue
            if one.get(name) != other.get(name):
                found.append(Unlike(name, one.get(name), other.get(name)))
    if "+dirty" in f"{first.head.get('commit')} {second.head.get('commit')}" and not any(
        each.what == "commit" for each in found
    ):
        what = "commit, with changes that it does not hold"
        found.append(Unlike(what, first.head.get("commit"), second.head.get("commit")))
    busy = [_busy_cores(run) for run in (first, second)]
    if any(cores is not None and cores > _BUSY_CORES for cores in busy):
        found.append(Unlike(OTHER_WORK, *(None if each is None else f"{each:.2f}" for each in busy)))
    return found


def _busy_cores(run: SavedRun) -> float | None:
    """Cores that the machine spent on anything else; None where that was not measured."""
    shares = [value for name, value in run.figures.items() if name.endswith("others_cores_used")]
    others_s, wall_s = run.figures.get("load: others_s"), run.figures.get("load: wall_s")
    if others_s is not None and wall_s:
        shares.append(others_s / wall_s)
    return max(shares, default=None)
