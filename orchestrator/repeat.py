"""The budget of calls that are made once more: enough for connections that break at times, nothing for a storm.

Source: gRFC A6, "Throttling Retry Attempts and Hedged RPCs", whose numbers towards one address these are.
"""

from __future__ import annotations

from typing import Final

__all__ = ["RepeatBudget"]

_MOST: Final = 10.0
_EARNED: Final = 0.1


class RepeatBudget:
    """Of the calls to one service; full at first."""

    def __init__(self) -> None:
        self._left = _MOST

    def take(self) -> bool:
        """Whether one call may be made once more."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def earn(self) -> None:
        """A call succeeded."""
        self._left = min(_MOST, self._left + _EARNED)
