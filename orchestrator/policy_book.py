"""Every policy for the current parameters, solved before it is needed, replaced in one move."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from argo.errors import InvalidArgumentError
from argo.limits import BUDGET_MS, FAN_OUT, FOCI, check_range
from orchestrator.action import Action
from orchestrator.action_time import BUILTIN_TIMES, ActionTimes, AnswerMode
from orchestrator.parameter import BUILTIN_PARAMETERS, MdpParameters, check_number
from orchestrator.policy import Policy, PolicyState, Strategy
from orchestrator.progress import TRACKERS, ProgressTracker, tracker
from orchestrator.solved import ProcessSolution, SolvedProcess, solve
from orchestrator.strategy import strategy
from orchestrator.threshold import ActionBand, Thresholds, action_bands, find_thresholds

__all__ = ["PolicyBook", "PolicyReport", "StateValue"]

_LONGEST_BUDGET_S: Final = BUDGET_MS[1] / 1000


@dataclass(frozen=True)
class StateValue:
    """What the optimal policy does in one state, and what each action is worth there."""

    progress: float
    action: Action
    action_value: Mapping[Action, float | None]
    """Q of every action, in answer quality; None where it is not possible."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class PolicyReport:
    """One column of the action table, for a reader."""

    tracker: str
    n_foci: int
    mode: AnswerMode
    time_left_s: float | None
    """None: without a budget."""
    parameters: MdpParameters
    times: ActionTimes
    reason_available: bool
    thresholds: Thresholds
    bands: tuple[ActionBand, ...]
    searched_bands: tuple[ActionBand, ...]
    """The bands where every open focus was searched once; empty where the process does not tell that."""
    states: tuple[StateValue, ...]


class _Solutions:
    """Solutions for one set of parameters and times; what is solved is never changed again."""

    def __init__(
        self, parameters: MdpParameters, times: ActionTimes, *, reason_available: bool, horizon_s: float
    ) -> None:
        if reason_available and times.reason_s is None:
            raise InvalidArgumentError("reason_s must be set where a language model runs, got None")
        self.parameters = parameters
        self.times = times
        self.reason_available = reason_available
        self._horizon_s = horizon_s
        self._trackers = {name: tracker(name, parameters) for name in TRACKERS}
        self._solved: dict[tuple[str, int, int, float], ProcessSolution] = {}
        self._lock = threading.Lock()

    def tracker(self, name: str) -> ProgressTracker:
        if name not in self._trackers:
            raise InvalidArgumentError(f"tracker must be one of {', '.join(TRACKERS)}, got {name!r}")
        return self._trackers[name]

    def solution(self, name: str, n_foci: int, mode: AnswerMode, max_fan_out: int) -> ProcessSolution:
        """Return a process solved; at most once, also when several ask at the same time."""
        moves = self.tracker(name)
        fan_out = min(check_range("max_fan_out", max_fan_out, FAN_OUT), check_range("n_foci", n_foci, FOCI))
        # Modes whose answers take as long have one solution.
        key = (name, n_foci, fan_out, self.times.answer_s(mode))
        with self._lock:
            if key not in self._solved:
                mdp = moves.process(n_foci, max_fan_out=fan_out, reason_available=self.reason_available)
                self._solved[key] = solve(
                    mdp,
                    self.times.of_question(n_foci),
                    mode=mode,
                    extractive_quality=self.parameters.extractive_quality,
                    horizon_s=self._horizon_s,
                )
            return self._solved[key]


