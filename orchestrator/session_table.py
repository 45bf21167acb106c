"""The tables of the session file, and how what is past its time leaves them without any question waiting for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

__all__ = ["KEPT", "SCHEMA", "SCHEMA_VERSION", "delete_old", "stored_ids"]

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS session (
    session_id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    request BLOB NOT NULL,
    plan BLOB,
    answer BLOB,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    created_at_s REAL NOT NULL,
    updated_at_s REAL NOT NULL,
    expires_at_s REAL NOT NULL,
    resumed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS session_by_time ON session (created_at_s DESC, session_id DESC);
CREATE INDEX IF NOT EXISTS session_by_expiry ON session (expires_at_s);
CREATE INDEX IF NOT EXISTS session_ended ON session (created_at_s DESC, session_id DESC, status)
    WHERE status != 'running';
CREATE TABLE IF NOT EXISTS step (
    session_id TEXT NOT NULL REFERENCES session ON DELETE CASCADE,
    step_index INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (session_id, step_index)
) STRICT;
"""
SCHEMA_VERSION: Final = 1
KEPT: Final = "(status = 'running' OR expires_at_s >= ?)"
"""What is past its time is gone for readers before it is pruned. For one row or a page: no index serves it."""
# The times lie behind the answer in a row, so that a look at them in the table reads the whole answer, and one at every
# row the whole file. The first looks at rows that its index has found, whose status lies before the answer; the second
# at its index alone, which for that holds the status too.
_EXPIRED: Final = "SELECT rowid FROM session WHERE expires_at_s < ? AND status != 'running' LIMIT ?"
_BEYOND: Final = (
    "SELECT rowid FROM session WHERE status != 'running' ORDER BY created_at_s DESC, session_id DESC LIMIT ? OFFSET ?"
)


def delete_old(db: sqlite3.Connection, now: float, most: int, at_once: int) -> bool:
    """Delete some sessions that are past their time, and some of the oldest beyond the most; never a running one.

    Args:
        db: The file.
        now: Unix seconds; what expires before is past its time.
        most: Sessions kept besides the running ones.
        at_once: How many to delete of each, so that other work has its turn between two calls.

    Returns:
        Whether there may be more.
    """
    expired = db.execute(f"DELETE FROM session WHERE rowid IN ({_EXPIRED})", (now, at_once)).rowcount
    beyond = db.execute(f"DELETE FROM session WHERE rowid IN ({_BEYOND})", (at_once, most)).rowcount
    return at_once in (expired, beyond)


def stored_ids(db: sqlite3.Connection) -> Sequence[str]:
    """The id of every session in the file."""
    return [session_id for (session_id,) in db.execute("SELECT session_id FROM session")]
