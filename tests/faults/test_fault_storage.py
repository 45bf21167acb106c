"""Full, read-only, damaged and locked disks under the sessions and the index, and sessions past their time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from fault_disk import SmallDisks, small_disks
from fault_process import PATIENCE_S, Process
from fault_report import Observed
from fault_stack import QUESTIONS, Stack, running, until

from argo.client import Client
from argo.errors import ArgoError, NotFoundError, NotReadyError, UnavailableError
from argo.identity import Role
from argo.result import QuestionEvent
from argo.token import create

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATABASE = "chroma.sqlite3"
_LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
_ROWS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(*(row[0] for row in db.execute("SELECT session_id FROM session ORDER BY created_at_s DESC")))
"""


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisks]:
    folder = tmp_path_factory.mktemp("disks")
    with small_disks(folder, {"sessions": 8, "index": 48, "copy": 48, "retriever": 2}) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, disks: SmallDisks) -> AsyncIterator[Stack]:
    """Sessions on one small disk, the index on another, the retriever's spans and log on a third."""

    def wrap(process: Process) -> None:
        if process.service == "retriever":
            process.environ["ARGO_TELEMETRY_SPAN_DIR"] = str(disks["retriever"].path)
            process.log_path = disks["retriever"].seen / "retriever.log"
            process.command = (*disks.prefix, *disks.obedient, *process.command)
        elif process.service == "orchestrator":
            process.command = (*disks.prefix, *process.command)

    settings = {
        "ARGO_ORCHESTRATOR_SESSION_PATH": str(disks["sessions"].path / "sessions.db"),
        "ARGO_RETRIEVER_INDEX_PATH": str(disks["index"].path / "index"),
    }
    async with running(tmp_path_factory.mktemp("storage"), settings=settings, wrap=wrap) as stack:
        yield stack


def document(folder: Path, word: str) -> Path:
    """A document that only that word finds."""
    path = folder / f"{word}.md"
    path.write_text(f"# The {word}\n\nThe {word} is what the {word} document is about.\n")
    return path


async def indexed(client: Client, path: Path) -> list[str]:
    """What became of a document that is sent."""
    return [str(outcome.status) for outcome in (await client.ingest(path)).outcomes]


async def refused(call: Awaitable[object], kind: type[ArgoError]) -> str:
    """The message that a call ends with."""
    with pytest.raises(kind) as error:
        await call
    return str(error.value)


async def found(client: Client, word: str) -> bool:
    """Whether a document about that word is searched."""
    return any(passage.source.endswith(f"{word}.md") for passage in (await client.search(word, top_k=3)).passages)


async def fails_to_start(process: Process) -> str:
    """What a process says that must not come up, in its last words."""
    before = len(process.log())
    process.start()
    code = await asyncio.to_thread(process.wait)
    said = process.log()[before:]
    assert code == 1, (code, said)
    assert "Traceback" not in said, said
    return said.strip().splitlines()[-1]


