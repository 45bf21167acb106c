"""Strategies against each other, against guessers, and against themselves, from a saved record of `strategies`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bench.paired import compare_paired
from bench.record import Run
from bench.statistic import wilson_interval
from bench.strategy_cell import Cell, cells, cost
from bench.variant import PLAIN

__all__ = ["comparisons", "unchanged"]


def comparisons(run: Run) -> list[dict[str, Any]]:
    """Every pair of strategies on the questions that both were asked, by set and budget; first less second.

    A guesser is compared with each strategy as well, under its name; it has no searches, cost or latency.

    Returns:
        quality with its interval, the questions that only one got right and McNemar's exact p; differences in searches,
        cost and latency over the questions that both answered. No p-value is adjusted for the number of pairs.
    """
    plain = [cell for cell in cells(run) if cell.variant == PLAIN]
    rows = []
    for _, group in itertools.groupby(plain, key=lambda cell: (cell.set, cell.budget_ms)):
        same = list(group)
        rows += [_pair(first, second, run) for first, second in itertools.combinations(same, 2)]
        rows += [row for cell in same for row in _against_floors(cell, run)]
    return rows


def _pair(first: Cell, second: Cell, run: Run) -> dict[str, Any]:
    other = {one.question["id"]: one for one in second.judged}
    pairs = [(one, other[one.question["id"]]) for one in first.judged if one.question["id"] in other]
    both = [(a.row, b.row) for a, b in pairs if a.answered and b.answered]
    quality = _paired([float(a.correct) for a, _ in pairs], [float(b.correct) for _, b in pairs], run)
    parameters = run.head["policy"]["parameters"]
    figures: dict[str, Callable[[Mapping[str, Any]], float]] = {
        "searches": lambda row: float(row["searches"]),
        "cost": lambda row: cost(row, parameters),
        "latency_ms": lambda row: float(row["latency_ms"]),
    }
    named = {"set": first.set, "budget_ms": first.budget_ms, "first": first.strategy, "second": second.strategy}
    differences = {
        name: {end: paired[end] for end in ("difference", "low", "high")}
        for name, figure in figures.items()
        if (paired := _paired([figure(a) for a, _ in both], [figure(b) for _, b in both], run))
    }
    return {**named, "quality": quality, **differences}


def _against_floors(cell: Cell, run: Run) -> Iterator[dict[str, Any]]:
    correct = [float(one.correct) for one in cell.judged]
    for name in cell.judged[0].question["guess"]:
        quality = _paired(correct, [one.question["guess"][name] for one in cell.judged], run)
        # A guesser's figure is the chance that it is right, where several options would do.
        quality |= {"only_first": None, "only_second": None, "p": None}
        yield {
            "set": cell.set,
            "budget_ms": cell.budget_ms,
            "first": cell.strategy,
            "second": name,
            "quality": quality,
        }


def _paired(first: Sequence[float], second: Sequence[float], run: Run) -> dict[str, Any]:
    if not first:
        return {}
    return asdict(compare_paired(first, second, np.random.default_rng(run.head["settings"]["seed"])))


def unchanged(run: Run) -> list[dict[str, Any]]:
    """How many choices stay what they were where the options are put another way, by strategy and variant.

    Returns:
        own: the choice or abstention of the stack is the same; picked: so is the most probable option, forced where it
        abstained; changed: ids of the questions where either is another one. Over questions that were answered both
        times, with 95 % Wilson intervals.
    """
    found = cells(run)
    plain = {(cell.set, cell.strategy, cell.budget_ms): cell for cell in found if cell.variant == PLAIN}
    return [
        _unchanged(cell, plain[cell.set, cell.strategy, cell.budget_ms])
        for cell in found
        if cell.variant != PLAIN and (cell.set, cell.strategy, cell.budget_ms) in plain
    ]


def _unchanged(cell: Cell, plain: Cell) -> dict[str, Any]:
    before = {one.question["id"]: one for one in plain.judged if one.answered}
    pairs = [(before[one.question["id"]], one) for one in cell.judged if one.answered and one.question["id"] in before]
    own = [a.row["choice"] == b.row["choice"] for a, b in pairs]
    picked = [a.picked == b.picked for a, b in pairs]
    row: dict[str, Any] = {
        "set": cell.set,
        "strategy": cell.strategy,
        "budget_ms": cell.budget_ms,
        "variant": cell.variant,
        "questions": len(pairs),
    }
    for name, same in (("own", own), ("picked", picked)):
        low, high = wilson_interval(sum(same), len(same)) if same else (None, None)
        row |= {name: sum(same) / len(same) if same else None, f"{name}_low": low, f"{name}_high": high}
    changed = [a.question["id"] for (a, _), *same in zip(pairs, own, picked, strict=True) if not all(same)]
    return {**row, "changed": changed}
