"""What can go wrong before or while a stack runs; every message says what to do next."""

from __future__ import annotations

from argo.errors import InvalidArgumentError, NotReadyError

__all__ = ["DocumentsError", "PortInUseError", "StackRunningError", "StartError"]


class DocumentsError(InvalidArgumentError):
    """The documents folder is missing, not a folder, or empty."""


class PortInUseError(NotReadyError):
    """Another process listens on a port that a service needs."""


class StackRunningError(NotReadyError):
    """Another launcher owns this state folder, or the index of these documents."""


class StartError(NotReadyError):
    """A service died before it served, or did not serve in time."""
