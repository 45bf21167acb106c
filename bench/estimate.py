"""What recorded sessions say of the parameters of the decision process, each with its interval.

Every estimate is a ratio of sums over sessions, or a root of an equation in such sums, so that one bootstrap of whole
clusters serves all of them. What sessions cannot show is not estimated: what a search is worth against quality is
chosen, and `retrieve_cost` stays the unit that the other costs are measured in.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.cluster import ClusterSums, cluster_interval

__all__ = ["Estimate", "closing_table", "estimate_parameters", "overlap_of", "success_of"]

_WIDEST: Final = 9
"""Most searches of one step: one for each of 8 foci, and the question's own."""
_HALVINGS: Final = 40
_Row = Mapping[str, Any]
_Step = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number that sessions say something about."""

    name: str
    """Of the parameter, as the policy file has it."""
    value: float | None
    """None where nothing was observed that bears on it."""
    low: float | None
    """Lower end of the 95 % interval; None where there is one cluster only."""
    high: float | None
    n: int
    """Observations: foci opened, notes, steps, or questions."""
    clusters: int
    how: str
    """What was counted, for a reader."""


def _steps(rows: Sequence[_Row], action: str) -> Iterator[tuple[_Row, _Step]]:
    return ((row, step) for row in rows for step in row["steps"] if step["action"] == action)


def _opened(rows: Sequence[_Row]) -> Iterator[tuple[_Row, bool, bool]]:
    """Every focus that a retrieval opened: whether it had been searched before, and whether the step closed it."""
    for row, step in _steps(rows, "retrieve"):
        for focus, before in zip(step["opened"], step["searched_before"], strict=True):
            yield row, before > 0, focus in step["closed"]


def estimate_parameters(rows: Sequence[_Row], rng: np.random.Generator, *, retrieve_cost: float) -> list[Estimate]:
    """Estimate what sessions show of the parameters.

    Args:
        rows: Of :func:`bench.session.session_row`, each with its "cluster"; "held", the share of its evidences that
            its answer's passages hold, where that is known.
        rng: Draws the clusters.
        retrieve_cost: c_r, the unit in which the cost of a note is measured.

    Returns:
        One for each parameter; those that nothing was observed of have no value.
    """
    notes = [(row, step) for row, step in _steps(rows, "reason") if step["notes"]]
    useful = [
        (row, 1.0 / row["foci"], float(len(step["closed"])))
        for row, step in _steps(rows, "retrieve")
        if row["tracker"] == "evidence" and step["closed"]
    ]
    found = [
        success_of(rows, rng, searched_before=False),
        success_of(rows, rng, searched_before=True),
        *_held(rows, rng),
        _ratio(
            "reason_success_probability",
            [(row["cluster"], float(bool(set(step["opened"]) & set(step["closed"]))), 1.0) for row, step in notes],
            rng,
            "notes that close their focus",
        ),
        _ratio(
            "retrieve_gain",
            [(row["cluster"], share * closed, closed) for row, share, closed in useful],
            rng,
            "share of a question's foci that a useful retrieval closes",
        ),
        _ratio(
            "reason_gain",
            [(row["cluster"], step["progress_after"] - step["progress_before"], 1.0) for row, step in notes],
            rng,
            "progress of a finished note",
        ),
        _overlap(rows, rng),
        _reason_cost(rows, rng, retrieve_cost),
    ]
    return found


def success_of(rows: Sequence[_Row], rng: np.random.Generator, *, searched_before: bool) -> Estimate:
    """Share of opened foci that are closed when their step ends, of those searched before or of the others."""
    return _ratio(
        "repeat_success_probability" if searched_before else "success_probability",
        [(row["cluster"], float(closed), 1.0) for row, before, closed in _opened(rows) if before is searched_before],
        rng,
        f"foci {'searched again' if searched_before else 'searched for the first time'} that are closed then",
    )


def closing_table(rows: Sequence[_Row], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Share of opened foci that close, by number of foci, tracker, answer mode, and whether searched before."""
    table = []
    keys = sorted({(row["tracker"], row["mode"], row["foci"], before) for row, before, _ in _opened(rows)})
    for tracker, mode, foci, again in keys:
        cell = [row for row in rows if (row["tracker"], row["mode"], row["foci"]) == (tracker, mode, foci)]
        found = success_of(cell, rng, searched_before=again)
        table.append(
            {
                "tracker": tracker,
                "mode": mode,
                "foci": foci,
                "search": "again" if again else "first",
                "n": found.n,
                "closed": found.value,
                "low": found.low,
                "high": found.high,
            }
        )
    return table


def _held(rows: Sequence[_Row], rng: np.random.Generator) -> list[Estimate]:
    """How much of the evidence of closed foci is held, and of foci that one search, or more, left open.

    A question's evidences are not told apart by focus, so the three come from sums over questions: of those all of
    whose foci are closed; of those with foci that one search left open; and of those with foci that two or more did.
    """
    known = [(row, foci) for row in rows if row["held"] is not None and not (foci := _places(row)).fresh]
    sums = ClusterSums((row["cluster"], _held_sums(row["held"], foci)) for row, foci in known)
    names = ("held_closed", "held_once", "held_twice")
    counted = ("closed foci", "foci that one search left open", "foci that more searches left open")
    column = (1, 4, 8)

    def share(totals: NDArray[np.float64], which: int) -> NDArray[np.float64]:
        all_closed, closed_foci, once_all, once_closed, once, twice_all, twice_closed, twice_once, twice = totals.T
        held_closed = np.clip(_divide(all_closed, closed_foci), 0.0, 1.0)
        # Where no question had all its foci closed, one that is closed is taken to hold its evidence.
        held_closed = np.where(np.isnan(held_closed), 1.0, held_closed)
        held_once = np.clip(_divide(once_all - held_closed * once_closed, once), 0.0, 1.0)
        before = held_closed * twice_closed + np.where(twice_once > 0, held_once, 0.0) * twice_once
        return (held_closed, held_once, np.clip(_divide(twice_all - before, twice), 0.0, 1.0))[which]

    return [
        _estimate(
            name,
            sums,
            functools.partial(share, which=which),
            int(sums.total[column[which]]) if known else 0,
            rng,
            f"evidence held of {counted[which]}",
        )
        for which, name in enumerate(names)
    ]


