"""The budget of calls that are made once more: enough for connections that break at times, nothing for a storm.

Source: gRFC A6, "Throttling Retry Attempts and Hedged RPCs", whose numbers towards one address these are.
"""

from __future__ import annotations

from typing import Final

__all__ = ["RepeatBudget"]

_MOST: Final = 10.0
_EARNED: Final = 0.1
_MOST_REPLICAS: Final = 40.0
"""A fifth of the 200 calls that a busy orchestrator may make at once."""


class RepeatBudget:
    """Of the calls to one service; full at first.

    Args:
        most: Calls that may be made once more with none that succeeds.
        earned: What each that succeeds adds.
    """

    def __init__(self, most: float = _MOST, earned: float = _EARNED) -> None:
        self._most = most
        self._earned = earned
        self._left = most

    @classmethod
    def of_replicas(cls) -> RepeatBudget:
        """Towards several: as long as half of the calls succeed, the other half may be made on another replica."""
        return cls(_MOST_REPLICAS, 1.0)

    def take(self) -> bool:
        """Whether one call may be made once more."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def earn(self) -> None:
        """A call succeeded."""
        self._left = min(self._most, self._left + self._earned)
