"""What a saved record of `strategies` holds: each strategy's answers, judged by keys and evidence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.coverage import Graded, pick
from bench.record import Run
from bench.variant import PLAIN

__all__ = ["Cell", "Judged", "cells", "cost"]

_FAILED: Final = -1.0
"""Confidence of a question without an answer, below every probability."""


@dataclass(frozen=True)
class Judged:
    """One question as one strategy answered it."""

    question: Mapping[str, Any]
    """Its "row" of the record."""
    row: Mapping[str, Any]
    """Its attempt."""
    picked: int | None
    """Multiple choice: the stack's choice, or its most probable option where it abstained."""
    correct: bool
    confidence: float

    @property
    def answered(self) -> bool:
        """Whether there is an answer, which may be an abstention."""
        return not self.row["error"]

    @property
    def graded(self) -> Graded:
        """The same for the coverage."""
        return Graded(self.question["id"], self.correct, self.confidence)


@dataclass(frozen=True)
class Cell:
    """The questions of one set as one strategy answered them under one budget, in the order of the set."""

    set: str
    strategy: str
    budget_ms: int
    variant: str
    judged: tuple[Judged, ...]

    @property
    def choice(self) -> bool:
        """Whether the questions are multiple choice."""
        return self.judged[0].question["key"] is not None


def cells(run: Run) -> list[Cell]:
    """What a record holds, by set, budget, variant and strategy; a run that was cut short gives what it has."""
    questions = {(row["set"], row["id"]): row for row in run.of_kind("row")}
    found: dict[tuple[Any, ...], dict[str, Judged]] = {}
    for row in run.of_kind("question"):
        identity = row["set"], row["asked_strategy"], row["told_budget_ms"], row["variant"]
        # A question that was asked again, since its first attempt found no stack, counts once.
        found.setdefault(identity, {})[row["id"]] = _judge(questions[row["set"], row["id"]], row)
    settings = run.head["settings"]
    sets = list(dict.fromkeys(row["set"] for row in questions.values()))
    made = []
    for name, budget_ms, variant in itertools.product(sets, settings["budgets_ms"], (PLAIN, *settings["variants"])):
        for strategy in settings["strategies"]:
            by_id = found.get((name, strategy, budget_ms, variant))
            if by_id:
                ids = [row["id"] for row in questions.values() if row["set"] == name]
                made.append(Cell(name, strategy, budget_ms, variant, tuple(by_id[one] for one in ids if one in by_id)))
    return made


def _judge(question: Mapping[str, Any], row: Mapping[str, Any]) -> Judged:
    if row["error"]:
        return Judged(question, row, None, False, _FAILED)
    if question["key"] is None:
        found = bool(row["evidence_rank"]) and all(rank is not None for rank in row["evidence_rank"])
        return Judged(question, row, None, found, 0.0)
    probabilities = row["option_probabilities"]
    picked = row["choice"] if row["choice"] is not None else pick(probabilities, question["id"])
    return Judged(question, row, picked, picked == question["key"], max(probabilities, default=0.0))


def cost(row: Mapping[str, Any], parameters: Mapping[str, float]) -> float:
    """What an answer's steps cost in the decision process's own unit, answer quality before the weight mu.

    Every search counts c_r, every note c_p; the search with the question itself, too, which the process gives away.
    """
    return float(row["searches"] * parameters["retrieve_cost"] + row["reasoning_steps"] * parameters["reason_cost"])
