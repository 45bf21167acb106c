"""How far past the time that it was given an answer comes, which the next questions keep back from their budgets.

An answer that is cut off at its limit still has to be finished, sent and handed on. On an idle machine that takes a
millisecond or two; where processors are short, a tenth of a second. It is measured here as it is, whatever the reason.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["Lateness"]

_KEPT: Final = 256
_FOR_S: Final = 60.0
"""What was late longer ago says nothing of now."""
_QUANTILE: Final = 0.99
"""The share of answers that is to come within its budget."""
_MOST_OF_BUDGET: Final = 0.2
"""So that a stack in trouble still spends its time on answers."""


class Lateness:
    """The latest answers, and how late each was.

    Args:
        now: Seconds on a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._late: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    def note(self, late_s: float) -> None:
        """An answer came so many seconds after the time that it was given; negative where it came before."""
        self._late.append((self._now(), max(0.0, late_s)))

    def margin_s(self, budget_s: float) -> float:
        """What to keep back from a budget, in seconds: the 99th percentile of the last minute, a fifth at most."""
        since = self._now() - _FOR_S
        late = sorted(late_s for at, late_s in self._late if at >= since)
        if not late:
            return 0.0
        # The nearest rank: of a few answers, the latest.
        return min(late[math.ceil(_QUANTILE * len(late)) - 1], _MOST_OF_BUDGET * budget_s)
