"""A door that many may be inside of at once, and that one may close to be alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from argo.errors import UnavailableError

__all__ = ["Gate"]


class Gate:
    """Keeps whoever changes a thing and those that use it apart; users do not wait for each other.

    Args:
        busy: What to tell those that would not wait for the change.
    """

    def __init__(self, busy: str) -> None:
        self._busy = busy
        self._inside = 0
        self._closed = False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def inside(self, *, wait: bool = True) -> Iterator[None]:
        """Be one of many; waits while somebody is alone.

        Args:
            wait: Whether to wait for that.

        Raises:
            UnavailableError: Somebody is alone, or about to be, and it was not to wait.
        """
        with self._changed:
            if self._closed and not wait:
                raise UnavailableError(self._busy)
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one; waits until all others have left. Not from inside."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()
