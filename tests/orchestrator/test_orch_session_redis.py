"""The session store on a real Redis: several orchestrators, of which some freeze, and a server that fails."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_process import PATIENCE_S, RedisProcess

from argo.errors import AlreadyExistsError, NotFoundError, NotReadyError, UnavailableError
from argo.v1 import orchestrator_pb2, session_pb2
from orchestrator import session_script as scripts
from orchestrator.session import SessionStatus
from orchestrator.session_redis import RedisSessionStore
from orchestrator.session_server import SessionServer

pytestmark = pytest.mark.system

REQUEST = orchestrator_pb2.AskRequest(question="What is E2?", session_id="s1")
ANSWER = orchestrator_pb2.AskEvent(session_id="s1", answer=orchestrator_pb2.Answer(text="it"))
HOUR_S = 3600.0
LEASE_S = 0.5


def step(index: int) -> session_pb2.RecordedStep:
    return session_pb2.RecordedStep(finished=orchestrator_pb2.StepFinished(index=index))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path) as started:
        yield started


class Orchestrator:
    """A store in an event loop of its own, which only runs while it is told to do something: else it is frozen."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.store = RedisSessionStore(url, HOUR_S, lease_s=LEASE_S, **settings)
        self._runner = asyncio.Runner()
        self.do(self.store.open())

    def do(self, work: Any) -> Any:
        return self._runner.run(self._bounded(work))

    async def _bounded(self, work: Any) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await work

    def close(self) -> None:
        self.do(self.store.close())
        self._runner.close()


