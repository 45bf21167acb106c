"""A circuit breaker towards one service or a replica of it: what fails again and again is not waited for every time.

Closed, it only counts. After so many failures in a row it opens: calls fail at once, so that the degradation ladder's
next rung is taken without waiting for a deadline. When it has been open for a while, one call is let through (half
open); its success closes the breaker, its failure opens it for as long again. Where the connection was lost and is
there again, that call need not wait: a process that was started anew answers from its first second on.

Source: M. Nygard, Release It! (2nd edition, 2018), "Circuit Breaker".
"""

from __future__ import annotations

import contextlib
import enum
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

from argo.errors import ArgoError, DeadlineExceededError, UnavailableError

__all__ = ["Breaker", "BreakerOpenError", "BreakerState"]

_LOG = logging.getLogger(__name__)
_TELLING_S: Final = 0.1
"""A call that was given less may have missed its deadline for want of time, not of a service."""


class BreakerOpenError(UnavailableError):
    """The service failed again and again, and is not called for now."""


class BreakerState(enum.Enum):
    """How a breaker stands; the value is its place on a gauge."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Watches the calls to one service.

    Args:
        service: Its name, for messages.
        failures: Calls that must fail in a row, by UNAVAILABLE or DEADLINE_EXCEEDED, before it opens.
        open_s: Seconds from its opening to the call that is let through.
        clock: Seconds that only grow.
        connected: Whether there is a connection to the service now.
    """

    def __init__(
        self,
        service: str,
        failures: int,
        open_s: float,
        clock: Callable[[], float] = time.monotonic,
        connected: Callable[[], bool] = lambda: True,
    ) -> None:
        self.service = service
        self.state = BreakerState.CLOSED
        self.opened = 0
        """Times that it opened."""
        self._most = failures
        self._open_s = open_s
        self._clock = clock
        self._connected = connected
        self._lost = False
        """Whether the connection was seen to be gone since it opened."""
        self._failures = 0
        self._opened_at = 0.0
        self._probing = False

    @contextlib.contextmanager
    def call(self, timeout_s: float) -> Iterator[None]:
        """Hold one call to the service.

        Args:
            timeout_s: Seconds that the call may take.

        Raises:
            BreakerOpenError: The service is not called for now.
        """
        probe = self._enter()
        try:
            yield
        except (UnavailableError, DeadlineExceededError) as error:
            if isinstance(error, UnavailableError) or timeout_s >= _TELLING_S:
                self._failed(probe, error)
            raise
        except ArgoError:
            # A status of any other kind comes from a service that answers.
            self._answered(probe)
            raise
        else:
            self._answered(probe)
        finally:
            # Also where the caller left, or time was too short: the next call is the one to tell.
            if probe:
                self._probing = False

    def lets(self) -> bool:
        """Whether a call would be let through now."""
        if self.state is BreakerState.CLOSED:
            return True
        return not self._probing and (self.state is BreakerState.HALF_OPEN or self._due())

    def _due(self) -> bool:
        """Whether an open one has been open for long enough."""
        return self._clock() >= self._opened_at + self._open_s or self._back()

    def _enter(self) -> bool:
        """Whether the call is the one that tells if the service is back."""
        if self.state is BreakerState.CLOSED:
            return False
        if self.state is BreakerState.OPEN and self._due():
            self.state = BreakerState.HALF_OPEN
        if self.state is BreakerState.OPEN or self._probing:
            raise BreakerOpenError(f"the {self.service} failed {self._most} times in a row and is not called for now")
        self._probing = True
        return True

    def _back(self) -> bool:
        """Whether the connection came back while it was open; one that was there all along tells nothing."""
        connected = self._connected()
        self._lost = self._lost or not connected
        return self._lost and connected

    def _answered(self, probe: bool) -> None:
        if probe:
            _LOG.info("the %s answers again", self.service)
            self.state = BreakerState.CLOSED
        # An answer to a call from before it opened says nothing of the time since.
        if self.state is BreakerState.CLOSED:
            self._failures = 0

    def _failed(self, probe: bool, error: ArgoError) -> None:
        self._failures += 1
        if not probe and (self.state is not BreakerState.CLOSED or self._failures < self._most):
            return
        if not probe:
            _LOG.warning("the %s failed %d times in a row, now %s", self.service, self._failures, error.code.name)
        self.state = BreakerState.OPEN
        self.opened += 1
        self._opened_at = self._clock()
        self._lost = not self._connected()
