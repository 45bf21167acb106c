"""The actions of the decision process: RETRIEVE with a fan-out, REASON, TERMINATE."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from argo.limits import FAN_OUT, check_range

__all__ = ["REASON", "TERMINATE", "Action", "ActionKind", "retrieve"]


class ActionKind(enum.Enum):
    """What an action does, whatever its fan-out."""

    TERMINATE = "terminate"
    RETRIEVE = "retrieve"
    REASON = "reason"


@dataclass(frozen=True)
class Action:
    """One action; `fan_out` counts the parallel subqueries of a RETRIEVE and is 0 for the other kinds."""

    kind: ActionKind
    fan_out: int = 0

    def __str__(self) -> str:
        if self.kind is ActionKind.RETRIEVE:
            return f"RETRIEVE({self.fan_out})"
        return self.kind.name


TERMINATE: Final = Action(ActionKind.TERMINATE)
"""Write the answer now."""
REASON: Final = Action(ActionKind.REASON)
"""Ask the model for one note on one open focus."""


def retrieve(fan_out: int) -> Action:
    """Return RETRIEVE with that many parallel subqueries.

    Raises:
        InvalidArgumentError: The fan-out is outside 1..8.
    """
    return Action(ActionKind.RETRIEVE, check_range("fan_out", fan_out, FAN_OUT))
