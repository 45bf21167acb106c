"""Writes sessions as an orchestrator does until it dies in the middle of a write; run as a program by its test.

Each line on its input is a task; a child is forked for it, which opens the session file, goes on with what the one
before left interrupted, and tells on its output what it is about to record and what it has recorded. A limit is on the
size of the file that it writes: the kernel writes what fits, and kills it (SIGXFSZ) for the byte after, so that a
write is torn at just that byte.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from argo.v1 import orchestrator_pb2, session_pb2, types_pb2
from orchestrator.session import SessionStatus
from orchestrator.session_sqlite import SqliteSessionStore

STEPS = 4
_TTL_S = 3600.0


def step(session_id: str, index: int, size: int) -> session_pb2.RecordedStep:
    """One of so many bytes, and no other session's or index's."""
    text = f"{session_id} {index} " * (size // len(f"{session_id} {index} ") + 1)
    passage = types_pb2.Passage(id=f"{session_id}-{index}", text=text[:size])
    return session_pb2.RecordedStep(
        finished=orchestrator_pb2.StepFinished(index=index),
        searches=[orchestrator_pb2.PassagesEvent(step=index, passages=[passage])],
    )


def digest(record: session_pb2.RecordedStep) -> str:
    """Of the bytes that the store keeps."""
    return hashlib.sha256(record.SerializeToString(deterministic=True)).hexdigest()


def tell(*line: object) -> None:
    """Unbuffered, so that what is told is told before what comes next is done."""
    os.write(sys.stdout.fileno(), (json.dumps(line) + "\n").encode())


async def write(path: Path, name: str, size: int, limit: int | None) -> None:
    """Record sessions until something ends this process.

    Args:
        path: The session file.
        name: Begins the ids of new sessions.
        size: Of each step, in bytes.
        limit: Bytes by which the write-ahead log may grow; None for any number.
    """
    store = SqliteSessionStore(path, _TTL_S)
    await store.open()
    left = (await store.list(100, "", SessionStatus.INTERRUPTED)).sessions
    tell("open", [record.session_id for record in left])
    if limit is not None:
        most = path.with_name(path.name + "-wal").stat().st_size + limit
        tell("limit", most)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        # Python ignores it, so that a write would fail instead.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    for record in left:
        await _go_on(store, record.session_id, (await store.resume(record.session_id)).steps, size)
    for number in range(1_000_000):
        session_id = f"{name}-{number}"
        tell("beginning", session_id)
        await store.begin(session_id, orchestrator_pb2.AskRequest(question="What is E2?", session_id=session_id))
        tell("begun", session_id)
        await _go_on(store, session_id, (), size)


async def _go_on(store: SqliteSessionStore, session_id: str, steps: Any, size: int) -> None:
    for index in range(len(steps) + 1, STEPS + 1):
        record = step(session_id, index, size)
        tell("recording", session_id, index, digest(record))
        await store.step(session_id, record)
        tell("recorded", session_id, index)
    tell("finishing", session_id)
    await store.finish(session_id, orchestrator_pb2.AskEvent(session_id=session_id, sequence=STEPS))
    tell("finished", session_id)


def main() -> None:
    """Fork a child for each task, and tell how it ended."""
    for line in sys.stdin:
        task = json.loads(line)
        if (pid := os.fork()) == 0:
            tell("child", os.getpid())
            asyncio.run(write(Path(task["path"]), task["name"], task["size"], task["limit"]))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        tell("ended", signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
