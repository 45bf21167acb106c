"""Strategies, resolved once by name to objects and run through the same loop.

`mdp` takes the optimal action. The others are what it is compared with; all of them keep to the time left, and after
their first step they also keep the time of the model's answer, since they do not weigh what it is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from argo.errors import InvalidArgumentError, NotReadyError
from argo.limits import FAN_OUT, check_range
from orchestrator.action import REASON, TERMINATE, Action, ActionKind, retrieve
from orchestrator.parameter import check_number
from orchestrator.policy import PolicyState, Strategy, open_of, worth
from orchestrator.solved import Evaluation, SolvedProcess

__all__ = [
    "STRATEGIES",
    "AlwaysReasonStrategy",
    "AlwaysRetrieveStrategy",
    "FixedStrategy",
    "MdpStrategy",
    "RandomStrategy",
    "SingleShotStrategy",
    "StrategyOptions",
    "strategy",
]


@dataclass(frozen=True, kw_only=True)
class StrategyOptions:
    """What the strategies besides `mdp` can be set to.

    Raises:
        InvalidArgumentError: A value outside its bound.
    """

    fixed_threshold: float = 0.5
    """`fixed` retrieves below this progress."""
    fan_out: int = 1
    """Subqueries in one step of `fixed` and `always_retrieve`, 1 to 8; fewer where fewer foci are open or fit."""
    seed: int = 0
    """Seed of `random`."""

    def __post_init__(self) -> None:
        check_number("fixed_threshold", self.fixed_threshold, 0.0, 1.0)
        check_range("fan_out", self.fan_out, FAN_OUT)
        if self.seed < 0:
            raise InvalidArgumentError(f"seed must be at least 0, got {self.seed}")


class MdpStrategy:
    """Take the optimal action of the solved process, from its full action table."""

    name = "mdp"
    question_only = False

    def __init__(self, options: StrategyOptions) -> None:
        pass

    def check(self, solved: SolvedProcess) -> None:
        """Accept every process."""

    def choose(self, solved: SolvedProcess, state: PolicyState, evaluation: Evaluation) -> tuple[Action, str]:
        """Return the action that is worth most; TERMINATE is weighed at every step."""
        best = evaluation.best
        now = worth(evaluation.end_value)
        top = int(np.argmax(evaluation.values))
        if best == TERMINATE:
            step = f"{evaluation.actions[top]} {worth(float(evaluation.values[top]))}"
            return best, f"{open_of(state, solved.n_foci)}, answering now is worth {now}, the best step {step}"
        value = float(evaluation.values[evaluation.actions.index(best)])
        return best, f"{open_of(state, solved.n_foci)}, worth {worth(value)} against {now} for answering now"


class FixedStrategy:
    """Retrieve below a threshold, then reason; terminate at U = 1, or where it would reason and no model runs."""

    name = "fixed"
    question_only = False

    def __init__(self, options: StrategyOptions) -> None:
        self._threshold = options.fixed_threshold
        self._fan_out = options.fan_out

    def check(self, solved: SolvedProcess) -> None:
        """Accept every process."""

    def choose(self, solved: SolvedProcess, state: PolicyState, evaluation: Evaluation) -> tuple[Action, str]:
        """Return RETRIEVE below the threshold, REASON from it on."""
        where = f"progress {state.progress:.2f}, threshold {self._threshold:.2f}"
        if state.progress >= 1.0:
            return TERMINATE, f"{where}, progress is complete"
        if state.progress < self._threshold:
            return _widest_retrieve(state, evaluation, self._fan_out, f"{where}, retrieve below it")
        if not solved.reason_available:
            return TERMINATE, f"{where}, would reason, but no language model runs"
        return _reason(state, evaluation, f"{where}, reason from it on")


class AlwaysReasonStrategy:
    """Reason until progress is complete; refused where no language model runs."""

    name = "always_reason"
    question_only = False

    def __init__(self, options: StrategyOptions) -> None:
        pass

    def check(self, solved: SolvedProcess) -> None:
        """Refuse a process without REASON.

        Raises:
            NotReadyError: No language model runs.
        """
        if not solved.reason_available:
            raise NotReadyError(
                "strategy always_reason needs a synthesizer with a language model, and its engine has none;"
                " choose another strategy or start the synthesizer with a model"
            )

    def choose(self, solved: SolvedProcess, state: PolicyState, evaluation: Evaluation) -> tuple[Action, str]:
        """Return REASON while progress is not complete."""
        if state.progress >= 1.0:
            return TERMINATE, "progress is complete"
        return _reason(state, evaluation, f"{open_of(state, solved.n_foci)}, always reason")


class AlwaysRetrieveStrategy:
    """Retrieve until every focus is closed, whatever the tracker makes of the progress."""

    name = "always_retrieve"
    question_only = False

    def __init__(self, options: StrategyOptions) -> None:
        self._fan_out = options.fan_out

    def check(self, solved: SolvedProcess) -> None:
        """Accept every process."""

    def choose(self, solved: SolvedProcess, state: PolicyState, evaluation: Evaluation) -> tuple[Action, str]:
        """Return RETRIEVE; that foci are still open is known here."""
        return _widest_retrieve(state, evaluation, self._fan_out, f"{open_of(state, solved.n_foci)}, always retrieve")


class RandomStrategy:
    """Choose a kind of action at random, TERMINATE among them, then a fan-out at random.

    Each decision draws from a generator seeded with the seed and the number of finished steps: a resumed question goes
    on as it would have without the interruption.
    """

    name = "random"
    question_only = False

    def __init__(self, options: StrategyOptions) -> None:
        self._seed = options.seed

    def check(self, solved: SolvedProcess) -> None:
        """Accept every process; REASON is simply not drawn where no language model runs."""

    def choose(self, solved: SolvedProcess, state: PolicyState, evaluation: Evaluation) -> tuple[Action, str]:
        """Return a random action among those possible."""
        if state.progress >= 1.0:
            return TERMINATE, "progress is complete"
        generator = np.random.default_rng([self._seed, state.steps])
        by_kind: dict[ActionKind, list[Action]] = {ActionKind.TERMINATE: [TERMINATE]}
        for action in _offered(state, evaluation):
            by_kind.setdefault(action.kind, []).append(action)
        among = by_kind[list(by_kind)[int(generator.integers(len(by_kind)))]]
        action = among[int(generator.integers(len(among)))]
        return action, f"drawn at random, seed {self._seed}, step {state.steps + 1}"


class SingleShotStrategy:
    """One search with the question itself, one answer."""

    name = "single_shot"
    question_only = True

    def __init__(self, options: StrategyOptions) -> None:
        pass

    def check(self, solved: SolvedProcess) -> None:
        """Accept every process."""

    def choose(self, solved: SolvedProcess, state: PolicyState, evaluation: Evaluation) -> tuple[Action, str]:
        """Return one RETRIEVE(1), then TERMINATE."""
        if state.steps > 0:
            return TERMINATE, "one search has been made"
        return _widest_retrieve(state, evaluation, 1, "one search with the question itself")


def _offered(state: PolicyState, evaluation: Evaluation) -> tuple[Action, ...]:
    """The possible actions; once something was done, only those that leave time for the model's answer."""
    return evaluation.keeping if state.steps else evaluation.possible