@dataclass(frozen=True)
class _Places:
    """Foci of a question at its end: closed, never searched, and open after one search or more."""

    closed: int
    fresh: int
    once: int
    twice: int


def _places(row: _Row) -> _Places:
    times = Counter(focus for step in row["steps"] if step["action"] == "retrieve" for focus in step["opened"])
    closed = {focus for step in row["steps"] for focus in step["closed"]}
    often = [count for focus, count in times.items() if focus not in closed]
    return _Places(
        closed=len(closed),
        fresh=row["foci"] - len(closed | times.keys()),
        once=often.count(1),
        twice=sum(count > 1 for count in often),
    )


def _held_sums(held: float, foci: _Places) -> list[float]:
    """The sums of one question, in the order in which :func:`_held` takes them apart."""
    evidence = held * (foci.closed + foci.once + foci.twice)
    if foci.twice:
        return [0, 0, 0, 0, 0, evidence, foci.closed, foci.once, foci.twice]
    if foci.once:
        return [0, 0, evidence, foci.closed, foci.once, 0, 0, 0, 0]
    return [evidence, foci.closed, 0, 0, 0, 0, 0, 0, 0]


def _ratio(
    name: str, observed: Sequence[tuple[str, float, float]], rng: np.random.Generator, how: str, factor: float = 1.0
) -> Estimate:
    """A ratio of sums: of each observation its cluster, what is above the line, and what is below."""
    sums = ClusterSums((cluster, (above, below)) for cluster, above, below in observed)
    return _estimate(name, sums, lambda totals: factor * _divide(totals[:, 0], totals[:, 1]), len(observed), rng, how)


def _divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quotient, not a number where nothing was observed."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0))


def _estimate(
    name: str,
    sums: ClusterSums,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n: int,
    rng: np.random.Generator,
    how: str,
) -> Estimate:
    if not n:
        return Estimate(name=name, value=None, low=None, high=None, n=0, clusters=0, how=how)
    value = float(statistic(sums.total[None, :])[0])
    ends = cluster_interval(sums, statistic, rng)
    return Estimate(
        name=name,
        value=value if math.isfinite(value) else None,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        n=n,
        clusters=len(sums.sums),
        how=how,
    )


def overlap_of(new: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rho that explains how many new passages steps with several searches brought.

    The k-th search of a step brings (1 - rho)^(k - 1) of what the first does, so a step with m searches brings
    sum over k of (1 - rho)^(k - 1) of a search's passages.

    Args:
        new: New passages of all steps, in searches' worth, (n,).
        steps: Steps with 2, 3, ... 9 searches, (n, 8).

    Returns:
        In [0, 1], (n,); not a number where there is no step.
    """
    low, high = np.zeros(len(new)), np.ones(len(new))
    later = np.arange(_WIDEST)
    # Each step's worth falls with rho, so the root is between two ends that are halved.
    for _ in range(_HALVINGS):
        rho = (low + high) / 2
        worth = np.cumsum((1.0 - rho)[:, None] ** later, axis=1)[:, 1:]
        too_much = np.sum(worth * steps, axis=1) > new
        low, high = np.where(too_much, rho, low), np.where(too_much, high, rho)
    return np.where(steps.sum(axis=1) > 0, (low + high) / 2, np.nan)


def _overlap(rows: Sequence[_Row], rng: np.random.Generator) -> Estimate:
    # Only of first steps: what later ones find may have been found before, which is another overlap.
    first = [
        (row, row["steps"][0])
        for row in rows
        if row["steps"] and row["steps"][0]["action"] == "retrieve" and 2 <= row["steps"][0]["searches"] <= _WIDEST
    ]
    sums = ClusterSums(
        (row["cluster"], [step["new_passages"] / row["top_k"], *np.eye(_WIDEST - 1)[step["searches"] - 2]])
        for row, step in first
    )
    how = "new passages of first steps with several searches, against as many searches that share none"
    return _estimate("overlap", sums, lambda totals: overlap_of(totals[:, 0], totals[:, 1:]), len(first), rng, how)


def _reason_cost(rows: Sequence[_Row], rng: np.random.Generator, retrieve_cost: float) -> Estimate:
    """c_p in the unit of c_r: by the time that services work on a note and on a subquery with its search."""
    sums = ClusterSums(
        (
            row["cluster"],
            (
                row["note_ms"],
                sum(step["notes"] for step in row["steps"]),
                row["subquery_ms"],
                sum(step["searches"] for step in row["steps"]),
            ),
        )
        for row in rows
    )
    n = sum(step["notes"] for row in rows for step in row["steps"])

    def cost(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        note_ms, notes, subquery_ms, searches = totals.T
        return retrieve_cost * _divide(_divide(note_ms, notes), _divide(subquery_ms, searches))

    return _estimate("reason_cost", sums, cost, n, rng, "retrieve_cost, times a note's time over a search's")