class PolicyBook:
    """Hands out policies for the current parameters and times.

    The processes of the orchestrator's own tracker are solved at once for every number of foci; other trackers and
    smaller fan-outs when they are first asked for. A policy that was handed out keeps the parameters that it was
    solved for, so a question that runs is not changed by a reload. Safe to use from several threads.

    Args:
        parameters: Of the process.
        times: Of each action and answer.
        tracker_name: The orchestrator's progress tracker.
        reason_available: Whether the synthesizer runs a language model.
        horizon_s: Longest budget, seconds.

    Raises:
        InvalidArgumentError: Unknown tracker, a horizon outside its bound, or REASON without its time.
    """

    def __init__(
        self,
        parameters: MdpParameters = BUILTIN_PARAMETERS,
        times: ActionTimes = BUILTIN_TIMES,
        *,
        tracker_name: str = TRACKERS[0],
        reason_available: bool = False,
        horizon_s: float = _LONGEST_BUDGET_S,
    ) -> None:
        self._tracker_name = tracker_name
        self._horizon_s = check_number("horizon_s", horizon_s, 0.0, _LONGEST_BUDGET_S, above=True)
        self._solutions = self._solve(parameters, times, reason_available=reason_available)

    @property
    def parameters(self) -> MdpParameters:
        """The current parameters."""
        return self._solutions.parameters

    @property
    def times(self) -> ActionTimes:
        """The current times."""
        return self._solutions.times

    @property
    def reason_available(self) -> bool:
        """Whether REASON is in the action set."""
        return self._solutions.reason_available

    @property
    def tracker(self) -> ProgressTracker:
        """The orchestrator's tracker with the current parameters."""
        return self._solutions.tracker(self._tracker_name)

    def policy(self, chosen: Strategy, *, n_foci: int, mode: AnswerMode, max_fan_out: int = FAN_OUT[1]) -> Policy:
        """Return the policy of one question.

        Args:
            chosen: What :func:`orchestrator.strategy.strategy` resolved.
            n_foci: Foci of the question, 1 to 8.
            mode: Free answer or choice.
            max_fan_out: Most parallel subqueries in one step that the question allows, 1 to 8.

        Raises:
            InvalidArgumentError: A number outside its bound.
            NotReadyError: The strategy needs a language model and none runs.
        """
        return Policy(chosen, _solved(self._solutions, self._tracker_name, n_foci, mode, max_fan_out))

    def replace(
        self, parameters: MdpParameters, times: ActionTimes | None = None, *, reason_available: bool | None = None
    ) -> None:
        """Solve for other parameters, then change over in one move; where solving fails, nothing has changed.

        Args:
            parameters: The new ones.
            times: The new ones; None keeps the current.
            reason_available: None keeps the current.
        """
        current = self._solutions
        self._solutions = self._solve(
            parameters,
            current.times if times is None else times,
            reason_available=current.reason_available if reason_available is None else reason_available,
        )

    def report(
        self,
        *,
        n_foci: int,
        mode: AnswerMode,
        time_left_s: float | None,
        tracker_name: str | None = None,
        progress: Sequence[float] = (),
    ) -> PolicyReport:
        """Describe the optimal policy at one time left.

        Args:
            n_foci: 1 to 8.
            mode: Free answer or choice.
            time_left_s: Seconds; None without a budget.
            tracker_name: None for the orchestrator's own.
            progress: States to weigh; under `evidence` multiples of 1 / n_foci.

        Raises:
            InvalidArgumentError: Unknown tracker, a number outside its bound, or progress that is no state.
        """
        name = self._tracker_name if tracker_name is None else tracker_name
        solutions = self._solutions
        solved = _solved(solutions, name, n_foci, mode, FAN_OUT[1])
        grid = solved.mdp.progress.tolist()
        table = solved.table(time_left_s)
        searched = solved.table(time_left_s, searched_once=True) if solved.remembers_searches else ()
        optimal = Policy(strategy("mdp"), solved)
        return PolicyReport(
            tracker=name,
            n_foci=n_foci,
            mode=mode,
            time_left_s=time_left_s,
            parameters=solutions.parameters,
            times=solutions.times,
            reason_available=solutions.reason_available,
            thresholds=find_thresholds(grid, table),
            bands=action_bands(grid, table),
            searched_bands=action_bands(grid, searched) if searched else (),
            states=tuple(_state_value(optimal, value, time_left_s) for value in progress),
        )

    def weigh(
        self,
        *,
        n_foci: int,
        mode: AnswerMode,
        states: Sequence[tuple[float, float | None]],
        tracker_name: str | None = None,
    ) -> tuple[StateValue, ...]:
        """Weigh the actions in some states, without the table that a report shows.

        Args:
            n_foci: 1 to 8.
            mode: Free answer or choice.
            states: Progress, under `evidence` a multiple of 1 / n_foci, and seconds left; None for no budget.
            tracker_name: None for the orchestrator's own.

        Raises:
            InvalidArgumentError: Unknown tracker, a number outside its bound, or progress that is no state, which is
                named by its place.
        """
        name = self._tracker_name if tracker_name is None else tracker_name
        optimal = Policy(strategy("mdp"), _solved(self._solutions, name, n_foci, mode, FAN_OUT[1]))
        weighed = []
        for index, (progress, time_left_s) in enumerate(states):
            try:
                weighed.append(_state_value(optimal, progress, time_left_s))
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"states[{index}].{error}") from None
        return tuple(weighed)

    def _solve(self, parameters: MdpParameters, times: ActionTimes, *, reason_available: bool) -> _Solutions:
        solutions = _Solutions(parameters, times, reason_available=reason_available, horizon_s=self._horizon_s)
        for n_foci in range(FOCI[0], FOCI[1] + 1):
            for mode in AnswerMode:
                solutions.solution(self._tracker_name, n_foci, mode, FAN_OUT[1])
        return solutions


def _solved(solutions: _Solutions, name: str, n_foci: int, mode: AnswerMode, max_fan_out: int) -> SolvedProcess:
    return SolvedProcess(
        solution=solutions.solution(name, n_foci, mode, max_fan_out),
        n_foci=n_foci,
        mode=mode,
        parameters=solutions.parameters,
        times=solutions.times.of_question(n_foci),
        tracker=solutions.tracker(name),
    )


def _state_value(optimal: Policy, progress: float, time_left_s: float | None) -> StateValue:
    """Weigh one state; under `constant`, whose progress does not count foci, as many are open as progress lacks."""
    n_foci = optimal.solved.n_foci
    value = optimal.solved.mdp.check_progress(progress)
    open_foci = n_foci if optimal.solved.mdp.n_foci is None and value < 1.0 else n_foci - round(value * n_foci)
    decision = optimal.act(PolicyState(progress=value, open_foci=open_foci, time_left_s=time_left_s))
    return StateValue(value, decision.action, decision.action_value, decision.reason)
