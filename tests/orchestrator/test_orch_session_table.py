"""What leaves the session file, in what portions, and what is read to find it."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator

import pytest

from orchestrator.session_table import SCHEMA, delete_old, stored_ids

NOW = 1_000.0
ROWS = 300


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """Sessions s0 to s299, a second apart, of which every tenth runs; each ended one has three steps."""
    with contextlib.closing(sqlite3.connect(":memory:")) as made:
        made.execute("PRAGMA foreign_keys = ON")
        made.executescript(SCHEMA)
        for n in range(ROWS):
            add(made, f"s{n}", "running" if n % 10 == 0 else "finished", created=float(n), expires=NOW + n)
        yield made


def add(db: sqlite3.Connection, name: str, status: str, *, created: float, expires: float) -> None:
    db.execute(
        "INSERT INTO session (session_id, status, request, answer, created_at_s, updated_at_s, expires_at_s)"
        " VALUES (?, ?, x'00', zeroblob(12000), ?, ?, ?)",
        (name, status, created, created, expires),
    )
    for index in range(3):
        db.execute("INSERT INTO step VALUES (?, ?, x'00')", (name, index))


def test_nothing_is_looked_at_but_what_goes_and_an_index(db: sqlite3.Connection) -> None:
    ran: list[str] = []
    db.set_trace_callback(ran.append)
    delete_old(db, NOW, ROWS, 50)
    db.set_trace_callback(None)
    deletes = [statement for statement in ran if statement.startswith("DELETE")]
    plans = [[row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {delete}")] for delete in deletes]
    # Its own rows, those of one index, and the steps of its own rows.
    own = "SEARCH session USING INTEGER PRIMARY KEY (rowid=?)"
    steps = "SEARCH step USING COVERING INDEX sqlite_autoindex_step_1 (session_id=?)"
    assert [[step for step in plan if step.startswith(("SCAN", "SEARCH"))] for plan in plans] == [
        [own, "SEARCH session USING INDEX session_by_expiry (expires_at_s<?)", steps],
        [own, "SCAN session USING COVERING INDEX session_ended", steps],
    ]
    # A sort would read all of them first.
    assert not any("TEMP B-TREE" in step for plan in plans for step in plan)


def test_what_is_past_its_time_goes_with_its_steps_but_never_what_runs(db: sqlite3.Connection) -> None:
    # Past their time are s0 to s19, and two of these run.
    assert not delete_old(db, NOW + 20, ROWS, 50)
    assert set(stored_ids(db)) == {"s0", "s10", *(f"s{n}" for n in range(20, ROWS))}
    assert db.execute("SELECT count(*) FROM step").fetchone() == (3 * (ROWS - 18),)


def test_as_many_as_are_kept_stay_besides_what_runs(db: sqlite3.Connection) -> None:
    while delete_old(db, NOW, 20, 50):
        pass
    ended = [n for n in range(ROWS) if n % 10]
    running = [n for n in range(ROWS) if n % 10 == 0]
    assert set(stored_ids(db)) == {f"s{n}" for n in [*ended[-20:], *running]}


@pytest.mark.parametrize(("now", "most"), [(NOW + ROWS, ROWS), (NOW, 20)], ids=["past their time", "beyond the most"])
def test_no_more_go_at_once_than_is_said(db: sqlite3.Connection, now: float, most: int) -> None:
    left = [len(stored_ids(db))]
    more = True
    while more:
        more = delete_old(db, now, most, 50)
        left.append(len(stored_ids(db)))
    # Of 270 that ended, all or all but 20 go; the last look finds fewer than 50, or none.
    assert [before - after for before, after in itertools.pairwise(left)] in (
        [50, 50, 50, 50, 50, 20],
        [50, 50, 50, 50, 50, 0],
    )
