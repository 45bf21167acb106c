"""What a dead orchestrator's session file holds, read directly and without touching it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from argo.v1 import session_pb2


@dataclass(frozen=True)
class Stored:
    """One session as its rows are."""

    status: str
    answer: bytes | None
    steps: Mapping[int, bytes]
    """RecordedStep by its index."""

    @property
    def passages(self) -> set[str]:
        """Ids of all passages that its recorded steps retrieved."""
        records = (session_pb2.RecordedStep.FromString(step) for step in self.steps.values())
        return {passage.id for record in records for search in record.searches for passage in search.passages}


def read_store(path: Path) -> dict[str, Stored]:
    """All sessions of a file, whose own checks it passes.

    A copy is read: SQLite would play the write-ahead log into the file, which is the next orchestrator's to do.

    Args:
        path: The session file of an orchestrator that is dead.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal"):
            if (part := path.with_name(path.name + suffix)).exists():
                shutil.copyfile(part, copy.with_name(copy.name + suffix))
        with closing(sqlite3.connect(copy)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
            assert db.execute("PRAGMA foreign_key_check").fetchall() == [], path
            steps: dict[str, dict[int, bytes]] = {}
            for session_id, index, record in db.execute("SELECT session_id, step_index, record FROM step"):
                found = steps.setdefault(session_id, {})
                assert index not in found, f"{session_id} has step {index} twice"
                found[index] = record
            rows = db.execute("SELECT session_id, status, answer FROM session").fetchall()
    assert len({row[0] for row in rows}) == len(rows), "a session is there twice"
    return {session_id: Stored(status, answer, steps.get(session_id, {})) for session_id, status, answer in rows}


def check_kept(before: Mapping[str, Stored], after: Mapping[str, Stored]) -> None:
    """What was recorded at one death is there at the next one, byte for byte, and steps have no gap."""
    for session_id, stored in after.items():
        numbers = sorted(stored.steps)
        assert numbers == list(range(1, len(numbers) + 1)), f"{session_id} has steps {numbers}"
    for session_id, stored in before.items():
        now = after.get(session_id)
        assert now is not None, f"{session_id} was recorded and is gone"
        assert stored.steps.items() <= now.steps.items(), f"{session_id} lost or changed a step"
        if stored.answer is not None:
            assert now.answer == stored.answer, f"the answer of {session_id} changed"
