"""Progress trackers: what moves U while a question runs, and the process that the policy is solved for.

The two belong together. A policy describes the question that runs only if its process moves as the tracker does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from argo.errors import InvalidArgumentError
from argo.limits import FAN_OUT, FOCI, check_range
from orchestrator.action import REASON, Action, ActionKind, retrieve
from orchestrator.focus_mdp import FocusMdp, binomial, focus_states, transitions
from orchestrator.mdp import ProgressMdp
from orchestrator.parameter import MdpParameters

__all__ = [
    "TRACKERS",
    "ConstantTracker",
    "EvidenceTracker",
    "ProgressTracker",
    "StepOutcome",
    "tracker",
]

GRID: Final = 401
"""Progress points of the `constant` process; twice as many change no value by 1e-3 (tested)."""


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """What one finished step did, as the loop counts it."""

    n_foci: int
    """Foci of the question."""
    closed_foci: int
    """Foci closed in total, after the step."""
    useful_retrievals: int = 0
    """Foci that this RETRIEVE closed, the search of the question itself included."""
    finished_notes: int = 0
    """Notes that this REASON finished, whether or not they closed their focus."""


class ProgressTracker(Protocol):
    """Port between the loop, which counts, and the process, which is solved."""

    @property
    def name(self) -> str:
        """Name that :func:`tracker` resolves."""

    def start(self, n_foci: int) -> float:
        """Return the progress of a question before its first step."""

    def after(self, progress: float, outcome: StepOutcome) -> float:
        """Return the progress after a step that began at `progress`."""

    def process(self, n_foci: int, *, max_fan_out: int, reason_available: bool) -> ProgressMdp:
        """Return the process that a question with so many foci runs through.

        Args:
            n_foci: 1 to 8.
            max_fan_out: Most parallel subqueries in one step, 1 to 8; no more than n_foci are ever of use.
            reason_available: Whether a language model runs.
        """


class ConstantTracker:
    """The research code's tracker: a useful retrieval moves U by retrieve_gain, a finished note by reason_gain."""

    name = "constant"

    def __init__(self, parameters: MdpParameters, *, n_progress: int = GRID) -> None:
        self._parameters = parameters
        self._n_progress = n_progress

    def start(self, n_foci: int) -> float:
        """Return 0: nothing is known yet."""
        return 0.0

    def after(self, progress: float, outcome: StepOutcome) -> float:
        """Return progress with this step's gains, clipped at 1."""
        gain = self._fan_out_gain(outcome.useful_retrievals) + self._parameters.reason_gain * outcome.finished_notes
        return min(1.0, progress + gain)

    def process(self, n_foci: int, *, max_fan_out: int, reason_available: bool) -> ProgressMdp:
        """Return the process on an even grid; a note always gains (p_p = 1), and gains do not use foci up."""
        given = self._parameters
        fan_out = _widest(n_foci, max_fan_out)
        gain = [self._fan_out_gain(successes) for successes in range(fan_out + 1)]
        reason = np.zeros(fan_out + 2)
        reason[-1] = 1.0
        return _process(
            given,
            gain=np.array([*gain, given.reason_gain]),
            reason=reason if reason_available else None,
            fan_out=fan_out,
            n_progress=self._n_progress,
            n_foci=None,
        )

    def _fan_out_gain(self, successes: int) -> float:
        """Return what so many successes of one fan-out gain together."""
        kept = 1.0 - self._parameters.overlap
        return math.fsum(self._parameters.retrieve_gain * kept**earlier for earlier in range(successes))


class EvidenceTracker:
    """The default: U is the share of the question's foci that are closed."""

    name = "evidence"

    def __init__(self, parameters: MdpParameters) -> None:
        self._parameters = parameters

    def start(self, n_foci: int) -> float:
        """Return 0: every focus is open."""
        return 0.0

    def after(self, progress: float, outcome: StepOutcome) -> float:
        """Return the share of foci that are closed, however they were."""
        return outcome.closed_foci / check_range("n_foci", outcome.n_foci, FOCI)

    def process(self, n_foci: int, *, max_fan_out: int, reason_available: bool) -> ProgressMdp:
        """Return the process on the n_foci + 1 points that U can take: gain 1 / n_foci for both actions, no overlap.

        Where parameters tell foci that were searched before from others, it is one over :func:`focus_states`.
        """
        given = self._parameters
        fan_out = _widest(n_foci, max_fan_out)
        if given.remembers_searches:
            return _focus_process(given, fan_out=fan_out, n_foci=n_foci, reason_available=reason_available)
        reason = np.zeros(fan_out + 1)
        reason[:2] = 1.0 - given.reason_success_probability, given.reason_success_probability
        return _process(
            given,
            gain=np.arange(fan_out + 1) / n_foci,
            reason=reason if reason_available else None,
            fan_out=fan_out,
            n_progress=n_foci + 1,
            n_foci=n_foci,
        )