@contextlib.contextmanager
def locked(disks: SmallDisks, database: Path) -> Iterator[int]:
    """Another process holds the database's lock; yields its number."""
    command = [*disks.prefix, sys.executable, "-c", _LOCKER, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "locked\n"
        try:
            yield other.pid
        finally:
            other.stdin.close()
            other.wait(PATIENCE_S)


def another(stack: Stack, folder: Path, **environ: str) -> Process:
    """A second retriever, at ports of its own."""
    first = stack["retriever"]
    ports = {"ARGO_RETRIEVER_PORT": "0", "ARGO_RETRIEVER_METRICS_PORT": "0"}
    return Process("second", "retriever", 0, 0, first.environ | ports | environ, folder / "second.log", first.command)


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def short(message: str, disks: SmallDisks) -> str:
    """A message for the report, without the paths of this run."""
    for name, disk in disks.disks.items():
        message = message.replace(str(disk.path), f"/{name}")
    return message


# Sessions


@pytest.mark.case(
    "Storage",
    "disk of the sessions is full when a question comes",
    injected="a tmpfs of 8 MiB, filled to the last byte",
    expected="FAILED_PRECONDITION says what to do; what is recorded is read and repeated; no restart is needed",
)
async def test_full_sessions(stack: Stack, disks: SmallDisks, observed: Observed) -> None:
    async with stack.invariant() as checked, stack.client() as client:
        before = await stack.ask(client, budget_ms=0)
        disks["sessions"].fill()
        try:
            asked = await stack.ask(client, budget_ms=0)
            assert isinstance(asked.error, NotReadyError)
            assert "the session store (SQLite) cannot be written: its disk is full" in str(asked.error)
            assert "an operator must free some" in str(asked.error)
            assert str(disks["sessions"].path) not in str(asked.error)
            observed(f"{asked.outcome}: {asked.error}")
            assert f"session_path {disks['sessions'].path}/sessions.db cannot be written" in stack["orchestrator"].log()
            observed("its log names the path")
            session = await client.session(before.session_id)
            again = await stack.ask(client, session_id=before.session_id, budget_ms=0)
            assert before.answer is not None and again.answer is not None and session.answer is not None
            assert before.answer.text == again.answer.text == session.answer.text
            observed(f"the question before is {session.status}, and its id repeats the answer")
        finally:
            disks["sessions"].free()
        after = await stack.ask(client, session_id=asked.session_id, budget_ms=0)
        assert after.outcome == "answered"
        observed(f"with room again the same id is {after.outcome}")
    observed(checked)


@pytest.mark.case(
    "Storage",
    "disk of the sessions fills while a question is answered",
    injected="filled between the plan and the first search",
    expected="the question ends with FAILED_PRECONDITION; once there is room it is interrupted, and resumed it answers",
)
async def test_sessions_fill(stack: Stack, disks: SmallDisks, observed: Observed) -> None:
    retriever = stack["retriever"]

    async def fill(event: QuestionEvent) -> None:
        if event.event == "subquery":
            disks["sessions"].fill()
            retriever.thaw()

    async with stack.invariant() as checked, stack.client() as client:
        retriever.freeze()
        try:
            asked = await stack.ask(client, QUESTIONS[1], budget_ms=0, on_event=fill)
            assert isinstance(asked.error, NotReadyError) and "its disk is full" in str(asked.error), asked
            observed(f"{asked.outcome} after {len(asked.events)} events")
        finally:
            retriever.thaw()
            disks["sessions"].free()

        async def interrupted() -> bool:
            return (await client.session(asked.session_id)).status == "interrupted"

        await until(interrupted, why="the question was not interrupted once there was room")
        answer = await client.resume(asked.session_id)
        assert answer.text and not answer.degradations
        numbers = [step.index for step in (await client.session(asked.session_id)).steps]
        assert numbers == list(range(1, answer.steps + 1))
        observed(f"interrupted once there was room; resumed it answered after {answer.steps} steps")
    observed(checked)


@pytest.mark.case(
    "Storage",
    "orchestrator killed, and started with the disk of its sessions full",
    injected="SIGKILL, a tmpfs filled to the last byte",
    expected="it ends with status 1 and says what to do; with room it starts, and every record is there",
)
async def test_start_on_full_sessions(stack: Stack, disks: SmallDisks, observed: Observed) -> None:
    orchestrator = stack["orchestrator"]
    async with stack.invariant() as checked:
        async with stack.client() as client:
            before = await stack.ask(client, budget_ms=0)
            known = {one.session_id for one in await client.sessions(limit=1_000)}
        orchestrator.kill()
        disks["sessions"].fill()
        try:
            said = await fails_to_start(orchestrator)
        finally:
            disks["sessions"].free()
        assert "cannot start: session_path" in said and "its disk is full" in said, said
        observed(f"start: {short(said, disks).partition('cannot start: ')[2]}")
        await orchestrator.restart()
        async with stack.client() as client:
            assert {one.session_id for one in await client.sessions(limit=1_000)} == known
            repeated = await stack.ask(client, session_id=before.session_id, budget_ms=0)
            assert before.answer is not None and repeated.answer is not None
            assert repeated.answer.text == before.answer.text
        observed(f"with room all {len(known)} records are there")
    observed(checked)


# Index


@pytest.mark.case(
    "Storage",
    "disk of the index is full when documents come",
    injected="a tmpfs of 48 MiB, filled to the last byte",
    expected="FAILED_PRECONDITION says what to do; searches go on; with room the same document is indexed",
)
async def test_full_index(stack: Stack, disks: SmallDisks, tmp_path: Path, observed: Observed) -> None:
    new = document(tmp_path, "quokka")
    async with stack.invariant() as checked, stack.client() as client:
        size = (await client.collection()).documents
        disks["index"].fill()
        try:
            said = await refused(client.ingest(new), NotReadyError)
            assert "index path" in said and "free some and ingest again" in said
            observed(short(said, disks))
            said = await refused(client.delete_documents([(await client.documents())[0].source]), NotReadyError)
            assert "free some" in said
            assert (await client.collection()).documents == size
            asked = await stack.ask(client, budget_ms=0)
            assert asked.outcome == "answered"
            observed(f"a question meanwhile is {asked.outcome}")
            said = await fails_to_start(
                another(stack, tmp_path, ARGO_RETRIEVER_INDEX_PATH=str(disks["index"].path / "new"))
            )
            assert "cannot start: index path" in said and said.endswith("free some and start the retriever again"), said
            observed("another retriever started on it says the same, and ends with status 1")
        finally:
            disks["index"].free()
        assert await indexed(client, new) == ["indexed"] and await found(client, "quokka")
        observed("with room it is indexed and found")
    observed(checked)


@pytest.mark.case(
    "Storage",
    "disk of span files and log is full",
    injected="both of the retriever's on a tmpfs of 2 MiB, filled to the last byte",
    expected="answers as before; the drain ends with status 0",
)
async def test_full_log(stack: Stack, disks: SmallDisks, tmp_path: Path, observed: Observed) -> None:
    retriever = stack["retriever"]
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"%PDF-1.7 and nothing of one")
    async with stack.invariant() as checked, stack.client() as client:
        disks["retriever"].fill()
        try:
            for question in QUESTIONS:
                assert (await stack.ask(client, question, budget_ms=0)).outcome == "answered"
            # Each of them is a line in the log.
            assert [await indexed(client, bad) for _ in range(20)] == [["failed"]] * 20
            retriever.signal(signal.SIGTERM)
            code = await asyncio.to_thread(retriever.wait)
        finally:
            disks["retriever"].free()
        assert code == 0
        observed(f"{len(QUESTIONS)} of {len(QUESTIONS)} answered, 20 log lines lost, drained with status {code}")
        await retriever.restart()
        await stack.until_answered(client)
    observed(checked)


