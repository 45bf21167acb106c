"""One solved process, ready to be asked: what is each action worth in this state, with this time left?"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from argo.errors import InvalidArgumentError
from orchestrator.action import REASON, TERMINATE, Action
from orchestrator.action_time import ActionTimes, AnswerMode, microseconds_down, microseconds_up
from orchestrator.mdp import ProgressMdp
from orchestrator.parameter import MdpParameters
from orchestrator.solver import (
    BudgetedSolution,
    StationarySolution,
    action_value,
    backward_induction,
    choose,
    value_iteration,
)

__all__ = ["Ending", "Evaluation", "ProcessSolution", "SolvedProcess", "solve", "time_step_us"]

_FINEST_STEP_US: Final = 1_000
_STEPS_PER_SHORTEST: Final = 20
_STEPS_PER_LONGEST: Final = 1_000


class Ending(enum.Enum):
    """What an answer that is begun now can still be."""

    MODEL = "model"
    """The shortest acceptable answer fits."""
    EXTRACTIVE = "extractive"
    """Only the extractive answer fits."""
    INFEASIBLE = "infeasible"
    """Not even that fits."""


def time_step_us(times: ActionTimes, actions: Sequence[Action]) -> int:
    """Return the time step: the largest of 1 ms, a twentieth of the shortest and a thousandth of the longest action.

    Rounding an action up costs at most one step. Where every action is slow, or one very slow, the steps in a budget
    stay few enough to solve for at once.
    """
    lengths = [microseconds_up(times.action_s(action)) for action in actions]
    return max(_FINEST_STEP_US, min(lengths) // _STEPS_PER_SHORTEST, max(lengths) // _STEPS_PER_LONGEST)


@dataclass(frozen=True, eq=False)
class ProcessSolution:
    """Both solutions of one process; the same for every answer mode."""

    mdp: ProgressMdp
    stationary: StationarySolution
    budgeted: BudgetedSolution


def solve(mdp: ProgressMdp, times: ActionTimes, *, horizon_s: float, step_us: int | None = None) -> ProcessSolution:
    """Solve a process without a budget and for every time left up to the horizon.

    Args:
        mdp: The process.
        times: Time of each of its actions.
        horizon_s: Longest budget, seconds.
        step_us: Length of a time step, microseconds; None for :func:`time_step_us`.
    """
    action_us = [microseconds_up(times.action_s(action)) for action in mdp.actions]
    budgeted = backward_induction(
        mdp,
        action_us,
        horizon_us=microseconds_up(horizon_s),
        step_us=step_us or time_step_us(times, mdp.actions),
    )
    return ProcessSolution(mdp, value_iteration(mdp), budgeted)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Worth of everything that can be done in one state, in answer quality."""

    actions: tuple[Action, ...]
    values: NDArray[np.float64]
    """Q of each action, (n_actions,); -inf where it is not possible."""
    end_value: float
    """Worth of terminating; -inf where no answer fits."""
    ending: Ending

    @property
    def possible(self) -> tuple[Action, ...]:
        """Actions that may be taken besides TERMINATE, cheaper first."""
        return tuple(action for action, value in zip(self.actions, self.values, strict=True) if value > -np.inf)

    @property
    def best(self) -> Action:
        """The optimal action, ties going to TERMINATE and then to the cheaper action."""
        index = choose(self.end_value, self.values)
        return TERMINATE if index is None else self.actions[index]

    def action_value(self) -> Mapping[Action, float | None]:
        """Return Q of every action, TERMINATE first; None where it is not possible."""
        pairs = zip((TERMINATE, *self.actions), (self.end_value, *self.values.tolist()), strict=True)
        return {action: value if math.isfinite(value) else None for action, value in pairs}


@dataclass(frozen=True, eq=False, kw_only=True)
class SolvedProcess:
    """A process, its solution, and the answer mode that decides how much time is slack."""

    solution: ProcessSolution
    n_foci: int
    mode: AnswerMode
    parameters: MdpParameters
    times: ActionTimes

    @property
    def mdp(self) -> ProgressMdp:
        """The process."""
        return self.solution.mdp

    @property
    def reason_available(self) -> bool:
        """Whether REASON is an action here, that is, whether a language model runs."""
        return REASON in self.mdp.actions

    def evaluate(self, progress: float, time_left_s: float | None, *, open_foci: int | None = None) -> Evaluation:
        """Weigh every action in one state.

        Args:
            progress: U, in [0, 1].
            time_left_s: Time left of the budget, seconds, 0 or less when it is spent; None without a budget.
            open_foci: Foci that can still be worked on; no action works on more. None: as many as its process has.

        Raises:
            InvalidArgumentError: Progress that is no state of the process, or a time left that is not a number.
        """
        mdp = self.mdp
        progress = mdp.check_progress(progress)
        ending = self._ending(time_left_s)
        following, in_time = self._following(time_left_s)
        if open_foci is not None:
            in_time = in_time & np.array([max(action.fan_out, 1) <= open_foci for action in mdp.actions])
        values = action_value(mdp, progress, following, possible=in_time)
        return Evaluation(mdp.actions, values, self._end_value(progress, ending), ending)

    def table(self, time_left_s: float | None) -> tuple[Action, ...]:
        """Return the action of every grid point at one time left: the policy itself."""
        return tuple(self.evaluate(float(progress), time_left_s).best for progress in self.mdp.progress)

    def value(self, progress: float, time_left_s: float | None) -> float:
        """Return V(U, t) in answer quality; -inf where no answer fits."""
        evaluation = self.evaluate(progress, time_left_s)
        return max(evaluation.end_value, float(evaluation.values.max()))

    def _ending(self, time_left_s: float | None) -> Ending:
        if time_left_s is None:
            return Ending.MODEL
        if math.isnan(time_left_s):
            raise InvalidArgumentError("time_left_s must be a number of seconds, got nan")
        if time_left_s == math.inf or microseconds_down(time_left_s) >= self._answer_us:
            return Ending.MODEL
        if microseconds_down(time_left_s) >= microseconds_up(self.times.extractive_answer_s):
            return Ending.EXTRACTIVE
        return Ending.INFEASIBLE

    def _end_value(self, progress: float, ending: Ending) -> float:
        if ending is Ending.INFEASIBLE:
            return -math.inf
        worth = float(self.mdp.quality(progress))
        return worth if ending is Ending.MODEL else self.parameters.extractive_quality * worth

    def _following(self, time_left_s: float | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return V after each action, and which actions end with T_syn still left."""
        if time_left_s is None or time_left_s == math.inf:
            return self.solution.stationary.value, np.ones(len(self.mdp.actions), dtype=np.bool_)
        budgeted = self.solution.budgeted
        step = budgeted.step_us
        answer_steps = -(-self._answer_us // step)  # rounded up, as T_a is; the time left is rounded down
        slack = microseconds_down(time_left_s) // step - answer_steps
        after = slack - budgeted.action_steps
        rows = np.clip(after, 0, len(budgeted.value) - 1)
        return budgeted.value[rows], after >= 0

    @property
    def _answer_us(self) -> int:
        """T_syn in microseconds, rounded up."""
        return microseconds_up(self.times.answer_s(self.mode))
