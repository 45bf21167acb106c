"""The `evidence` process that remembers searches: a focus that one search left open is not as one never searched.

A second search of a focus closes it less often than the first did, and what the first one kept may hold its evidence
though no passage was relevant enough to say so. Both are measured (`python -m bench policy fit`), and both say whether
another search is worth its cost. The state counts the foci by how often they were searched, and no focus is searched a
third time: the loop ends after two steps without progress, and a process without an end would take seconds to solve.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from orchestrator.action import Action, ActionKind
from orchestrator.mdp import NEVER_SEARCHED, ProgressMdp, Searched
from orchestrator.parameter import MdpParameters

__all__ = ["FocusMdp", "FocusState", "binomial", "focus_states", "successors", "transitions"]


@dataclass(frozen=True, order=True)
class FocusState:
    """How many foci are where."""

    closed: int
    fresh: int
    """Open and never searched."""
    once: int
    """Open after one search."""
    twice: int
    """Open after two or more, and not searched again."""

    @property
    def open_foci(self) -> int:
        """Foci that are not closed."""
        return self.fresh + self.once + self.twice

    def allows(self, action: Action) -> bool:
        """Whether the action has the foci that it needs."""
        if action.kind is ActionKind.REASON:
            return self.open_foci > 0
        return action.fan_out <= self.fresh + self.once

    def known(self, given: MdpParameters) -> float:
        """Expected share of the foci whose evidence is held."""
        held = given.held_closed * self.closed + given.held_once * self.once + given.held_twice * self.twice
        return held / (self.closed + self.open_foci)


def focus_states(n_foci: int) -> tuple[FocusState, ...]:
    """Every state of a question with so many foci, in rising order of foci closed."""
    counts = product(range(n_foci + 1), repeat=3)
    return tuple(sorted(FocusState(c, n_foci - c - k - t, k, t) for c, k, t in counts if c + k + t <= n_foci))


def binomial(trials: int, probability: float) -> NDArray[np.float64]:
    """Return the chance of 0..trials successes, (trials + 1,)."""
    return np.array(
        [math.comb(trials, k) * probability**k * (1.0 - probability) ** (trials - k) for k in range(trials + 1)]
    )


def successors(state: FocusState, action: Action, given: MdpParameters) -> Iterator[tuple[FocusState, float]]:
    """Every state that an action may lead to from one that allows it, with its chance; one may come several times.

    Foci are taken as the loop takes them: those never searched first, then those searched once. A note works on one
    focus and leaves it as it was where it does not close it.
    """
    if action.kind is ActionKind.REASON:
        closes = given.reason_success_probability
        yield state, 1.0 - closes
        fresh, once = min(state.fresh, 1), min(state.once, 1 - min(state.fresh, 1))
        after = FocusState(state.closed + 1, state.fresh - fresh, state.once - once, state.twice - (1 - fresh - once))
        yield after, closes
        return
    first = min(action.fan_out, state.fresh)
    second = action.fan_out - first
    for (i, p), (j, q) in product(
        enumerate(binomial(first, given.success_probability)), enumerate(binomial(second, given.repeat_probability))
    ):
        after = FocusState(
            closed=state.closed + i + j,
            fresh=state.fresh - first,
            once=state.once - second + first - i,
            twice=state.twice + second - j,
        )
        yield after, float(p * q)


@dataclass(frozen=True, eq=False, kw_only=True)
class FocusMdp(ProgressMdp):
    """One process to solve, over the states of :func:`focus_states` instead of a grid of progress.

    `n_progress` counts the states. :meth:`ahead` weighs what may follow an action itself, so there is one outcome for
    each action, and `probability` is the identity.
    """

    states: tuple[FocusState, ...]
    transition: NDArray[np.float64]
    """Chance of each state after each action from each state, (n_actions, n_states, n_states); an action that a state
    does not allow stays there."""
    known: NDArray[np.float64]
    """Expected share of foci whose evidence is held, (n_states,)."""

    @cached_property
    def progress(self) -> NDArray[np.float64]:
        """The shares of foci that can be closed, (n_foci + 1,)."""
        return np.linspace(0.0, 1.0, (self.n_foci or 0) + 1)

    @cached_property
    def end_value(self) -> NDArray[np.float64]:
        """Quality sigma of what is expected to be known, (n_states,)."""
        return self.quality(self.known)

    @cached_property
    def available(self) -> NDArray[np.bool_]:
        """Whether enough foci are open for the action, (n_actions, n_states)."""
        return np.array([[state.allows(action) for state in self.states] for action in self.actions])

    @cached_property
    def leave(self) -> NDArray[np.float64]:
        """Chance that an action leads to another state, (n_actions, n_states)."""
        away = self.transition.copy()
        n = len(self.states)
        away[:, np.arange(n), np.arange(n)] = 0.0
        return np.asarray(away.sum(axis=2))

    def ahead(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return E[V] after each action, (n_actions, ..., n_states), of V on the states, (..., n_states)."""
        return np.asarray(np.matmul(value, np.swapaxes(self.transition, 1, 2)))

    def successor(self, progress: float, searched: Searched = NEVER_SEARCHED) -> NDArray[np.float64]:
        """Return the chance of each state after each action, (n_actions, n_states)."""
        return np.asarray(self.transition[:, self._place(progress, searched)])

    def available_at(self, progress: float, searched: Searched = NEVER_SEARCHED) -> NDArray[np.bool_]:
        """Return whether each action has the foci that it needs, (n_actions,)."""
        return np.asarray(self.available[:, self._place(progress, searched)])

    def end_worth(self, progress: float, searched: Searched = NEVER_SEARCHED) -> float:
        """Return sigma of what is expected to be known."""
        return float(self.end_value[self._place(progress, searched)])

    def _place(self, progress: float, searched: Searched) -> int:
        """The number of a state; no more foci are searched than are open."""
        n_foci = self.n_foci or 0
        closed = round(progress * n_foci)
        twice = min(searched[1], n_foci - closed)
        once = min(searched[0], n_foci - closed - twice)
        return self._places[FocusState(closed, n_foci - closed - once - twice, once, twice)]

    @cached_property
    def _places(self) -> dict[FocusState, int]:
        return {state: place for place, state in enumerate(self.states)}


def transitions(
    states: tuple[FocusState, ...], actions: tuple[Action, ...], given: MdpParameters
) -> NDArray[np.float64]:
    """Chance of each state after each action from each state, (n_actions, n_states, n_states)."""
    places = {state: place for place, state in enumerate(states)}
    chance = np.zeros((len(actions), len(states), len(states)))
    for a, action in enumerate(actions):
        for state, place in places.items():
            if not state.allows(action):
                chance[a, place, place] = 1.0
                continue
            for after, p in successors(state, action, given):
                chance[a, place, places[after]] += p
    return chance