@pytest.mark.case(
    "Storage",
    "the database of the index is cut off",
    injected="half of it while the retriever runs, which is then started again; then all of it",
    expected="searches go on from memory, an ingest is refused; a start fails and says what to do",
)
async def test_truncated(stack: Stack, disks: SmallDisks, tmp_path: Path, observed: Observed) -> None:
    retriever = stack["retriever"]
    index = disks["index"].seen / "index"
    database = index / DATABASE
    kept = tmp_path / "backup"
    async with stack.invariant() as checked, stack.client() as client:
        shutil.copytree(index, kept)
        cut(database, database.stat().st_size // 2)
        asked = await stack.ask(client, budget_ms=0)
        assert asked.outcome == "answered"
        said = await refused(client.ingest(document(tmp_path, "wombat")), NotReadyError)
        assert "index path" in said and "is damaged" in said and "ingest the documents again" in said
        observed(f"running: {asked.outcome}; an ingest: {short(said, disks)}")
        retriever.kill()
        for what in ("half", "all"):
            said = await fails_to_start(retriever)
            assert "retriever cannot start: index path" in said and "is damaged" in said, said
            observed(f"start without {what}: {short(said, disks).partition('cannot start: ')[2].partition(';')[0]}")
            cut(database, 0)
        asked = await stack.ask(client, budget_ms=0)
        assert isinstance(asked.error, UnavailableError) and "retriever" in str(asked.error), asked
        observed(f"a question without it: {asked.outcome}, {asked.error}")
        shutil.rmtree(index)
        shutil.copytree(kept, index)
        await retriever.restart()
        await stack.until_answered(client)
        observed("with a backup in its place, full answers")
    observed(checked)


@pytest.mark.case(
    "Storage",
    "the folder of the index cannot be written while the retriever runs",
    injected="chmod 500, on a retriever that permissions bind",
    expected="an ingest is refused and says what to look at, searches go on; writable again, it is indexed",
)
async def test_unwritable(stack: Stack, disks: SmallDisks, tmp_path: Path, observed: Observed) -> None:
    index = disks["index"].seen / "index"
    new = document(tmp_path, "numbat")
    async with stack.invariant() as checked, stack.client() as client:
        index.chmod(0o500)
        try:
            said = await refused(client.ingest(new), NotReadyError)
            assert "cannot be written" in said and "who may write there" in said
            asked = await stack.ask(client, budget_ms=0)
            assert asked.outcome == "answered"
            observed(f"an ingest: {short(said, disks)}; a question is {asked.outcome}")
        finally:
            index.chmod(0o700)
        assert await indexed(client, new) == ["indexed"] and await found(client, "numbat")
        observed("writable again it is indexed and found")
    observed(checked)


@pytest.mark.case(
    "Storage",
    "retriever started with its index on a read-only disk",
    injected="a copy of the index on a tmpfs mounted anew, read-only",
    expected="it ends with status 1 and says what is wrong with which folder",
)
async def test_read_only_start(stack: Stack, disks: SmallDisks, tmp_path: Path, observed: Observed) -> None:
    shutil.copytree(disks["index"].seen / "index", disks["copy"].seen / "index")
    disks["copy"].set_writable(False)
    second = another(stack, tmp_path, ARGO_RETRIEVER_INDEX_PATH=str(disks["copy"].path / "index"))
    said = await fails_to_start(second)
    assert "retriever cannot start: index path" in said and "Read-only file system" in said, said
    observed(f"start: {short(said, disks).partition('cannot start: ')[2]}")


@pytest.mark.case(
    "Storage",
    "another program locks the index's database",
    injected="BEGIN EXCLUSIVE from another process",
    expected="an ingest ends with UNAVAILABLE, the log names that process, searches go on; unlocked, it is indexed",
)
async def test_locked(stack: Stack, disks: SmallDisks, tmp_path: Path, observed: Observed) -> None:
    new = document(tmp_path, "bilby")
    async with stack.invariant() as checked, stack.client() as client:
        with locked(disks, disks["index"].path / "index" / DATABASE) as pid:
            said = await refused(client.ingest(new), UnavailableError)
            assert f"{DATABASE} is locked by another program" in said and f"process {pid}" not in said
            assert f"{DATABASE} is locked by process {pid}" in stack["retriever"].log()
            asked = await stack.ask(client, budget_ms=0)
            assert asked.outcome == "answered"
            observed(f"an ingest: {short(said, disks)}; a question is {asked.outcome}")
        assert await indexed(client, new) == ["indexed"] and await found(client, "bilby")
        observed("unlocked it is indexed and found")
    observed(checked)


@pytest.mark.case(
    "Storage",
    "a second retriever on the same folder",
    injected="started with the first one's settings, at another port",
    expected="it ends with status 1, naming the first; the first goes on",
)
async def test_second_retriever(stack: Stack, tmp_path: Path, observed: Observed) -> None:
    first, second = stack["retriever"], another(stack, tmp_path)
    async with stack.invariant() as checked, stack.client() as client:
        said = await fails_to_start(second)
        assert f"is in use by another retriever, process {first.pid}; stop it or use another path" in said, said
        observed("refused, naming the first one's process")
        assert (await stack.ask(client, budget_ms=0)).outcome == "answered"
        # What it found there is still the first one's to write.
        assert await indexed(client, document(tmp_path, "dunnart")) == ["indexed"]
    observed(checked)


# Retention: last, since the orchestrator is started anew with settings of its own.


@pytest.mark.case(
    "Storage",
    "sessions past their time, and more than are kept",
    injected="session_ttl_s 1, session_most 3, two tenants, on a running orchestrator",
    expected="ended ones go, and their ids are free; a running one stays; another tenant sees nothing",
)
async def test_retention(stack: Stack, disks: SmallDisks, tmp_path: Path, observed: Observed) -> None:
    orchestrator, retriever = stack["orchestrator"], stack["retriever"]
    tokens = tmp_path / "tokens.jsonl"
    one, two = (create(tokens, name=name, tenant=name, roles=(Role.ASK,))[0] for name in ("one", "two"))

    def rows() -> list[str]:
        command = [*disks.prefix, sys.executable, "-c", _ROWS, str(disks["sessions"].path / "sessions.db")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    orchestrator.signal(signal.SIGTERM)
    assert await asyncio.to_thread(orchestrator.wait) == 0
    before = rows()
    orchestrator.environ |= {
        "ARGO_ORCHESTRATOR_TOKEN_FILE": str(tokens),
        "ARGO_ORCHESTRATOR_SESSION_TTL_S": "1",
        "ARGO_ORCHESTRATOR_SESSION_MOST": "3",
    }
    await orchestrator.restart()

    async def pruned() -> bool:
        return rows() == before[:3]

    await until(pruned, why="the newest three are not what was kept")
    observed(f"of {len(before)} sessions the newest 3 are kept")
    async with stack.client(token=one) as client, stack.client(token=two) as other:
        ids = [f"kept-{secrets.token_hex(4)}" for _ in range(2)]
        for session_id in ids:
            await client.ask(QUESTIONS[0], session_id=session_id, budget_ms=0)
        # For less time than it takes to notice, so that the question is answered.
        retriever.freeze()
        try:
            running_id = f"running-{secrets.token_hex(4)}"
            asking = asyncio.create_task(client.ask(QUESTIONS[1], session_id=running_id, budget_ms=0))

            async def alone() -> bool:
                # What runs is as old as what ended must be to go.
                listed = await client.sessions()
                return [one.session_id for one in listed] == [running_id] and listed[0].created_at_s < time.time() - 1

            await until(alone, why="the ended ones did not go, or the running one did")
            assert (await client.session(running_id)).status == "running"
            observed("past their time both ended ones are gone, and the one that still runs is not")
            assert await other.sessions() == []
            assert "not known" in await refused(other.session(running_id), NotFoundError)
            observed("another tenant lists none, and does not know it by its id")
        finally:
            retriever.thaw()
        assert (await asking).text
        assert (await client.ask(QUESTIONS[2], session_id=ids[0], budget_ms=0)).text
        observed("an id that is free again takes another question")

        async def deleted() -> bool:
            return not any(row.startswith("one/") for row in rows())

        await until(deleted, PATIENCE_S, "rows past their time were not deleted")
        observed("their rows are deleted without a question coming")
