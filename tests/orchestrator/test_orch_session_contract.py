"""The promises of the session store's port, kept by SQLite and by Redis alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis_process import RedisProcess

from argo.errors import InvalidArgumentError, NotFoundError, NotReadyError
from argo.v1 import orchestrator_pb2, session_pb2, types_pb2
from orchestrator.session import SessionStatus, SessionStore
from orchestrator.session_redis import RedisSessionStore
from orchestrator.session_sqlite import SqliteSessionStore

REQUEST = orchestrator_pb2.AskRequest(question="What is E2?", session_id="s1", seed=7)
HOUR_S = 3600.0
PATIENCE_S = 20.0


class Opener:
    """Opens the store of one kind again and again, as orchestrators that follow each other do."""

    def __init__(self, kind: str, folder: Path, url: str) -> None:
        self._kind, self._folder, self._url = kind, folder, url

    async def open(self, ttl_s: float = HOUR_S, most: int = 10_000) -> SessionStore:
        store: SessionStore
        if self._kind == "sqlite":
            store = SqliteSessionStore(self._folder / "sessions.db", ttl_s, most)
        else:
            store = RedisSessionStore(self._url, ttl_s, most, prefix=self._folder.name)
        await store.open()
        return store


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.system)])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    return Opener(request.param, tmp_path, url)


@pytest_asyncio.fixture
async def store(opener: Opener) -> AsyncIterator[SessionStore]:
    opened = await opener.open()
    yield opened
    await opened.close()


def step(index: int, text: str = "find") -> session_pb2.RecordedStep:
    return session_pb2.RecordedStep(
        finished=orchestrator_pb2.StepFinished(index=index, progress_after=index / 10),
        searches=[orchestrator_pb2.PassagesEvent(step=index, subquery=types_pb2.Subquery(text=text))],
    )


async def listed_without(store: SessionStore, name: str) -> list[str]:
    """The ids that are listed, newest first, once that one is no longer among them."""
    async with asyncio.timeout(PATIENCE_S):
        while name in (ids := [record.session_id for record in (await store.list(10, "", None)).sessions]):
            await asyncio.sleep(0.01)
    return ids


async def test_a_session_is_read_back_as_it_was_recorded(store: SessionStore) -> None:
    assert await store.begin("s1", REQUEST) is None
    plan = session_pb2.RecordedPlan(foci=[types_pb2.Focus(id="f1", text="alpha")])
    await store.plan("s1", plan)
    await store.step("s1", step(1))
    await store.step("s1", step(2))
    record = await store.get("s1")
    assert record.status is SessionStatus.RUNNING
    assert record.request == REQUEST
    assert record.plan == plan
    assert list(record.steps) == [step(1), step(2)]
    assert record.step_count == 2
    assert record.expires_at_s == pytest.approx(record.updated_at_s + HOUR_S)
    event = orchestrator_pb2.AskEvent(session_id="s1", answer=orchestrator_pb2.Answer(text="it"))
    await store.finish("s1", event)
    assert (await store.get("s1")).status is SessionStatus.FINISHED
    assert (await store.get("s1")).answer == event


async def test_an_id_in_use_returns_what_is_there_and_changes_nothing(store: SessionStore) -> None:
    await store.begin("s1", REQUEST)
    there = await store.begin("s1", orchestrator_pb2.AskRequest(question="Another?"))
    assert there is not None
    assert there.request == REQUEST


async def test_a_step_recorded_twice_keeps_the_first(store: SessionStore) -> None:
    await store.begin("s1", REQUEST)
    await store.step("s1", step(1, "first"))
    await store.step("s1", step(1, "second"))
    assert list((await store.get("s1")).steps) == [step(1, "first")]


async def test_a_running_session_is_interrupted_and_any_other_is_left(store: SessionStore) -> None:
    await store.begin("s1", REQUEST)
    await store.interrupt("s1")
    assert (await store.get("s1")).status is SessionStatus.INTERRUPTED
    await store.begin("s2", REQUEST)
    await store.fail("s2", "UNAVAILABLE", "gone")
    await store.interrupt("s2")
    record = await store.get("s2")
    assert (record.status, record.error_code, record.error_message) == (SessionStatus.FAILED, "UNAVAILABLE", "gone")


async def test_an_interrupted_session_is_resumed_once(store: SessionStore) -> None:
    await store.begin("s1", REQUEST)
    with pytest.raises(NotReadyError, match="s1 is running; only an interrupted one can be resumed"):
        await store.resume("s1")
    await store.interrupt("s1")
    await store.resume("s1")
    with pytest.raises(NotReadyError, match="s1 is running"):
        await store.resume("s1")
    assert (await store.get("s1")).resumed == 1


async def test_an_unknown_session_is_named(store: SessionStore) -> None:
    for call in (store.get, store.resume, store.delete):
        with pytest.raises(NotFoundError, match="'nobody' is not known"):
            await call("nobody")


async def test_pages_hold_every_session_once_newest_first(store: SessionStore) -> None:
    names = [f"s{n}" for n in range(7)]
    for name in names:
        await store.begin(name, REQUEST)
    listed, token, pages = [], "", 0
    while True:
        page = await store.list(3, token, None)
        listed += [record.session_id for record in page.sessions]
        pages += 1
        token = page.next_page_token
        if not token:
            break
    assert listed == names[::-1]
    assert pages == 3


async def test_a_full_last_page_has_no_token(store: SessionStore) -> None:
    for n in range(2):
        await store.begin(f"s{n}", REQUEST)
    assert (await store.list(2, "", None)).next_page_token == ""


async def test_a_list_is_narrowed_to_a_status(store: SessionStore) -> None:
    for n in range(3):
        await store.begin(f"s{n}", REQUEST)
    await store.interrupt("s1")
    page = await store.list(10, "", SessionStatus.INTERRUPTED)
    assert [record.session_id for record in page.sessions] == ["s1"]


@pytest.mark.parametrize("token", ["x", "AAAA", "bm90IGEgdG9rZW4=", "é", "a" * 300])
async def test_a_foreign_page_token_is_refused(store: SessionStore, token: str) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token must be one that ListSessions returned"):
        await store.list(10, token, None)


async def test_a_deleted_session_is_gone_with_its_steps(store: SessionStore) -> None:
    await store.begin("s1", REQUEST)
    await store.step("s1", step(1))
    with pytest.raises(NotReadyError, match="s1 is running; cancel it before deleting it"):
        await store.delete("s1")
    await store.interrupt("s1")
    await store.delete("s1")
    with pytest.raises(NotFoundError):
        await store.get("s1")
    assert await store.begin("s1", REQUEST) is None
    assert not (await store.get("s1")).steps


async def test_what_was_running_when_its_store_was_closed_is_interrupted_for_the_next(opener: Opener) -> None:
    first = await opener.open()
    await first.begin("s1", REQUEST)
    await first.step("s1", step(1))
    await first.close()
    second = await opener.open()
    record = await second.get("s1")
    assert record.status is SessionStatus.INTERRUPTED
    assert list(record.steps) == [step(1)]
    assert record.expires_at_s == pytest.approx(record.updated_at_s + HOUR_S)
    await second.close()


async def test_of_more_sessions_than_are_kept_the_oldest_go_but_never_a_running_one(opener: Opener) -> None:
    first = await opener.open()
    for name in ("running", "old", "middle", "young"):
        await first.begin(name, REQUEST)
        await first.interrupt(name)
    await first.close()
    capped = await opener.open(most=2)
    await capped.resume("running")
    assert await listed_without(capped, "old") == ["young", "middle", "running"]
    await capped.close()


async def test_a_finished_session_stays_as_it_ended(store: SessionStore) -> None:
    event = orchestrator_pb2.AskEvent(session_id="s1", answer=orchestrator_pb2.Answer(text="it"))
    await store.begin("s1", REQUEST)
    await store.finish("s1", event)
    await store.interrupt("s1")
    with pytest.raises(NotReadyError, match="s1 is finished; only an interrupted one can be resumed"):
        await store.resume("s1")
    assert (await store.get("s1")).status is SessionStatus.FINISHED


async def test_running_sessions_are_kept_besides_as_many_others_as_are_kept(opener: Opener) -> None:
    first = await opener.open()
    for name in ("oldest", "old", "middle", "young"):
        await first.begin(name, REQUEST)
        await first.interrupt(name)
    await first.close()
    capped = await opener.open(most=2)
    # Both are newer than what is kept, and neither takes a place of it.
    await asyncio.gather(capped.resume("young"), capped.begin("new", REQUEST))
    assert await listed_without(capped, "oldest") == ["new", "young", "middle", "old"]
    await capped.close()


async def test_a_question_that_begins_does_not_wait_for_pruning(opener: Opener) -> None:
    names = [f"s{n}" for n in range(5)]
    first = await opener.open()
    for name in names:
        await first.begin(name, REQUEST)
        await first.interrupt(name)
    await first.close()
    capped = await opener.open(most=2)
    # Both right after the start, when a pruning is due: what is listed behind the new one is all that there was.
    _, page = await asyncio.gather(capped.begin("new", REQUEST), capped.list(10, "", None))
    assert {record.session_id for record in page.sessions} >= set(names)
    assert await listed_without(capped, "s2") == ["new", "s4", "s3"]
    await capped.close()
