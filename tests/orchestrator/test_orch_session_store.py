"""The session store on SQLite: its file, who may read it, and what is found in it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from argo.errors import NotFoundError, NotReadyError
from argo.v1 import orchestrator_pb2, session_pb2, types_pb2
from orchestrator.session import SessionStatus, StoreNotReadyError, StoreUnavailableError
from orchestrator.session_ids import KnownIds
from orchestrator.session_sqlite import SqliteSessionStore

REQUEST = orchestrator_pb2.AskRequest(question="What is E2?", session_id="s1", seed=7)
HOUR_S = 3600.0
PATIENCE_S = 20.0


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteSessionStore]:
    opened = SqliteSessionStore(tmp_path / "folder" / "sessions.db", HOUR_S)
    await opened.open()
    yield opened
    await opened.close()


def step(index: int, text: str = "find") -> session_pb2.RecordedStep:
    return session_pb2.RecordedStep(
        finished=orchestrator_pb2.StepFinished(index=index, progress_after=index / 10),
        searches=[orchestrator_pb2.PassagesEvent(step=index, subquery=types_pb2.Subquery(text=text))],
    )


async def test_what_a_dead_orchestrator_left_running_is_interrupted_when_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    first = SqliteSessionStore(path, HOUR_S)
    await first.open()
    await first.begin("s1", REQUEST)
    await first.step("s1", step(1))
    # Closed without a word about the session, which is all that a kill leaves behind.
    await first.close()
    second = SqliteSessionStore(path, HOUR_S)
    await second.open()
    record = await second.get("s1")
    assert record.status is SessionStatus.INTERRUPTED
    assert list(record.steps) == [step(1)]
    await second.close()


async def test_sessions_past_their_time_are_gone_at_once_but_never_a_running_one(tmp_path: Path) -> None:
    store = SqliteSessionStore(tmp_path / "sessions.db", 1e-6)
    await store.open()
    await store.begin("running", REQUEST)
    await store.begin("old", REQUEST)
    await store.fail("old", "INTERNAL", "")
    assert [record.session_id for record in (await store.list(10, "", None)).sessions] == ["running"]
    for call in (store.get, store.resume, store.delete):
        with pytest.raises(NotFoundError, match="'old' is not known"):
            await call("old")
    # Its id is free again.
    assert await store.begin("old", REQUEST) is None
    assert (await store.get("old")).error_code == ""
    await store.close()


async def test_what_is_past_its_time_is_deleted_without_a_question_coming(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    first = SqliteSessionStore(path, 1e-6)
    await first.open()
    await first.begin("old", REQUEST)
    await first.step("old", step(1))
    await first.close()
    idle = SqliteSessionStore(path, 1e-6)
    await idle.open()
    with contextlib.closing(sqlite3.connect(path)) as db:
        async with asyncio.timeout(PATIENCE_S):
            while db.execute("SELECT (SELECT count(*) FROM session) + (SELECT count(*) FROM step)").fetchone()[0]:
                await asyncio.sleep(0.01)
    await idle.close()


async def test_an_end_that_cannot_be_written_becomes_interrupted_once_it_can(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    store = SqliteSessionStore(path, HOUR_S)
    await store.open()
    answer = orchestrator_pb2.AskEvent(answer=orchestrator_pb2.Answer(text="it"))
    ends = {
        "finished": lambda: store.finish("finished", answer),
        "failed": lambda: store.fail("failed", "INTERNAL", ""),
        "left": lambda: store.interrupt("left"),
    }
    for name in ends:
        await store.begin(name, REQUEST)
        await store.step(name, step(1))
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = await asyncio.gather(*(end() for end in ends.values()), return_exceptions=True)
        assert [type(error) for error in refused] == [StoreUnavailableError] * 3
        # What is recorded can be read meanwhile.
        assert {(await store.get(name)).status for name in ends} == {SessionStatus.RUNNING}
        other.rollback()
    async with asyncio.timeout(PATIENCE_S):
        while len((await store.list(10, "", SessionStatus.INTERRUPTED)).sessions) < 3:
            await asyncio.sleep(0.01)
    resumed = await store.resume("finished")
    assert list(resumed.steps) == [step(1)]
    # Made up for once: what goes on now is not interrupted again.
    await store.begin("another", REQUEST)
    assert (await store.get("finished")).status is SessionStatus.RUNNING
    await store.close()


async def test_an_id_that_was_never_recorded_is_told_without_waiting_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    before = SqliteSessionStore(path, HOUR_S)
    await before.open()
    await before.begin("of an earlier run", REQUEST)
    await before.close()
    store = SqliteSessionStore(path, HOUR_S)
    await store.open()
    with contextlib.closing(sqlite3.connect(path)) as other:
        # Whatever is written waits for the other program, and whatever is read waits behind it.
        other.execute("BEGIN IMMEDIATE")
        waits = asyncio.create_task(store.begin("waits", REQUEST))
        await asyncio.sleep(0)
        read = asyncio.create_task(store.get("of an earlier run"))
        await asyncio.sleep(0)
        with pytest.raises(NotFoundError):
            await store.get("never recorded")
        assert not read.done() and not waits.done()
        other.rollback()
    assert await waits is None
    assert (await read).status is SessionStatus.INTERRUPTED
    await store.delete("of an earlier run")
    with pytest.raises(NotFoundError):
        await store.get("of an earlier run")
    await store.close()


async def test_a_file_that_was_damaged_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    first = SqliteSessionStore(path, HOUR_S)
    await first.open()
    for n in range(20):
        await first.begin(f"s{n}", orchestrator_pb2.AskRequest(question="What is E2? " * 100))
    await first.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    damaged = SqliteSessionStore(path, HOUR_S)
    with pytest.raises(StoreNotReadyError, match=r"sessions.db is damaged: .*malformed; .* put a backup in its place"):
        await damaged.open()
    await damaged.close()


async def test_becoming_interrupted_is_a_change_that_puts_the_expiry_off(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    short = SqliteSessionStore(path, 1e-6)
    await short.open()
    await short.begin("s1", REQUEST)
    await short.begin("s2", REQUEST)
    await short.close()
    longer = SqliteSessionStore(path, HOUR_S)
    await longer.open()
    # Killed long ago, found now: the operator has the whole time to live to resume it.
    await longer.begin("new", REQUEST)
    record = await longer.get("s1")
    assert record.status is SessionStatus.INTERRUPTED
    assert record.expires_at_s == pytest.approx(record.updated_at_s + HOUR_S)
    await longer.close()


async def test_every_file_of_the_store_is_readable_by_its_owner_only(store: SqliteSessionStore, tmp_path: Path) -> None:
    await store.begin("s1", REQUEST)
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "folder").iterdir()}
    assert set(files) == {"sessions.db", "sessions.db-wal", "sessions.db-shm", "sessions.db.lock"}
    assert set(files.values()) == {0o600}


async def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    path.touch(mode=0o644)
    store = SqliteSessionStore(path, HOUR_S)
    await store.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.close()


async def test_a_second_orchestrator_on_the_same_file_is_refused(store: SqliteSessionStore, tmp_path: Path) -> None:
    second = SqliteSessionStore(tmp_path / "folder" / "sessions.db", HOUR_S)
    with pytest.raises(NotReadyError, match="is owned by another orchestrator"):
        await second.open()
    await second.close()
    assert await store.begin("s1", REQUEST) is None


async def test_a_file_of_another_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    store = SqliteSessionStore(path, HOUR_S)
    with pytest.raises(NotReadyError, match="has schema 99, not 1; move the file away"):
        await store.open()
    await store.close()
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    db.close()


async def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    path.write_text("not a database, but long enough to look like a file with a header " * 4)
    store = SqliteSessionStore(path, HOUR_S)
    with pytest.raises(NotReadyError, match=r"sessions.db is not a usable session file"):
        await store.open()
    await store.close()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SqliteSessionStore(tmp_path / "file" / "sessions.db", HOUR_S)
    with pytest.raises(NotReadyError, match="cannot be opened"):
        await store.open()
    await store.close()


async def test_a_store_that_was_never_opened_can_be_closed(tmp_path: Path) -> None:
    await SqliteSessionStore(tmp_path / "sessions.db", HOUR_S).close()


def test_no_id_is_missing_that_is_added_while_the_file_is_read() -> None:
    ids = KnownIds()
    assert "anything" in ids
    ids.replace(["old"])
    assert "old" in ids and "before" not in ids
    ids.add("before")
    ids.mark()
    ids.add("after")
    # The reading saw neither: the one was still being written, the other came later.
    ids.replace(["old"])
    assert {name for name in ("old", "before", "after", "other") if name in ids} == {"old", "before", "after"}
    ids.mark()
    # Both were written meanwhile, and one was deleted again.
    ids.replace(["before"])
    assert {name for name in ("old", "before", "after") if name in ids} == {"before", "after"}
    ids.mark()
    ids.replace(["before"])
    assert "after" not in ids
