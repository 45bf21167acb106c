"""Which session ids may be in a store's file, so that one that is not there is told without asking the file."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["KnownIds"]


class KnownIds:
    """Every id that is stored, and perhaps some that no longer are; before the first reading, any id.

    Ids are added before they are written and only taken out by a later reading of the file, so that whatever becomes of
    a write, none is missing. Belongs to the event loop's thread.
    """

    def __init__(self) -> None:
        self._stored: set[str] | None = None
        self._added: set[str] = set()
        self._before: set[str] = set()

    def __contains__(self, session_id: str) -> bool:
        """Whether it may be stored."""
        known = self._stored
        return known is None or session_id in known or session_id in self._added or session_id in self._before

    def add(self, session_id: str) -> None:
        """Note one that is about to be written."""
        self._added.add(session_id)

    def mark(self) -> None:
        """Begin a reading: what was added so far may be in it, what is added from now on need not be."""
        self._before |= self._added
        self._added = set()

    def replace(self, stored: Iterable[str]) -> None:
        """Take over what was read since the mark; what was added before it may still be being written."""
        self._stored = self._before | set(stored)
        self._before = set()

    def forget(self) -> None:
        """Let the file tell of every id."""
        self._stored = None
