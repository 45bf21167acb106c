"""Exact solvers of the progress MDP: value iteration without a budget, backward induction with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from argo.errors import InternalError, InvalidArgumentError
from orchestrator.mdp import NEVER_SEARCHED, ProgressMdp, Searched

__all__ = [
    "TIE",
    "BudgetedSolution",
    "ConvergenceError",
    "StationarySolution",
    "Way",
    "action_value",
    "backward_induction",
    "choose",
    "value_iteration",
    "way_cost",
]

TIE: Final = 1e-9
"""Answer quality within which two actions are worth the same: TERMINATE wins a tie, then the cheaper action."""
_SETTLED: Final = 1e-12  # a thousandth of TIE: no decision can hang on it
_NEVER: Final = 1e-15  # a chance so small is none: no question takes 1e15 steps, and dividing by it overflows


class ConvergenceError(InternalError):
    """Value iteration did not converge within mdp.max_sweeps sweeps."""


@dataclass(frozen=True, eq=False)
class StationarySolution:
    """Value of the process without a budget, in answer quality."""

    value: NDArray[np.float64]
    """V(U) on the grid, (n_progress,)."""
    sweeps: int
    """Sweeps until V changed less than the tolerance."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to take an action: how long it takes, and what it costs besides."""

    action: int
    """Index of the action in mdp.actions."""
    time_us: int
    """Time that it takes, microseconds."""
    by_rules: bool = False
    """Whether rules word what a model would: faster, and dearer by mdp.rules_cost."""
    for_model: bool = False
    """Whether only the model's answer has any use of it, so that this must still fit when it ends."""


@dataclass(frozen=True, eq=False)
class BudgetedSolution:
    """Value of the process by slack: time left less that of the shortest answer of any kind, in whole steps."""

    value: NDArray[np.float64]
    """V(U, slack) on the grid, (n_slack, n_progress); row 0 is the shortest answer's time exactly left."""
    ways: tuple[Way, ...]
    """Every way to take an action."""
    way_steps: NDArray[np.intp]
    """Time of each way in whole steps, rounded up, (n_ways,)."""
    way_least: NDArray[np.intp]
    """Slack, in steps, that must be left when it ends, (n_ways,)."""
    model_from: int
    """Slack, in steps, from which the model's answer fits."""
    step_us: int
    """Length of a time step, microseconds."""
    settled: bool
    """Whether V stopped changing, so that the last row holds for all larger slack; else it is a lower bound."""

    def row(self, slack: int) -> NDArray[np.float64]:
        """Return V at a slack of 0 or more steps, (n_progress,); the last row for all beyond it."""
        return np.asarray(self.value[min(slack, len(self.value) - 1)], dtype=np.float64)


def value_iteration(mdp: ProgressMdp, *, tolerance: float = 1e-12) -> StationarySolution:
    """Solve the Bellman optimality equation of the progress MDP without a budget.

    Args:
        mdp: Model on n evenly spaced progress points over [0, 1].
        tolerance: Stop when the largest change of V falls below this (answer quality).

    Returns:
        value, float64 (n_progress,), in answer quality: 1.0 is a full answer at no cost.

    Raises:
        ConvergenceError: No convergence within mdp.max_sweeps sweeps.

    Source: Sutton and Barto (2018), section 4.4. A step that gains nothing leaves the state as it was; that loop is
    summed in closed form, which leaves the fixed point alone and spares most of the sweeps.
    """
    # An action that never leaves its state only costs; it is worth no more than ending, whatever the discount.
    possible = mdp.available & (mdp.leave > _NEVER)
    divisor = np.where(possible, (1.0 - mdp.discount) + mdp.discount * mdp.leave, 1.0)
    value = mdp.end_value
    for sweep in range(1, mdp.max_sweeps + 1):
        # E[V' - V] gain by gain: the small difference of two large sums would be all rounding where leaving is rare.
        rise = mdp.probability @ (mdp.ahead(value) - value)
        onward = mdp.discount * (rise + mdp.leave * value)
        worth = np.where(possible, (onward - mdp.cost[:, None]) / divisor, -np.inf)
        new = np.maximum(mdp.end_value, worth.max(axis=0))
        change = float(np.max(np.abs(new - value)))
        value = new
        if change < tolerance:
            return StationarySolution(value, sweep)
    raise ConvergenceError(f"value iteration changed V by {change:.3g} in sweep {mdp.max_sweeps}, above {tolerance:g}")


