"""What a question is worth under two thresholds, exactly: RETRIEVE below one, REASON below the other, then TERMINATE.

Thresholds name kinds of action. How many subqueries a RETRIEVE has, and who words them, is chosen for the best in each
state; so the best thresholds are worth at least what they are with any one fan-out. Progress never falls, so
each point's worth follows from those above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.action import REASON
from orchestrator.mdp import ProgressMdp
from orchestrator.solver import TIE, BudgetedSolution, way_cost

__all__ = ["BestPair", "ThresholdPairs", "best_pair", "budgeted_value", "stationary_value"]

_NEVER: Final = 1e-15  # the solver's own: a chance so small is none


@dataclass(frozen=True, eq=False)
class ThresholdPairs:
    """Pairs of thresholds, as grid points of a process: RETRIEVE on those below `cont`, REASON below `star`."""

    cont: NDArray[np.intp]
    star: NDArray[np.intp]

    @classmethod
    def all_of(cls, mdp: ProgressMdp) -> ThresholdPairs:
        """Every pair that differs on the grid, cont <= star; without REASON those with cont = star."""
        cont, star = np.triu_indices(mdp.n_progress)
        if REASON not in mdp.actions:
            cont = star = np.arange(mdp.n_progress)
        # The least thresholds first, so that of equals the one that ends earliest is named.
        order = np.lexsort((cont, star))
        return cls(cont[order], star[order])

    @classmethod
    def one(cls, mdp: ProgressMdp, theta_cont: float, theta_star: float) -> ThresholdPairs:
        """One pair, of progress; TERMINATE from theta_star on, where theta_cont is above it, too."""
        star = int(np.searchsorted(mdp.progress, theta_star - TIE))
        return cls(np.array([min(int(np.searchsorted(mdp.progress, theta_cont - TIE)), star)]), np.array([star]))

    def taken(self, count: int, value: NDArray[np.float64]) -> ThresholdPairs:
        """The pairs with the largest values, (n_pairs,), so many of them; of equals the first."""
        order = np.argsort(-value, kind="stable")[:count]
        return ThresholdPairs(self.cont[order], self.star[order])

    def joined(self, other: ThresholdPairs) -> ThresholdPairs:
        """These pairs, then others."""
        return ThresholdPairs(np.concatenate([self.cont, other.cont]), np.concatenate([self.star, other.star]))


@dataclass(frozen=True)
class BestPair:
    """The pair that is worth most from U = 0."""

    theta_cont: float
    theta_star: float
    value: float
    """V(0) under it, in answer quality."""


def best_pair(mdp: ProgressMdp, pairs: ThresholdPairs, value: NDArray[np.float64]) -> BestPair:
    """Return the pair that is worth most from U = 0, of equals the first.

    Args:
        mdp: The process.
        pairs: What was tried.
        value: V(0) of each, (n_pairs,).
    """
    first = int(np.flatnonzero(value >= value.max() - TIE)[0])
    progress = mdp.progress
    return BestPair(float(progress[pairs.cont[first]]), float(progress[pairs.star[first]]), float(value[first]))


def stationary_value(mdp: ProgressMdp, pairs: ThresholdPairs) -> NDArray[np.float64]:
    """Return V(U) under each pair without a budget, (n_progress, n_pairs), in answer quality.

    A step that gains nothing is repeated, since the thresholds say so; that loop is summed in closed form. One that
    never gains has no end and is worth -inf, or what its costs add up to where gamma is below 1.
    """
    value = np.tile(mdp.end_value[:, None], (1, len(pairs.cont)))
    retrieves = np.array([action != REASON for action in mdp.actions])
    for i in range(mdp.n_progress - 2, -1, -1):
        successor = mdp.successor(float(mdp.progress[i]))
        leave = mdp.leave[:, i]
        onward = mdp.discount * (successor[:, i + 1 :] @ value[i + 1 :])
        divisor = (1.0 - mdp.discount) + mdp.discount * np.where(leave > _NEVER, leave, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = (onward - mdp.cost[:, None]) / divisor[:, None]
        worth = np.where((mdp.available_at(float(mdp.progress[i])) & (divisor > 0.0))[:, None], worth, -np.inf)
        _assign(value[i], i, pairs, worth[retrieves], worth[~retrieves])
    return value


def _assign(
    row: NDArray[np.float64],
    i: int,
    pairs: ThresholdPairs,
    retrieve: NDArray[np.float64],
    reason: NDArray[np.float64],
) -> None:
    """Write what each pair is worth at grid point i over `row`, which holds the worth of ending there."""
    below = i < pairs.cont
    between = (i < pairs.star) & ~below
    row[below] = retrieve[:, below].max(axis=0)
    if len(reason):
        row[between] = reason[0, between]


def budgeted_value(
    mdp: ProgressMdp, pairs: ThresholdPairs, plan: BudgetedSolution, early_quality: float, slack: int
) -> NDArray[np.float64]:
    """Return V(U) under each pair with so much slack left, (n_progress, n_pairs), in answer quality.

    The same two thresholds hold at every time left. Where no way of the action that they name fits any more, the answer
    is written.

    Args:
        mdp: The process.
        pairs: Thresholds to hold.
        plan: The optimum's ways, time step, and slack from which the model's answer fits.
        early_quality: Quality of an answer below that slack, relative to one from there on.
        slack: Whole steps left beyond the shortest answer of any kind, 0 or more.
    """
    longest = int(plan.way_steps.max())
    matrix = np.stack([mdp.successor(float(u)) for u in mdp.progress])  # (from, action, to)
    flat = np.swapaxes(matrix, 0, 1).reshape(-1, mdp.n_progress)
    charge = [np.where(mdp.available[way.action], way_cost(mdp, way), np.inf)[:, None] for way in plan.ways]
    index = np.arange(mdp.n_progress)[:, None]
    below, between = index < pairs.cont, (index >= pairs.cont) & (index < pairs.star)
    ahead: list[NDArray[np.float64]] = []  # E[V] after each action, of the latest rows
    value = np.empty((mdp.n_progress, len(pairs.cont)))
    for row in range(slack + 1):
        end = (mdp.end_value if row >= plan.model_from else early_quality * mdp.end_value)[:, None]
        named = {kind: np.full(value.shape, -np.inf) for kind in (True, False)}
        for way, steps, least, cost in zip(
            plan.ways, plan.way_steps.tolist(), plan.way_least.tolist(), charge, strict=True
        ):
            if row - steps >= least:
                target = named[mdp.actions[way.action] != REASON]
                np.maximum(target, mdp.discount * ahead[-steps][way.action] - cost, out=target)
        value = np.where(below, named[True], np.where(between, named[False], end))
        value = np.where(np.isneginf(value), end, value)
        ahead.append((flat @ value).reshape(len(mdp.actions), mdp.n_progress, -1))
        del ahead[:-longest]
    return value
