"""The progress MDP: what each action does to progress, what it costs and how long it takes.

Progress only ever moves by one of a few gains, so the model is a table of gains and of each action's chance of each
gain. Next states that fall between grid points are interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from argo.errors import InvalidArgumentError
from orchestrator.action import Action
from orchestrator.quality import Quality

__all__ = ["NEVER_SEARCHED", "ProgressMdp", "Searched"]

Searched: TypeAlias = tuple[int, int]
"""Open foci that were searched once, and those that were searched more often."""
NEVER_SEARCHED: Final[Searched] = (0, 0)

_SNAP: Final = 1e-9  # grid spacings; a next state nearer than this to a grid point is on it
_ON_GRID: Final = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class ProgressMdp:
    """One process to solve. Column a of every array below belongs to `actions[a]`; TERMINATE is not among them."""

    actions: tuple[Action, ...]
    """RETRIEVE by fan-out and, where a language model runs, REASON; cheaper first, ties by fewer subqueries."""
    cost: NDArray[np.float64]
    """mu * c_a in answer quality, (n_actions,)."""
    rules_cost: NDArray[np.float64]
    """mu * c_w for each subquery, (n_actions,): what an action costs besides where rules word what a model would."""
    gain: NDArray[np.float64]
    """Every progress gain that an action can have, (n_gains,)."""
    probability: NDArray[np.float64]
    """Chance of each gain, (n_actions, n_gains); rows add up to 1."""
    n_progress: int
    """Evenly spaced progress points over [0, 1]."""
    discount: float
    """gamma, per step."""
    quality: Quality
    """sigma."""
    n_foci: int | None = None
    """Foci whose closing is the progress; None where progress is not tied to foci. Where set, an action needs as many
    open foci as it works on, and progress is a multiple of 1 / n_foci."""
    max_sweeps: int = 100_000
    """Sweeps after which value iteration gives up."""

    @cached_property
    def progress(self) -> NDArray[np.float64]:
        """The grid, (n_progress,)."""
        return np.linspace(0.0, 1.0, self.n_progress)

    @cached_property
    def end_value(self) -> NDArray[np.float64]:
        """Quality sigma on the grid, (n_progress,): what terminating is worth in time."""
        return self.quality(self.progress)

    @cached_property
    def available(self) -> NDArray[np.bool_]:
        """Whether enough foci are open for the action, (n_actions, n_progress)."""
        return np.stack([self.available_at(u) for u in self.progress], axis=1)

    @cached_property
    def leave(self) -> NDArray[np.float64]:
        """Chance that an action moves progress off its grid point, (n_actions, n_progress); exactly 0 at U = 1."""
        low, share = self._split(self.gain)
        away = np.tile(np.where(low == 0, share, 1.0)[:, None], (1, self.n_progress))
        away[:, -1] = 0.0
        return np.asarray(self.probability @ away, dtype=np.float64)

    def ahead(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return V after each gain, (n_gains, ..., n_progress), of V on the grid, (..., n_progress).

        Next states fall between grid points; rounding them biases V(0), so interpolate. On an even grid a gain is a
        shift. Beyond progress 1, where progress is clipped, V is V(1).
        """
        last = self.n_progress - 1
        after = np.empty((len(self.gain), *value.shape))
        for target, low, share in zip(after, *self._split(self.gain), strict=True):
            within = self.n_progress - low
            target[..., within - 1 :] = value[..., last:]
            target[..., : within - 1] = (1.0 - share) * value[..., low:last]
            if share > 0.0:
                target[..., : within - 1] += share * value[..., low + 1 :]
        return after

    def end_worth(self, progress: float, searched: Searched = NEVER_SEARCHED) -> float:
        """Return sigma(U), from any progress. How often foci were searched makes no difference to this process."""
        return float(self.quality(progress))

    def successor(self, progress: float, searched: Searched = NEVER_SEARCHED) -> NDArray[np.float64]:
        """Return the chance of each grid point after each action, (n_actions, n_progress), from any progress.

        A next state between two grid points is split between them, which interpolates V. How often foci were searched
        makes no difference to this process.
        """
        low, share = self._split(np.minimum(progress + self.gain, 1.0))
        weight = np.zeros((len(self.gain), self.n_progress))
        rows = np.arange(len(self.gain))
        weight[rows, low] = 1.0 - share
        weight[rows, np.minimum(low + 1, self.n_progress - 1)] += share
        return np.asarray(self.probability @ weight, dtype=np.float64)

    def _split(self, progress: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the grid point at or below each progress, and the share of the point above it."""
        position = np.minimum(progress, 1.0) * (self.n_progress - 1)
        nearest = np.rint(position)
        position = np.where(np.abs(position - nearest) < _SNAP, nearest, position)
        low = position.astype(np.intp)
        return low, position - low

    def available_at(self, progress: float, searched: Searched = NEVER_SEARCHED) -> NDArray[np.bool_]:
        """Return whether each action has the open foci that it needs, (n_actions,)."""
        if self.n_foci is None:
            return np.ones(len(self.actions), dtype=np.bool_)
        open_foci = self.n_foci - round(progress * self.n_foci)
        return np.array([max(action.fan_out, 1) <= open_foci for action in self.actions], dtype=np.bool_)

    def check_progress(self, progress: float) -> float:
        """Return progress as a state of this process.

        Raises:
            InvalidArgumentError: Outside [0, 1], or not a multiple of 1 / n_foci where progress counts foci.
        """
        if not 0.0 <= progress <= 1.0:
            raise InvalidArgumentError(f"progress must be in [0, 1], got {progress!r}")
        if self.n_foci is None:
            return progress
        closed = round(progress * self.n_foci)
        if abs(progress * self.n_foci - closed) > _ON_GRID:
            raise InvalidArgumentError(f"progress must be a multiple of 1/{self.n_foci}, got {progress!r}")
        return closed / self.n_foci
