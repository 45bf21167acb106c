"""The policy that runs: state in, decision out, with the worth of every action and one line of reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from argo.errors import InvalidArgumentError
from orchestrator.action import TERMINATE, Action
from orchestrator.mdp import NEVER_SEARCHED, Searched
from orchestrator.solved import Ending, Evaluation, Manner, SolvedProcess

__all__ = ["Decision", "Policy", "PolicyState", "Strategy"]


@dataclass(frozen=True, kw_only=True)
class PolicyState:
    """All that a policy may look at. The difficulty label of a benchmark question is not among it."""

    progress: float
    """U, as the tracker gives it."""
    open_foci: int
    """Foci that are not closed yet; both RETRIEVE and REASON work on open foci."""
    searched: Searched = NEVER_SEARCHED
    """How many of them were searched once, and how many more often."""
    steps: int = 0
    """Finished steps of this question."""
    time_left_s: float | None = None
    """Time left of the budget, seconds, 0 or less when it is spent; None without a budget."""


@dataclass(frozen=True)
class Decision:
    """What to do next, and why."""

    action: Action
    action_value: Mapping[Action, float | None]
    """Q of every action of the process, TERMINATE included, in answer quality; None where it is not possible now."""
    reason: str
    """One line of plain English for whoever watches."""
    ending: Ending
    """What an answer begun now can be, as far as time goes."""
    answer_s: float
    """Seconds to be left for the answer when the action ends."""
    by_rules: bool = False
    """Whether rules are to word the action's subqueries, since a model's would take too long."""
    for_want_of_time: bool = False
    """Whether TERMINATE is all that is possible, and more would be with more time."""


class Strategy(Protocol):
    """How to choose among the possible actions; resolved once by name, see :mod:`orchestrator.strategy`."""

    @property
    def name(self) -> str:
        """Name by which a request asks for it."""

    @property
    def question_only(self) -> bool:
        """Whether the question itself is the only focus and the only subquery: nothing is planned or generated."""

    def check(self, solved: SolvedProcess) -> None:
        """Refuse a process that this strategy cannot run on.

        Raises:
            NotReadyError: It needs REASON and no language model runs.
        """

    def choose(self, solved: SolvedProcess, state: PolicyState, evaluation: Evaluation) -> tuple[Action, str]:
        """Return TERMINATE or one of evaluation.possible, which is not empty, and why."""


class Policy:
    """One strategy on one solved process. It keeps no state: a question may be resumed with a new one.

    No strategy overruns: an action is offered to it only if an answer still fits when the action ends, and none where
    no focus is open.
    """

    def __init__(self, strategy: Strategy, solved: SolvedProcess) -> None:
        strategy.check(solved)
        self._strategy = strategy
        self._solved = solved

    @property
    def strategy(self) -> str:
        """Name of the strategy."""
        return self._strategy.name

    @property
    def question_only(self) -> bool:
        """Whether the question itself is the only focus and the only subquery."""
        return self._strategy.question_only

    @property
    def solved(self) -> SolvedProcess:
        """The process that this policy was made for."""
        return self._solved

    def act(self, state: PolicyState) -> Decision:
        """Choose the next action.

        Raises:
            InvalidArgumentError: A count below 0 or more open foci than the process has, or progress or time that
                is no state of it.
        """
        if not 0 <= state.open_foci <= self._solved.n_foci:
            raise InvalidArgumentError(f"open_foci must be in 0..{self._solved.n_foci}, got {state.open_foci}")
        if state.steps < 0:
            raise InvalidArgumentError(f"steps must be at least 0, got {state.steps}")
        evaluation = self._solved.evaluate(
            state.progress, state.time_left_s, open_foci=state.open_foci, searched=state.searched
        )
        late = False
        if evaluation.possible:
            action, why = self._strategy.choose(self._solved, state, evaluation)
        else:
            late = state.time_left_s is not None and self._possible_in_time(state)
            action, why = TERMINATE, self._nothing_possible(state, evaluation, late)
        times, mode = self._solved.times, self._solved.mode
        if action == TERMINATE:
            answer_s = times.answer_s(mode) if evaluation.ending is Ending.MODEL else times.least_answer_s(mode)
            told = f"{action}: {why}"
            return Decision(action, evaluation.action_value(), told, evaluation.ending, answer_s, for_want_of_time=late)
        manner = evaluation.manner(action)
        return Decision(
            action,
            evaluation.action_value(),
            f"{action}: {why}{_hurry(manner)}",
            evaluation.ending,
            manner.answer_s,
            manner.by_rules,
        )

    def _possible_in_time(self, state: PolicyState) -> bool:
        """Whether any action is possible here with all the time in the world."""
        unhurried = self._solved.evaluate(state.progress, None, open_foci=state.open_foci, searched=state.searched)
        return bool(unhurried.possible)

    def _nothing_possible(self, state: PolicyState, evaluation: Evaluation, late: bool) -> str:
        """Say why no action may be taken: no open focus, none to be searched again, or which time is missing."""
        times = self._solved.times
        if evaluation.ending is Ending.INFEASIBLE:
            shortest_s = times.least_answer_s(self._solved.mode)
            return f"no answer fits in the {_seconds(state.time_left_s)} left, the shortest takes {shortest_s:.3f} s"
        if state.open_foci == 0:
            return f"{all_closed(self._solved.n_foci)}, nothing is left to look for"
        if not late:
            return f"{open_of(state, self._solved.n_foci)}, but searched twice already"
        shortest_s = min(times.rules_s(action) or times.action_s(action) for action in self._solved.mdp.actions)
        return (
            f"no step fits in the {_seconds(state.time_left_s)} left, the shortest takes {shortest_s:.3f} s"
            f" and the answer {times.least_answer_s(self._solved.mode):.3f} s"
        )


def _hurry(manner: Manner) -> str:
    """Say what an action forgoes for want of time; empty for nothing."""
    forgone = []
    if manner.by_rules:
        forgone.append("rules word it")
    if not manner.keeps_model:
        forgone.append("an extractive answer follows")
    return f"; for want of time {' and '.join(forgone)}" if forgone else ""


def all_closed(n_foci: int) -> str:
    """Say that no focus is open."""
    return "the one focus is closed" if n_foci == 1 else f"all {n_foci} foci are closed"


def open_of(state: PolicyState, n_foci: int) -> str:
    """Say how many foci are open."""
    return f"{state.open_foci} of {n_foci} {'focus' if n_foci == 1 else 'foci'} open"


def worth(value: float) -> str:
    """Write an answer quality for a reader."""
    return f"{value:.2f}"


def _seconds(seconds: float | None) -> str:
    return "no budget" if seconds is None else f"{max(seconds, 0.0):.3f} s"
