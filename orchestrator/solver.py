"""Exact solvers of the progress MDP: value iteration without a budget, backward induction with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from argo.errors import InternalError, InvalidArgumentError
from orchestrator.mdp import ProgressMdp

__all__ = [
    "TIE",
    "BudgetedSolution",
    "ConvergenceError",
    "StationarySolution",
    "action_value",
    "backward_induction",
    "choose",
    "value_iteration",
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


@dataclass(frozen=True, eq=False)
class BudgetedSolution:
    """Value of the process by slack: time left less T_syn, in whole steps.

    An action may start only if T_syn is left when it ends, so nothing but the slack matters while T_syn is left, and
    one table serves every answer mode. Below T_syn there is no action to weigh.
    """

    value: NDArray[np.float64]
    """V(U, slack) on the grid, (n_slack, n_progress); row 0 is T_syn exactly left."""
    action_steps: NDArray[np.intp]
    """T_a in whole steps, rounded up, (n_actions,)."""
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
    mdp: ProgressMdp, action_us: Sequence[int], *, horizon_us: int, step_us: int
) -> BudgetedSolution:
    """Solve the finite-horizon process for every slack from 0 to the horizon.

    V at a slack looks back at V at that slack less T_a, so as many rows as the shortest action is long are computed
    at once. When V has not changed over a stretch longer than the longest action it never changes again, and the
    induction ends there, before its horizon.

    Args:
        mdp: Model on n evenly spaced progress points over [0, 1].
        action_us: T_a of each of mdp.actions, microseconds.
        horizon_us: Largest slack of interest, microseconds.
        step_us: Length of a time step, microseconds; T_a is rounded up to whole steps.

    Raises:
        InvalidArgumentError: A time that is not above 0.

    Source: Puterman (1994), section 4.5, the finite-horizon policy evaluation backwards in time.
    """
    if step_us < 1 or horizon_us < 0 or min(action_us) < 1:
        raise InvalidArgumentError(
            "step_us and action_us must be at least 1 and horizon_us at least 0,"
            f" got {step_us}, {list(action_us)} and {horizon_us}"
        )
    steps = np.array([-(-time // step_us) for time in action_us], dtype=np.intp)
    shortest, longest = int(steps.min()), int(steps.max())
    n_slack = horizon_us // step_us + 1
    charge = np.where(mdp.available, mdp.cost[:, None], np.inf)
    value = np.empty((n_slack, mdp.n_progress))
    filled = min(shortest, n_slack)
    value[:filled] = mdp.end_value
    window = _Window(mdp, longest=longest, block=shortest)
    window.append(value[:filled])
    unchanged = 0  # rows up to the last one that equal the row before them
    while filled < n_slack and unchanged <= longest:
        stop = min(filled + shortest, n_slack)
        block = value[filled:stop]
        block[:] = mdp.end_value
        for a, length in enumerate(steps.tolist()):
            first = max(filled, length)
            if first < stop:
                worth = mdp.discount * window.expected(a, first - length, stop - length) - charge[a]
                np.maximum(block[first - filled :], worth, out=block[first - filled :])
        window.append(block)
        change = np.max(np.abs(np.diff(value[filled - 1 : stop], axis=0)), axis=1)
        changed = np.flatnonzero(change > _SETTLED)
        unchanged = unchanged + len(change) if len(changed) == 0 else len(change) - 1 - int(changed[-1])
        filled = stop
    return BudgetedSolution(value[:filled].copy(), steps, step_us, unchanged > longest)


class _Window:
    """V after each gain, for the latest rows of slack: as far as the longest action looks back."""

    def __init__(self, mdp: ProgressMdp, *, longest: int, block: int) -> None:
        self._mdp = mdp
        self._longest = longest
        # Half as long again: rows are moved to the front once in many blocks, not for each.
        self._ahead = np.empty((len(mdp.gain), longest + longest // 2 + block, mdp.n_progress))
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
    mdp: ProgressMdp, progress: float, following: NDArray[np.float64], *, possible: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return Q of every action from one state, (n_actions,); -inf where the action is not possible.

    Args:
        mdp: The process.
        progress: Any progress in [0, 1], on the grid or not.
        following: V after each action, (n_actions, n_progress), or one row (n_progress,) for all.
        possible: Actions that fit in the time left, (n_actions,); None for all.
    """
    expected = np.sum(mdp.successor(progress) * following, axis=1)
    allowed = mdp.available_at(progress)
    if possible is not None:
        allowed = allowed & possible
    return np.where(allowed, mdp.discount * expected - mdp.cost, -np.inf)


def choose(end_value: float, values: NDArray[np.float64]) -> int | None:
    """Return the index of the best action, or None for TERMINATE.

    Ties, within TIE, go to TERMINATE and then to the cheaper action, which is the earlier one.
    """
    best = float(np.max(values, initial=-np.inf))
    if end_value >= best - TIE:
        return None
    return int(np.flatnonzero(values >= best - TIE)[0])