@pytest.fixture
def orchestrator(server: RedisProcess) -> Iterator[Callable[..., Orchestrator]]:
    made: list[Orchestrator] = []

    def make(**settings: Any) -> Orchestrator:
        made.append(Orchestrator(server.url, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


async def _until(store: RedisSessionStore, status: SessionStatus) -> None:
    while (await store.get("s1")).status is not status:
        await asyncio.sleep(0.01)


def test_what_a_frozen_orchestrator_ran_is_resumed_by_another_and_ends_once(
    orchestrator: Callable[..., Orchestrator],
) -> None:
    frozen, other = orchestrator(), orchestrator()
    frozen.do(frozen.store.begin("s1", REQUEST))
    frozen.do(frozen.store.step("s1", step(1)))
    record = other.do(other.store.resume("s1"))
    assert [entry.finished.index for entry in record.steps] == [1]
    for write in (frozen.store.step("s1", step(2)), frozen.store.finish("s1", ANSWER)):
        with pytest.raises(AlreadyExistsError, match="s1 has been taken over by another orchestrator"):
            frozen.do(write)
    frozen.do(frozen.store.fail("s1", "INTERNAL", "too late"))
    frozen.do(frozen.store.interrupt("s1"))
    assert other.do(other.store.get("s1")).status is SessionStatus.RUNNING
    other.do(other.store.finish("s1", ANSWER))
    ended = other.do(other.store.get("s1"))
    assert (ended.status, ended.resumed, ended.step_count) == (SessionStatus.FINISHED, 1, 1)
    assert (ended.answer, ended.error_code) == (ANSWER, "")


def test_an_orchestrator_that_was_only_slow_goes_on_where_nobody_took_over(
    orchestrator: Callable[..., Orchestrator],
) -> None:
    slow, other = orchestrator(), orchestrator()
    slow.do(slow.store.begin("s1", REQUEST))
    other.do(_until(other.store, SessionStatus.INTERRUPTED))
    slow.do(slow.store.step("s1", step(1)))
    assert other.do(other.store.get("s1")).status is SessionStatus.RUNNING
    slow.do(slow.store.finish("s1", ANSWER))
    assert other.do(other.store.get("s1")).status is SessionStatus.FINISHED


def test_what_was_given_up_is_not_written_to_any_more(orchestrator: Callable[..., Orchestrator]) -> None:
    one = orchestrator()
    one.do(one.store.begin("s1", REQUEST))
    one.do(one.store.interrupt("s1"))
    with pytest.raises(AlreadyExistsError, match="taken over"):
        one.do(one.store.step("s1", step(1)))
    assert one.do(one.store.get("s1")).status is SessionStatus.INTERRUPTED


async def _stores(url: str, count: int) -> list[RedisSessionStore]:
    stores = [RedisSessionStore(url, HOUR_S, lease_s=LEASE_S) for _ in range(count)]
    for store in stores:
        await store.open()
    return stores


async def _close(*stores: RedisSessionStore) -> None:
    for store in stores:
        await store.close()


async def test_of_orchestrators_that_are_asked_the_same_at_once_one_answers(server: RedisProcess) -> None:
    stores = await _stores(server.url, 4)
    for number in range(8):
        name = f"s{number}"
        begun = await asyncio.gather(*(store.begin(name, REQUEST) for store in stores))
        assert sum(record is None for record in begun) == 1
        [mine] = [store for store, record in zip(stores, begun, strict=True) if record is None]
        await mine.interrupt(name)
        resumed = await asyncio.gather(*(store.resume(name) for store in stores), return_exceptions=True)
        refused = [outcome for outcome in resumed if isinstance(outcome, NotReadyError)]
        assert len(refused) == 3 and (await mine.get(name)).resumed == 1
    await _close(*stores)


async def test_a_question_whose_orchestrator_lives_is_not_taken_over(server: RedisProcess) -> None:
    busy, other = await _stores(server.url, 2)
    await busy.begin("s1", REQUEST)
    with pytest.raises(NotReadyError, match="s1 is running; only an interrupted one can be resumed"):
        await other.resume("s1")
    with pytest.raises(NotReadyError, match="s1 is running; cancel it before deleting it"):
        await other.delete("s1")
    await busy.finish("s1", ANSWER)
    await other.delete("s1")
    await _close(busy, other)


async def test_stacks_of_other_prefixes_do_not_see_each_other(server: RedisProcess) -> None:
    one = RedisSessionStore(server.url, HOUR_S, prefix="one")
    two = RedisSessionStore(server.url, HOUR_S, prefix="two")
    await one.open()
    await two.open()
    await one.begin("s1", REQUEST)
    assert await two.begin("s1", REQUEST) is None
    await one.interrupt("s1")
    assert [record.status for record in (await two.list(5, "", None)).sessions] == [SessionStatus.RUNNING]
    await _close(one, two)


async def test_a_finished_session_expires_and_leaves_no_key_behind(server: RedisProcess) -> None:
    store = RedisSessionStore(server.url, 0.05)
    await store.open()
    await store.begin("s1", REQUEST)
    await store.finish("s1", ANSWER)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(NotFoundError):
            await _until(store, SessionStatus.FAILED)
    assert (await store.list(5, "", None)).sessions == []
    later = RedisSessionStore(server.url, 0.05, lease_s=0.6)
    await later.open()
    admin = SessionServer(server.url, 0)
    async with asyncio.timeout(PATIENCE_S):
        while await admin.newest("{argo}:created", "+inf", 0, 10):
            await asyncio.sleep(0.01)
    assert await admin.newest("{argo}:expiry", "+inf", 0, 10) == []
    await admin.close()
    await _close(store, later)


async def test_pruning_says_whether_there_may_be_more(server: RedisProcess) -> None:
    admin = SessionServer(server.url, 0)
    for n in range(5):
        await admin.run(scripts.BEGIN, "{p}", f"s{n}", "me", f"run-{n}", 1000, HOUR_S, b"")
        await admin.run(scripts.SETTLE, "{p}", f"s{n}", "me", f"run-{n}", 1000, HOUR_S, "finished")
    # Four go, two at once; the third look finds none.
    assert [await admin.run(scripts.PRUNE, "{p}", 1, 2) for _ in range(3)] == [1, 1, 0]
    assert [name for name, _ in await admin.newest("{p}:created", "+inf", 0, 10)] == ["s4"]
    await admin.close()


async def test_a_script_whose_reply_was_lost_can_be_sent_again(server: RedisProcess) -> None:
    admin = SessionServer(server.url, 0)
    payload = REQUEST.SerializeToString()
    for _ in range(2):
        assert await admin.run(scripts.BEGIN, "{p}", "s1", "me", "run-1", 1000, HOUR_S, payload) == []
    for _ in range(2):
        assert await admin.run(scripts.WRITE, "{p}", "s1", "me", "run-1", 1000, HOUR_S, "step:1", b"x") == b"written"
    for _ in range(2):
        outcome = await admin.run(scripts.SETTLE, "{p}", "s1", "me", "run-1", 1000, HOUR_S, "interrupted")
    assert outcome == b"lost"
    for _ in range(2):
        outcome, record = await admin.run(scripts.RESUME, "{p}", "s1", "me", "run-2", 1000, HOUR_S)
        assert outcome == b"resumed"
    for _ in range(2):
        outcome = await admin.run(scripts.SETTLE, "{p}", "s1", "me", "run-2", 1000, HOUR_S, "finished", "answer", b"a")
        assert outcome == b"written"
    fields = await admin.run(scripts.GET, "{p}", "s1", HOUR_S)
    record = dict(zip(fields[::2], fields[1::2], strict=True))
    assert (record[b"status"], record[b"steps"], record[b"resumed"]) == (b"finished", b"1", b"1")
    await admin.close()


async def test_a_server_that_is_away_is_named_in_the_log_and_what_it_missed_is_made_up_for(
    server: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    [store] = await _stores(server.url, 1)
    await store.begin("kept", REQUEST)
    server.kill()
    with pytest.raises(UnavailableError, match=r"^the session store \(Redis\) cannot be reached; try again") as away:
        await store.begin("s1", REQUEST)
    # Where it is, and what its library says, is its operator's.
    assert "127.0.0.1" not in str(away.value) and "an operator must see to it" in str(away.value)
    assert f"session store redis://127.0.0.1:{server.port}/0 cannot be reached: " in caplog.text
    server.start()
    async with asyncio.timeout(PATIENCE_S):
        assert await store.begin("s1", REQUEST) is None
        # It was kept in memory alone.
        with pytest.raises(UnavailableError, match="session kept is gone from the session store"):
            await store.step("kept", step(1))
    await store.close()


async def test_a_full_server_is_told_and_its_question_can_be_resumed_once_there_is_room(server: RedisProcess) -> None:
    [store] = await _stores(server.url, 1)
    await store.begin("s1", REQUEST)
    limit = ["redis-cli", "-p", str(server.port), "config", "set", "maxmemory"]
    subprocess.run([*limit, "1"], check=True, stdout=subprocess.DEVNULL)
    for write in (
        store.step("s1", step(1)),
        store.finish("s1", ANSWER),
        store.fail("s1", "RESOURCE_EXHAUSTED", "full"),
    ):
        with pytest.raises(NotReadyError, match=r"^the session store \(Redis\) is full; an operator must"):
            await write
    assert (await store.get("s1")).status is SessionStatus.RUNNING
    subprocess.run([*limit, "0"], check=True, stdout=subprocess.DEVNULL)
    async with asyncio.timeout(PATIENCE_S):
        await _until(store, SessionStatus.INTERRUPTED)
    await store.resume("s1")
    await store.close()


async def test_a_server_that_forgets_under_pressure_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisProcess(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        [store] = await _stores(server.url, 1)
        await store.close()
    assert "has maxmemory-policy allkeys-lru" in caplog.text and "set noeviction" in caplog.text


async def test_a_password_is_asked_for_and_never_shown(tmp_path: Path) -> None:
    with RedisProcess(tmp_path, "--requirepass", "opensesame") as server:
        right = f"redis://:opensesame@127.0.0.1:{server.port}/0"
        [store] = await _stores(right, 1)
        await store.begin("s1", REQUEST)
        await store.close()
        for url in (server.url, right.replace("opensesame", "guessed")):
            with pytest.raises(NotReadyError, match=r"refuses this user") as refused:
                await _stores(url, 1)
            assert "guessed" not in str(refused.value)


def _certificates(folder: Path) -> None:
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    subprocess.run([*command, *files], check=True, capture_output=True)


async def test_a_server_behind_tls_is_verified(tmp_path: Path) -> None:
    _certificates(tmp_path)
    pair = ["--tls-cert-file", str(tmp_path / "ca.pem"), "--tls-key-file", str(tmp_path / "key.pem")]
    options = ["--port", "0", "--tls-ca-cert-file", str(tmp_path / "ca.pem"), "--tls-auth-clients", "no", *pair]
    with RedisProcess(tmp_path, *options, tls=True) as server:
        url = f"rediss://127.0.0.1:{server.port}/0"
        [store] = await _stores(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}", 1)
        assert await store.begin("s1", REQUEST) is None
        await store.close()
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            await RedisSessionStore(url, HOUR_S, patience_s=0).open()
