"""How fast an engine answers now, from how fast it answered of late."""

from __future__ import annotations

from typing import Final

from services.engine.port import Generated
from services.engine.warm_up import Pace

__all__ = ["RunningPace"]

_RECENT: Final = 0.1
"""Weight of the latest generation in the running pace."""
_HALF_LIFE_S: Final = 5.0
"""Seconds without a generation in which half of what load did to the pace is forgotten."""


class RunningPace:
    """How fast answers come now: an engine's pace alone, moved by every generation, and drifting back without any.

    Without the drift a burst could shut the model out for good: while its pace leaves too little time for an answer,
    nothing asks it, and so nothing would ever measure it again.

    Args:
        alone: Pace of one request alone.
    """

    def __init__(self, alone: Pace) -> None:
        self._alone = alone
        self._noted = alone
        self._noted_at = 0.0

    def at(self, now: float) -> Pace:
        """The pace at a time of a clock in seconds that never goes back."""
        kept = 0.5 ** (max(0.0, now - self._noted_at) / _HALF_LIFE_S)
        return Pace(
            self._alone.ttft_s + kept * (self._noted.ttft_s - self._alone.ttft_s),
            self._alone.tpot_s + kept * (self._noted.tpot_s - self._alone.tpot_s),
        )

    def note(self, generated: Generated, now: float) -> None:
        """Move it by what a generation took."""
        if not generated.completion_tokens:
            return
        before, tpot_s = self.at(now), generated.tpot_s
        self._noted_at = now
        self._noted = Pace(
            before.ttft_s + _RECENT * (generated.timing.ttft_s - before.ttft_s),
            before.tpot_s + (_RECENT * (tpot_s - before.tpot_s) if tpot_s is not None else 0.0),
        )
