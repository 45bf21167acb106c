"""How long to wait before a service that died is started again."""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """Exponential waits with a cap; a life of some length starts the count again.

    Args:
        initial_s: Wait after the first death.
        cap_s: Longest wait.
        reset_s: Seconds of health after which a death counts as the first.
    """

    def __init__(self, initial_s: float, cap_s: float, reset_s: float) -> None:
        self._initial_s = initial_s
        self._cap_s = cap_s
        self._reset_s = reset_s
        self.deaths = 0

    def next_s(self, healthy_s: float) -> float:
        """Count a death and say how many seconds to wait.

        Args:
            healthy_s: Seconds that the process had been SERVING when it died; 0 where it never was.
        """
        if healthy_s >= self._reset_s:
            self.deaths = 0
        self.deaths += 1
        # The exponent is bounded so that a crash loop of days cannot overflow a float.
        return min(self._cap_s, self._initial_s * 2.0 ** min(self.deaths - 1, 60))

    @property
    def capped(self) -> bool:
        """Whether the wait has reached its cap, which is when a death is a crash loop."""
        return self._initial_s * 2.0 ** min(self.deaths - 1, 60) >= self._cap_s
