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
from orchestrator.focus_mdp import FocusMdp
from orchestrator.mdp import NEVER_SEARCHED, ProgressMdp, Searched
from orchestrator.parameter import MdpParameters
from orchestrator.progress import ProgressTracker
from orchestrator.solver import (
    TIE,
    BudgetedSolution,
    StationarySolution,
    Way,
    action_value,
    backward_induction,
    choose,
    value_iteration,
)

__all__ = ["Ending", "Evaluation", "Manner", "ProcessSolution", "SolvedProcess", "solve", "time_step_us", "ways_of"]

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


def ways_of(times: ActionTimes, actions: Sequence[Action]) -> tuple[Way, ...]:
    """Return every way to take the actions: with the model where one words subqueries, and by rules where faster."""
    ways = []
    for index, action in enumerate(actions):
        # The extractive answer is made of passages; a note would be lost on it.
        for_model = action == REASON
        ways.append(Way(action=index, time_us=microseconds_up(times.action_s(action)), for_model=for_model))
        if (rules_s := times.rules_s(action)) is not None:
            ways.append(Way(action=index, time_us=microseconds_up(rules_s), by_rules=True))
    return tuple(ways)


def time_step_us(times: ActionTimes, actions: Sequence[Action]) -> int:
    """Return the time step: the largest of 1 ms, a twentieth of the shortest and a thousandth of the longest action.

    Rounding an action up costs at most one step. Where every action is slow, or one very slow, the steps in a budget
    stay few enough to solve for at once.
    """
    lengths = [way.time_us for way in ways_of(times, actions)]
    return max(_FINEST_STEP_US, min(lengths) // _STEPS_PER_SHORTEST, max(lengths) // _STEPS_PER_LONGEST)


@dataclass(frozen=True, eq=False)
class ProcessSolution:
    """Both solutions of one process, for one answer mode."""

    mdp: ProgressMdp
    stationary: StationarySolution
    budgeted: BudgetedSolution


def solve(
    mdp: ProgressMdp,
    times: ActionTimes,
    *,
    mode: AnswerMode,
    extractive_quality: float,
    horizon_s: float,
    step_us: int | None = None,
) -> ProcessSolution:
    """Solve a process without a budget and for every time left up to the horizon.

    Args:
        mdp: The process.
        times: Time of each of its actions, and of the answers.
        mode: Which answer of the model ends it.
        extractive_quality: Quality of the extractive answer relative to the model's.
        horizon_s: Longest budget, seconds.
        step_us: Length of a time step, microseconds; None for :func:`time_step_us`.
    """
    step_us = step_us or time_step_us(times, mdp.actions)
    stationary = value_iteration(mdp)
    budgeted = backward_induction(
        mdp,
        ways_of(times, mdp.actions),
        horizon_us=microseconds_up(horizon_s),
        step_us=step_us,
        model_from=_steps_up(times.answer_s(mode), step_us) - _steps_up(times.least_answer_s(mode), step_us),
        early_quality=extractive_quality,
        unlimited=stationary.value,
    )
    return ProcessSolution(mdp, stationary, budgeted)


def _steps_up(seconds: float, step_us: int) -> int:
    """Whole steps that hold a duration."""
    return -(-microseconds_up(seconds) // step_us)


@dataclass(frozen=True)
class Manner:
    """How an action is taken when it is taken in a state."""

    by_rules: bool
    """Whether rules word its subqueries though a model could: the model's would take too long."""
    answer_s: float
    """Seconds of the answer whose time is still left when it ends: the model's, or the extractive one."""
    keeps_model: bool
    """Whether that is the model's."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Worth of everything that can be done in one state, in answer quality."""

    actions: tuple[Action, ...]
    values: NDArray[np.float64]
    """Q of each action in the way that is worth most, (n_actions,); -inf where none is possible."""
    manners: tuple[Manner, ...]
    """That way, for each action; says nothing of one that is not possible."""
    end_value: float
    """Worth of terminating; -inf where no answer fits."""
    ending: Ending

    @property
    def possible(self) -> tuple[Action, ...]:
        """Actions that may be taken besides TERMINATE, cheaper first."""
        return tuple(action for action, value in zip(self.actions, self.values, strict=True) if value > -np.inf)

    @property
    def keeping(self) -> tuple[Action, ...]:
        """Those of :attr:`possible` that leave time for the model's answer."""
        return tuple(action for action in self.possible if self.manner(action).keeps_model)

    def manner(self, action: Action) -> Manner:
        """Return how one of the actions is taken here."""
        return self.manners[self.actions.index(action)]

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
    """A process and its solution for one answer mode."""

    solution: ProcessSolution
    n_foci: int
    mode: AnswerMode
    parameters: MdpParameters
    times: ActionTimes
    tracker: ProgressTracker
    """What moves progress as the process does."""

    @property
    def mdp(self) -> ProgressMdp:
        """The process."""
        return self.solution.mdp

    @property
    def reason_available(self) -> bool:
        """Whether REASON is an action here, that is, whether a language model runs."""
        return REASON in self.mdp.actions

    def evaluate(
        self,
        progress: float,
        time_left_s: float | None,
        *,
        open_foci: int | None = None,
        searched: Searched = NEVER_SEARCHED,
    ) -> Evaluation:
        """Weigh every action in one state.

        Args:
            progress: U, in [0, 1].
            time_left_s: Time left of the budget, seconds, 0 or less when it is spent; None without a budget.
            open_foci: Foci that can still be worked on; no action works on more. None: as many as its process has.
            searched: How many of them were searched once, and how many more often.

        Raises:
            InvalidArgumentError: Progress that is no state of the process, or a time left that is not a number.
        """
        mdp = self.mdp
        progress = mdp.check_progress(progress)
        ending = self._ending(time_left_s)
        if time_left_s is None or time_left_s == math.inf:
            values = action_value(mdp, progress, self.solution.stationary.value, searched=searched)
            manners = (Manner(by_rules=False, answer_s=self._answer_s, keeps_model=True),) * len(mdp.actions)
        else:
            values, manners = self._weigh(progress, time_left_s, searched)
        if open_foci is not None:
            enough = np.array([max(action.fan_out, 1) <= open_foci for action in mdp.actions])
            values = np.where(enough, values, -np.inf)
        return Evaluation(mdp.actions, values, manners, self._end_value(progress, searched, ending), ending)

    @property
    def remembers_searches(self) -> bool:
        """Whether the process tells foci that were searched before from others."""
        return isinstance(self.mdp, FocusMdp)

    def table(self, time_left_s: float | None, *, searched_once: bool = False) -> tuple[Action, ...]:
        """Return the action of every grid point at one time left: the policy itself.

        Args:
            time_left_s: Seconds; None without a budget.
            searched_once: Whether every open focus was searched once before, or none ever.
        """
        chosen = []
        for progress in self.mdp.progress.tolist():
            searched = (self.n_foci - round(progress * self.n_foci), 0) if searched_once else NEVER_SEARCHED
            chosen.append(self.evaluate(progress, time_left_s, searched=searched).best)
        return tuple(chosen)

    def value(self, progress: float, time_left_s: float | None) -> float:
        """Return V(U, t) in answer quality; -inf where no answer fits."""
        evaluation = self.evaluate(progress, time_left_s)
        return max(evaluation.end_value, float(evaluation.values.max()))

    def _ending(self, time_left_s: float | None) -> Ending:
        if time_left_s is None:
            return Ending.MODEL
        if math.isnan(time_left_s):
            raise InvalidArgumentError("time_left_s must be a number of seconds, got nan")
        if time_left_s == math.inf or microseconds_down(time_left_s) >= microseconds_up(self._answer_s):
            return Ending.MODEL
        if microseconds_down(time_left_s) >= microseconds_up(self.times.extractive_answer_s):
            return Ending.EXTRACTIVE
        return Ending.INFEASIBLE

    def _end_value(self, progress: float, searched: Searched, ending: Ending) -> float:
        if ending is Ending.INFEASIBLE:
            return -math.inf
        worth = self.mdp.end_worth(progress, searched)
        return worth if ending is Ending.MODEL else self.parameters.extractive_quality * worth

    def _weigh(
        self, progress: float, time_left_s: float, searched: Searched
    ) -> tuple[NDArray[np.float64], tuple[Manner, ...]]:
        """Return Q of every action in the way that is worth most, and that way; a tie goes to the model's wording."""
        budgeted = self.solution.budgeted
        step = budgeted.step_us
        least_s = self.times.least_answer_s(self.mode)
        # Answers are rounded up, as the times of actions are; the time left is rounded down.
        slack = microseconds_down(time_left_s) // step - _steps_up(least_s, step)
        after = slack - budgeted.way_steps
        following = budgeted.value[np.clip(after, 0, len(budgeted.value) - 1)]
        worth = action_value(
            self.mdp,
            progress,
            following,
            ways=budgeted.ways,
            possible=after >= budgeted.way_least,
            searched=searched,
        ).tolist()
        values = np.full(len(self.mdp.actions), -np.inf)
        chosen = [0] * len(values)
        # The model's way of an action comes before the rules'.
        for index, way in enumerate(budgeted.ways):
            if not math.isfinite(values[way.action]) or worth[index] > values[way.action] + TIE:
                values[way.action], chosen[way.action] = worth[index], index
        manners = []
        for index in chosen:
            keeps = bool(after[index] >= budgeted.model_from)
            manners.append(
                Manner(
                    by_rules=budgeted.ways[index].by_rules,
                    answer_s=self._answer_s if keeps else least_s,
                    keeps_model=keeps,
                )
            )
        return values, tuple(manners)

    @property
    def _answer_s(self) -> float:
        """T_syn, in seconds."""
        return self.times.answer_s(self.mode)