def _widest_retrieve(state: PolicyState, evaluation: Evaluation, fan_out: int, why: str) -> tuple[Action, str]:
    """Return the widest possible RETRIEVE of at most that fan-out, or TERMINATE."""
    for n in range(fan_out, 0, -1):
        if retrieve(n) in _offered(state, evaluation):
            return retrieve(n), why
    return TERMINATE, f"{why}, but no retrieval is possible"


def _reason(state: PolicyState, evaluation: Evaluation, why: str) -> tuple[Action, str]:
    if REASON in _offered(state, evaluation):
        return REASON, why
    return TERMINATE, f"{why}, but no reasoning fits in the time left"


_STRATEGIES: Final[dict[str, Callable[[StrategyOptions], Strategy]]] = {
    MdpStrategy.name: MdpStrategy,
    FixedStrategy.name: FixedStrategy,
    AlwaysReasonStrategy.name: AlwaysReasonStrategy,
    AlwaysRetrieveStrategy.name: AlwaysRetrieveStrategy,
    RandomStrategy.name: RandomStrategy,
    SingleShotStrategy.name: SingleShotStrategy,
}
STRATEGIES: Final = tuple(_STRATEGIES)
"""Names that :func:`strategy` resolves; the first is the default."""
_DEFAULTS: Final = StrategyOptions()


def strategy(name: str, options: StrategyOptions = _DEFAULTS) -> Strategy:
    """Resolve a strategy by name.

    Raises:
        InvalidArgumentError: Unknown name.
    """
    if name not in _STRATEGIES:
        raise InvalidArgumentError(f"strategy must be one of {', '.join(STRATEGIES)}, got {name!r}")
    return _STRATEGIES[name](options)
