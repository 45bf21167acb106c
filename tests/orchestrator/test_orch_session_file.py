"""The session file: work in order, what waits together committed together, a failure that takes no other with it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn

import pytest

from argo.errors import ArgoError, NotReadyError
from orchestrator.session import StoreNotReadyError, StoreUnavailableError
from orchestrator.session_fault import FaultTeller, StoreFault
from orchestrator.session_file import SessionFile

_SCHEMA = "CREATE TABLE IF NOT EXISTS entry (name TEXT PRIMARY KEY) STRICT;"


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SessionFile]:
    made = SessionFile(tmp_path / "sessions.db", _SCHEMA, 1)
    await made.open()
    yield made
    await made.close()


def _insert(db: sqlite3.Connection, name: str) -> None:
    db.execute("INSERT INTO entry VALUES (?)", (name,))


async def _names(file: SessionFile) -> list[str]:
    return await file.run(lambda db: [name for (name,) in db.execute("SELECT name FROM entry ORDER BY rowid")])


class Held:
    """Keeps the file's thread busy, so that work has to wait."""

    def __init__(self, file: SessionFile) -> None:
        self._release = threading.Event()
        self._task = asyncio.create_task(file.run(lambda db: self._release.wait(10)))

    async def release(self) -> None:
        self._release.set()
        assert await self._task


async def test_what_waits_together_shares_one_commit_and_keeps_its_order(file: SessionFile) -> None:
    statements: list[str] = []
    await file.run(lambda db: db.set_trace_callback(statements.append))
    held = Held(file)
    await asyncio.sleep(0)  # the held work is taken up first
    waiting = [asyncio.create_task(file.run(lambda db, name=name: _insert(db, name))) for name in "cab"]
    await asyncio.sleep(0)
    statements.clear()
    await held.release()
    await asyncio.gather(*waiting)
    assert statements.count("COMMIT") <= 2  # the held work's, and one for all that waited
    assert await _names(file) == ["c", "a", "b"]


async def test_work_that_fails_is_undone_alone(file: SessionFile) -> None:
    def half(db: sqlite3.Connection) -> None:
        _insert(db, "half")
        raise ValueError("the other half is missing")

    held = Held(file)
    await asyncio.sleep(0)
    before, failing, after = (
        asyncio.create_task(file.run(work))
        for work in (lambda db: _insert(db, "before"), half, lambda db: _insert(db, "after"))
    )
    await asyncio.sleep(0)
    await held.release()
    await asyncio.gather(before, after)
    with pytest.raises(ValueError, match="the other half is missing"):
        await failing
    assert await _names(file) == ["before", "after"]


async def test_a_caller_that_is_cancelled_does_not_stop_its_work(file: SessionFile) -> None:
    held = Held(file)
    await asyncio.sleep(0)
    leaving = asyncio.create_task(file.run(lambda db: _insert(db, "kept")))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await held.release()
    assert await _names(file) == ["kept"]


async def test_a_closed_file_says_so(tmp_path: Path) -> None:
    made = SessionFile(tmp_path / "sessions.db", _SCHEMA, 1)
    with pytest.raises(NotReadyError, match="the session store is closed"):
        await made.run(lambda db: _insert(db, "a"))


async def test_a_file_closed_meanwhile_refuses_every_work_and_holds_none(tmp_path: Path) -> None:
    made = SessionFile(tmp_path / "sessions.db", _SCHEMA, 1)
    await made.open()
    await made.close()
    for _ in range(3):
        with pytest.raises(NotReadyError, match="the session store is closed"):
            await asyncio.wait_for(made.run(lambda db: _insert(db, "a")), 5)


async def test_a_work_that_ends_the_whole_transaction_takes_no_other_with_it(file: SessionFile) -> None:
    await file.run(lambda db: db.execute("PRAGMA max_page_count = 12"))
    held = Held(file)
    await asyncio.sleep(0)
    before, failing, after = (
        asyncio.create_task(file.run(work))
        for work in (
            lambda db: _insert(db, "before"),
            lambda db: _insert(db, "x" * 1_000_000),
            lambda db: _insert(db, "after"),
        )
    )
    await asyncio.sleep(0)
    await held.release()
    await asyncio.gather(before, after)
    with pytest.raises(StoreNotReadyError, match="its disk is full"):
        await failing
    assert await _names(file) == ["before", "after"]