def backward_induction(
    mdp: ProgressMdp,
    ways: Sequence[Way],
    *,
    horizon_us: int,
    step_us: int,
    model_from: int = 0,
    early_quality: float = 1.0,
    unlimited: NDArray[np.float64] | None = None,
) -> BudgetedSolution:
    """Solve the finite-horizon process for every slack from 0 to the horizon.

    V at a slack looks back at V at that slack less the time of a way, so as many rows as the shortest way is long are
    computed at once. When V has not changed over a stretch longer than the longest way, all of it where the model's
    answer fits, it never changes again, and the induction ends there, before its horizon.

    Args:
        mdp: Model on n evenly spaced progress points over [0, 1].
        ways: How each of mdp.actions can be taken; each in one way at least.
        horizon_us: Largest slack of interest, microseconds.
        step_us: Length of a time step, microseconds; times are rounded up to whole steps.
        model_from: Slack, in steps, from which the model's answer fits; below it there is the extractive one.
        early_quality: Quality of an answer below that, relative to one from there on; 0 to 1.
        unlimited: V without a budget, (n_progress,), which bounds what any way is ever worth: ways by rules are left
            out from where they cannot be the best any more, which spares most of the blocks. None: they never are.

    Raises:
        InvalidArgumentError: A time that is not above 0.

    Source: Puterman (1994), section 4.5, the finite-horizon policy evaluation backwards in time.
    """
    times_us = [way.time_us for way in ways]
    if step_us < 1 or horizon_us < 0 or min(times_us) < 1:
        raise InvalidArgumentError(
            f"step_us and time_us must be at least 1 and horizon_us at least 0, got {step_us}, {times_us}, {horizon_us}"
        )
    steps = np.array([-(-time // step_us) for time in times_us], dtype=np.intp)
    least = np.array([model_from if way.for_model else 0 for way in ways], dtype=np.intp)
    bound = None if unlimited is None else _bound_by_rules(mdp, ways, unlimited)
    induction = _Induction(mdp, ways, steps, least, model_from, early_quality, bound)
    value, settled = induction.run(horizon_us // step_us + 1)
    return BudgetedSolution(
        value=value,
        ways=tuple(ways),
        way_steps=steps,
        way_least=least,
        model_from=model_from,
        step_us=step_us,
        settled=settled,
    )


class _Induction:
    """The blocks of a backward induction; arguments as :func:`backward_induction` has them, in whole steps.

    Args:
        mdp: The process.
        ways: How its actions can be taken.
        steps: Time of each way.
        least: Slack that must be left when it ends.
        model_from: Slack from which the model's answer fits.
        early_quality: Quality of an answer below that.
        bound: Most that a way by rules is ever worth, (n_progress,); None where none is known.
    """

    def __init__(
        self,
        mdp: ProgressMdp,
        ways: Sequence[Way],
        steps: NDArray[np.intp],
        least: NDArray[np.intp],
        model_from: int,
        early_quality: float,
        bound: NDArray[np.float64] | None,
    ) -> None:
        self._mdp = mdp
        self._ways = ways
        self._steps = steps.tolist()
        self._least = least.tolist()
        self._charge = [np.where(mdp.available[way.action], way_cost(mdp, way), np.inf) for way in ways]
        self._model_from = model_from
        self._early_value = early_quality * mdp.end_value
        self._bound = bound
        self._by_model = [index for index, way in enumerate(ways) if not way.by_rules]
        self._by_rules = [index for index, way in enumerate(ways) if way.by_rules]
        self._longest = max(self._steps)
        widest = min(self._steps[index] for index in self._by_model)
        self._window = _Window(mdp, longest=self._longest, block=widest)

    def run(self, n_slack: int) -> tuple[NDArray[np.float64], bool]:
        """Return V, (n_rows, n_progress), for at most so many rows, and whether it has stopped changing."""
        value = np.empty((n_slack, self._mdp.n_progress))
        filled = 0
        unchanged = 0  # rows up to the last one that equal the row before them
        while filled < n_slack and unchanged <= self._longest:
            shortest = min(self._steps[index] for index in (*self._by_model, *self._by_rules))
            stop = min(filled + shortest, n_slack)
            self._fill(value[filled:stop], filled)
            change = np.max(np.abs(np.diff(value[max(filled - 1, 0) : stop], axis=0)), axis=1, initial=0.0)
            changed = np.flatnonzero(change > _SETTLED)
            unchanged = unchanged + len(change) if len(changed) == 0 else len(change) - 1 - int(changed[-1])
            # Rows without the model's answer say nothing of those with it.
            unchanged = min(unchanged, max(0, stop - 1 - self._model_from))
            filled = stop
        return value[:filled].copy(), unchanged > self._longest

    def _fill(self, block: NDArray[np.float64], filled: int) -> None:
        """Write the rows from a slack on."""
        block[:] = self._mdp.end_value
        block[: max(0, self._model_from - filled)] = self._early_value
        self._improve(block, filled, self._by_model)
        without_rules = block[-1].copy()
        self._improve(block, filled, self._by_rules)
        self._window.append(block)
        # What the other ways are worth never falls with more time, so the rules stay behind once they are.
        if self._bound is not None and np.all(without_rules >= self._bound):
            self._by_rules = []

    def _improve(self, block: NDArray[np.float64], filled: int, which: Sequence[int]) -> None:
        """Raise the rows from a slack on to what some ways are worth there."""
        stop = filled + len(block)
        for index in which:
            length = self._steps[index]
            first = max(filled, length + self._least[index])
            if first < stop:
                expected = self._window.expected(self._ways[index].action, first - length, stop - length)
                rows = block[first - filled :]
                np.maximum(rows, self._mdp.discount * expected - self._charge[index], out=rows)


def _bound_by_rules(
    mdp: ProgressMdp, ways: Sequence[Way], unlimited: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the most that any way by rules can be worth, (n_progress,); None where there is none."""
    ahead = mdp.ahead(unlimited)
    worth = [
        np.where(
            mdp.available[way.action],
            mdp.discount * (mdp.probability[way.action] @ ahead) - way_cost(mdp, way),
            -np.inf,
        )
        for way in ways
        if way.by_rules
    ]
    return np.max(worth, axis=0) if worth else None


def way_cost(mdp: ProgressMdp, way: Way) -> float:
    """Return what a way of taking its action costs, in answer quality."""
    return float(mdp.cost[way.action] + (mdp.rules_cost[way.action] if way.by_rules else 0.0))


class _Window:
    """V after each gain, for the latest rows of slack: as far as the longest action looks back."""

    def __init__(self, mdp: ProgressMdp, *, longest: int, block: int) -> None:
        self._mdp = mdp
        self._longest = longest
        # Half as long again: rows are moved to the front once in many blocks, not for each.
        self._ahead = np.empty((mdp.probability.shape[1], longest + longest // 2 + block, mdp.n_progress))
        self._first = 0  # slack of row 0
        self._stop = 0
        self._used = [np.flatnonzero(chances) for chances in mdp.probability]

    def append(self, rows: NDArray[np.float64]) -> None:
        """Take the next rows of V, (n_rows, n_progress)."""
        if self._stop - self._first + len(rows) > self._ahead.shape[1]:
            kept = min(self._longest, self._stop - self._first)
            self._ahead[:, :kept] = self._ahead[:, self._stop - self._first - kept : self._stop - self._first]
            self._first = self._stop - kept
        start = self._stop - self._first
        self._ahead[:, start : start + len(rows)] = self._mdp.ahead(rows)
        self._stop += len(rows)

    def expected(self, a: int, first: int, stop: int) -> NDArray[np.float64]:
        """Return E[V] after an action, for the rows of slack first..stop - 1, (n_rows, n_progress)."""
        low, high = int(self._used[a][0]), int(self._used[a][-1]) + 1
        rows = self._ahead[low:high, first - self._first : stop - self._first]
        return np.tensordot(self._mdp.probability[a, low:high], rows, axes=1)


def action_value(
    mdp: ProgressMdp,
    progress: float,
    following: NDArray[np.float64],
    *,
    ways: Sequence[Way] | None = None,
    possible: NDArray[np.bool_] | None = None,
    searched: Searched = NEVER_SEARCHED,
) -> NDArray[np.float64]:
    """Return Q of every way from one state, (n_ways,); -inf where it is not possible.

    Args:
        mdp: The process.
        progress: Any progress in [0, 1], on the grid or not.
        following: V after each way, (n_ways, n_progress), or one row (n_progress,) for all.
        ways: What is weighed; None for every action as such, at its own cost.
        possible: Ways that fit in the time left, (n_ways,); None for all.
        searched: How often the open foci were searched, where the process remembers that.
    """
    successor, allowed, cost = mdp.successor(progress, searched), mdp.available_at(progress, searched), mdp.cost
    if ways is not None:
        index = [way.action for way in ways]
        successor, allowed = successor[index], allowed[index]
        cost = np.array([way_cost(mdp, way) for way in ways])
    if possible is not None:
        allowed = allowed & possible
    return np.where(allowed, mdp.discount * np.sum(successor * following, axis=1) - cost, -np.inf)


def choose(end_value: float, values: NDArray[np.float64]) -> int | None:
    """Return the index of the best action, or None for TERMINATE.

    Ties, within TIE, go to TERMINATE and then to the cheaper action, which is the earlier one.
    """
    best = float(np.max(values, initial=-np.inf))
    if end_value >= best - TIE:
        return None
    return int(np.flatnonzero(values >= best - TIE)[0])
