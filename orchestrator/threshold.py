"""Thresholds of a solved policy, and whether they say what its action table says.

The policy that runs is the table. Two thresholds describe it only where RETRIEVE comes before REASON in one band each.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from orchestrator.action import Action, ActionKind

__all__ = ["ActionBand", "Thresholds", "Verdict", "action_bands", "find_thresholds"]


class Verdict(enum.Enum):
    """Shape of the table over progress, at one time left."""

    ONE_ACTION = "one_action"
    """At most one kind of action besides TERMINATE."""
    TWO_THRESHOLD = "two_threshold"
    """RETRIEVE, REASON, TERMINATE in that order, one band each."""
    INTERLEAVED = "interleaved"
    """Any other."""


@dataclass(frozen=True)
class ActionBand:
    """A stretch of neighbouring grid points with the same action; both ends belong to it."""

    from_progress: float
    to_progress: float
    action: Action


@dataclass(frozen=True)
class Thresholds:
    """The two thresholds of the table, with their verdict."""

    theta_cont: float
    """Least progress at which no RETRIEVE is chosen."""
    theta_star: float
    """Least progress from which TERMINATE is always chosen."""
    verdict: Verdict
    describes_table: bool
    """Whether "RETRIEVE below theta_cont, then REASON below theta_star, then TERMINATE" is the table, fan-out aside."""


def find_thresholds(progress: Sequence[float], actions: Sequence[Action]) -> Thresholds:
    """Return the thresholds of one column of the action table.

    Args:
        progress: Grid points, rising to 1.
        actions: Action chosen at each; the last is TERMINATE, since nothing is worth more than ending at U = 1.
    """
    kinds = [action.kind for action in actions]
    cont = next(i for i, kind in enumerate(kinds) if kind is not ActionKind.RETRIEVE)
    star = next(i for i in range(len(kinds)) if all(kind is ActionKind.TERMINATE for kind in kinds[i:]))
    order = [kind for kind, _ in groupby(kinds)]
    if len(set(kinds) - {ActionKind.TERMINATE}) <= 1:
        verdict = Verdict.ONE_ACTION
    elif order == [ActionKind.RETRIEVE, ActionKind.REASON, ActionKind.TERMINATE]:
        verdict = Verdict.TWO_THRESHOLD
    else:
        verdict = Verdict.INTERLEAVED
    describes = all(kind is ActionKind.REASON for kind in kinds[cont:star])
    return Thresholds(float(progress[cont]), float(progress[star]), verdict, describes)


def action_bands(progress: Sequence[float], actions: Sequence[Action]) -> tuple[ActionBand, ...]:
    """Return the bands of one column of the action table, in order of progress; fan-outs are bands of their own."""
    bands = []
    for action, run in groupby(zip(progress, actions, strict=True), key=lambda point: point[1]):
        points = [float(point[0]) for point in run]
        bands.append(ActionBand(points[0], points[-1], action))
    return tuple(bands)