async def test_a_file_that_another_program_has_locked_is_unavailable(file: SessionFile, tmp_path: Path) -> None:
    await file.run(lambda db: db.execute("PRAGMA busy_timeout = 50"))
    with contextlib.closing(sqlite3.connect(tmp_path / "sessions.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match=r"^the session store \(SQLite\) is locked by another"):
            await file.run(lambda db: _insert(db, "a"))
        other.rollback()
    await file.run(lambda db: _insert(db, "b"))
    assert await _names(file) == ["b"]


def _raising(code: int) -> Callable[[sqlite3.Connection], NoReturn]:
    """Work that fails as SQLite does on a file that is at fault."""

    def work(db: sqlite3.Connection) -> NoReturn:
        error = sqlite3.OperationalError("driver text with /a/path")
        error.sqlite_errorcode = code
        raise error

    return work


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        (sqlite3.SQLITE_BUSY, StoreUnavailableError, "is locked by another program"),
        (sqlite3.SQLITE_FULL, StoreNotReadyError, "its disk is full"),
        (sqlite3.SQLITE_READONLY, StoreNotReadyError, "see to its disk and to who may write there"),
        (sqlite3.SQLITE_IOERR, StoreNotReadyError, "see to its disk and to who may write there"),
        (sqlite3.SQLITE_CORRUPT, StoreNotReadyError, "is damaged"),
    ],
)
async def test_a_caller_is_told_who_must_act_and_the_log_where_and_why(
    file: SessionFile, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int, kind: type[ArgoError], told: str
) -> None:
    for _ in range(3):
        with pytest.raises(kind) as refused:
            await file.run(_raising(code))
        message = str(refused.value)
        assert message.startswith("the session store (SQLite) ")
        assert told in message and "an operator must" in message
        assert str(tmp_path) not in message and "/a/path" not in message and "session_path" not in message
    # Once, however many ask.
    [logged] = caplog.messages
    assert logged.startswith(f"session_path {tmp_path / 'sessions.db'} ") and told in logged


def test_a_fault_that_lasts_is_logged_each_minute_and_one_that_changes_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [100.0]
    monkeypatch.setattr("orchestrator.session_fault.time.monotonic", lambda: clock[0])
    teller = FaultTeller("SQLite")
    full, locked = (StoreFault(StoreNotReadyError, name, f"/path is {name}") for name in ("full", "locked"))
    for at, fault in ((100.0, full), (159.0, full), (160.0, full), (161.0, locked), (162.0, full)):
        clock[0] = at
        assert str(teller.told(fault)) == f"the session store (SQLite) {fault.public}"
    assert caplog.messages == ["/path is full", "/path is full", "/path is locked", "/path is full"]


async def test_what_only_reads_goes_on_while_another_program_has_the_lock(file: SessionFile, tmp_path: Path) -> None:
    await file.run(lambda db: _insert(db, "a"))
    await file.run(lambda db: db.execute("PRAGMA busy_timeout = 50"))
    read = lambda db: db.execute("SELECT name FROM entry").fetchall()  # noqa: E731
    with contextlib.closing(sqlite3.connect(tmp_path / "sessions.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await file.run(read, writes=False) == [("a",)]
        # Also where it waits together with what writes.
        held = Held(file)
        await asyncio.sleep(0)
        writing, reading = (
            asyncio.create_task(file.run(lambda db: _insert(db, "b"))),
            asyncio.create_task(file.run(read, writes=False)),
        )
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailableError):
            await held.release()
        with pytest.raises(StoreUnavailableError):
            await writing
        assert await reading == [("a",)]
        other.rollback()


async def test_a_lock_is_not_waited_for_by_each_in_turn(file: SessionFile, tmp_path: Path) -> None:
    waits_s = 0.2
    await file.run(lambda db: db.execute(f"PRAGMA busy_timeout = {round(waits_s * 1000)}"))
    with contextlib.closing(sqlite3.connect(tmp_path / "sessions.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        tasks = [asyncio.create_task(file.run(lambda db, n=n: _insert(db, str(n)))) for n in range(50)]
        refused = await asyncio.gather(*tasks, return_exceptions=True)
        taken_s = time.monotonic() - started
        other.rollback()
    assert {type(error) for error in refused} == {StoreUnavailableError}
    # In turn it would be ten seconds; the first may be taken up alone.
    assert taken_s < 5 * 2 * waits_s
