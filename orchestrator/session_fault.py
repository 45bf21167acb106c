"""What a failing session store tells whom: a caller what it is and who must act, the log where and why."""

from __future__ import annotations

import logging
import time
from typing import Final, NamedTuple

from orchestrator.session import StoreError

__all__ = ["FaultTeller", "StoreFault"]

_LOG = logging.getLogger(__name__)
_AGAIN_S: Final = 60.0
"""Every question meets a store that fails; one line a minute says so as well as thousands."""


class StoreFault(NamedTuple):
    """What is wrong with a store."""

    kind: type[StoreError]
    public: str
    """For callers: no path, no host and nothing that the store's library says."""
    detail: str
    """For whoever runs it."""


class FaultTeller:
    """Logs a fault once until it changes or a minute has passed, and makes the error that its caller gets.

    Args:
        store: The kind of store, for messages.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._said = ""
        self._again_at = 0.0

    def told(self, fault: StoreFault) -> StoreError:
        """The caller's error."""
        now = time.monotonic()
        if fault.public != self._said or now >= self._again_at:
            self._said, self._again_at = fault.public, now + _AGAIN_S
            _LOG.error("%s", fault.detail)
        return fault.kind(f"the session store ({self._store}) {fault.public}")