def _widest(n_foci: int, max_fan_out: int) -> int:
    return min(check_range("n_foci", n_foci, FOCI), check_range("max_fan_out", max_fan_out, FAN_OUT))


def _process(
    given: MdpParameters,
    *,
    gain: NDArray[np.float64],
    reason: NDArray[np.float64] | None,
    fan_out: int,
    n_progress: int,
    n_foci: int | None,
) -> ProgressMdp:
    """Lay out the actions, cheaper first; `gain[k]` is what k successes of one fan-out gain together."""
    chance: dict[Action, NDArray[np.float64]] = {}
    for n in range(1, fan_out + 1):
        chance[retrieve(n)] = np.zeros(len(gain))
        chance[retrieve(n)][: n + 1] = binomial(n, given.success_probability)
    if reason is not None:
        chance[REASON] = reason
    actions = _cheaper_first(chance, given)
    return ProgressMdp(
        actions=actions,
        cost=_costs(actions, given),
        rules_cost=_rules_costs(actions, given),
        gain=gain,
        probability=np.stack([chance[action] for action in actions]),
        n_progress=n_progress,
        discount=given.discount,
        quality=given.quality,
        n_foci=n_foci,
    )


def _focus_process(given: MdpParameters, *, fan_out: int, n_foci: int, reason_available: bool) -> FocusMdp:
    """Lay out the actions over the states that count foci by how often they were searched."""
    offered = [retrieve(n) for n in range(1, fan_out + 1)] + ([REASON] if reason_available else [])
    actions, states = _cheaper_first(offered, given), focus_states(n_foci)
    return FocusMdp(
        actions=actions,
        cost=_costs(actions, given),
        rules_cost=_rules_costs(actions, given),
        gain=np.zeros(len(actions)),
        probability=np.eye(len(actions)),
        n_progress=len(states),
        discount=given.discount,
        quality=given.quality,
        n_foci=n_foci,
        states=states,
        transition=transitions(states, actions, given),
        known=np.array([state.known(given) for state in states]),
    )


def _cheaper_first(actions: Iterable[Action], given: MdpParameters) -> tuple[Action, ...]:
    """The actions by cost; of equals REASON first, then by fan-out."""
    return tuple(sorted(actions, key=lambda each: (_cost(each, given), each.kind is ActionKind.RETRIEVE, each.fan_out)))


def _cost(action: Action, given: MdpParameters) -> float:
    """The cost of an action, mu * c_a, in answer quality."""
    one = given.reason_cost if action.kind is ActionKind.REASON else action.fan_out * given.retrieve_cost
    return given.cost_weight * one


def _costs(actions: Sequence[Action], given: MdpParameters) -> NDArray[np.float64]:
    return np.array([_cost(action, given) for action in actions])


def _rules_costs(actions: Sequence[Action], given: MdpParameters) -> NDArray[np.float64]:
    return np.array([given.cost_weight * action.fan_out * given.rules_cost for action in actions])


_TRACKERS: Final[dict[str, Callable[[MdpParameters], ProgressTracker]]] = {
    EvidenceTracker.name: EvidenceTracker,
    ConstantTracker.name: ConstantTracker,
}
TRACKERS: Final = tuple(_TRACKERS)
"""Names that :func:`tracker` resolves; the first is the default."""


def tracker(name: str, parameters: MdpParameters) -> ProgressTracker:
    """Resolve a tracker by name.

    Raises:
        InvalidArgumentError: Unknown name.
    """
    if name not in _TRACKERS:
        raise InvalidArgumentError(f"tracker must be one of {', '.join(TRACKERS)}, got {name!r}")
    return _TRACKERS[name](parameters)
