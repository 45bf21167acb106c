"""The session store on SQLite: one file, write-ahead log, readable by its owner only."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from argo.errors import NotFoundError, NotReadyError
from argo.v1 import orchestrator_pb2, session_pb2
from orchestrator.session import SCOPE_END, SessionPage, SessionRecord, SessionStatus, StoreError, shown_id
from orchestrator.session_file import SessionFile
from orchestrator.session_ids import KnownIds
from orchestrator.session_page import decode_token, encode_token
from orchestrator.session_table import KEPT, SCHEMA, SCHEMA_VERSION, delete_old, stored_ids

__all__ = ["SqliteSessionStore"]

_LOG = logging.getLogger(__name__)
_PRUNE_EVERY_S: Final = 60.0
"""At most; sessions that live for less than that are pruned more often."""
_LOOK_EVERY_S: Final = 0.5
"""Between two looks at whether something is to be pruned or made up for; a full disk may have room again."""
_PRUNED_AT_ONCE: Final = 50
"""Whatever else is to be written or read has its turn after so many; each is taken out of the file page by page."""
_COLUMNS: Final = (
    "session_id, status, request, plan, answer, error_code, error_message, created_at_s, updated_at_s,"
    " expires_at_s, resumed, (SELECT count(*) FROM step WHERE step.session_id = session.session_id)"
)


class SqliteSessionStore:
    """Keeps sessions in one SQLite file.

    Args:
        path: The file; made with mode 0600, its folder too when missing.
        ttl_s: Seconds after its last change at which a session is gone; a running one never is.
        most: Sessions kept besides the running ones, whatever their age; the oldest beyond are pruned.
    """

    def __init__(self, path: Path, ttl_s: float, most: int = 10_000) -> None:
        self._file = SessionFile(path, SCHEMA, SCHEMA_VERSION)
        self._ttl_s = ttl_s
        self._most = most
        self._prune_every_s = min(_PRUNE_EVERY_S, max(1.0, ttl_s))
        self._pruned_at_s = 0.0
        self._ids = KnownIds()
        self._left: set[str] = set()
        self._making_up = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the file and take its lock. Raises NotReadyError where another orchestrator holds it."""
        # Whoever left them running is dead: the lock was free.
        await self._file.open(lambda db: self._interrupt(db, "status = 'running'"))
        self._ids.replace(await self._file.run(stored_ids, writes=False))
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Finish what is being written and give the lock back."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        self._ids.forget()
        await self._file.close()

    async def begin(self, session_id: str, request: orchestrator_pb2.AskRequest) -> SessionRecord | None:
        """Record a new running question, or return the one that is there."""
        payload = request.SerializeToString(deterministic=True)
        self._ids.add(session_id)
        await self._make_up()

        def work(db: sqlite3.Connection) -> SessionRecord | None:
            now = time.time()
            db.execute(f"DELETE FROM session WHERE session_id = ? AND NOT {KEPT}", (session_id, now))
            inserted = db.execute(
                "INSERT INTO session (session_id, status, request, created_at_s, updated_at_s, expires_at_s)"
                " VALUES (?, 'running', ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (session_id, payload, now, now, now + self._ttl_s),
            ).rowcount
            return None if inserted else _read(db, session_id)

        return await self._file.run(work)

    async def plan(self, session_id: str, plan: session_pb2.RecordedPlan) -> None:
        """Record the plan."""
        await self._update(session_id, "plan = ?", plan.SerializeToString(deterministic=True))

    async def step(self, session_id: str, step: session_pb2.RecordedStep) -> None:
        """Record a finished step; the same index twice keeps the first."""
        payload = step.SerializeToString(deterministic=True)

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO step (session_id, step_index, record) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (session_id, step.finished.index, payload),
            )
            self._touch(db, session_id, "resumed = resumed")

        await self._file.run(work)

    async def finish(self, session_id: str, answer: orchestrator_pb2.AskEvent) -> None:
        """Record the answer."""
        payload = answer.SerializeToString(deterministic=True)
        await self._end(session_id, lambda db: self._touch(db, session_id, "status = 'finished', answer = ?", payload))

    async def fail(self, session_id: str, code: str, message: str) -> None:
        """Record a failure."""
        assignment = "status = 'failed', error_code = ?, error_message = ?"
        await self._end(session_id, lambda db: self._touch(db, session_id, assignment, code, message))

    async def interrupt(self, session_id: str) -> None:
        """A running session becomes interrupted."""
        which = "status = 'running' AND session_id = ?"
        await self._end(session_id, lambda db: self._interrupt(db, which, session_id))

    async def resume(self, session_id: str) -> SessionRecord:
        """An interrupted session becomes running, once."""
        await self._make_up()

        def work(db: sqlite3.Connection) -> SessionRecord:
            record = _read(db, session_id)
            if record.status is not SessionStatus.INTERRUPTED:
                raise NotReadyError(
                    f"session {shown_id(session_id)} is {record.status.value}; only an interrupted one can be resumed"
                )
            self._touch(db, session_id, "status = 'running', resumed = resumed + 1")
            return record

        return await self._file.run(work)

    async def get(self, session_id: str) -> SessionRecord:
        """The whole record."""
        if session_id not in self._ids:
            # At once, and not behind what is being written: a question that is refused looks here first.
            raise _unknown(session_id)
        return await self._file.run(lambda db: _read(db, session_id), writes=False)

    async def list(self, page_size: int, page_token: str, status: SessionStatus | None, scope: str = "") -> SessionPage:
        """A page of the sessions in scope, newest first."""
        before = decode_token(page_token)

        def work(db: sqlite3.Connection) -> SessionPage:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM session WHERE (created_at_s, session_id) < (?, ?) AND {KEPT}"
                " AND (? IS NULL OR status = ?) AND substr(session_id, 1, instr(session_id, ?)) = ?"
                " ORDER BY created_at_s DESC, session_id DESC LIMIT ?",
                (*before, time.time(), status, status, SCOPE_END, scope, page_size + 1),
            ).fetchall()
            records = [_record(row, ()) for row in rows[:page_size]]
            more = len(rows) > page_size
            token = encode_token(records[-1].created_at_s, records[-1].session_id) if more else ""
            return SessionPage(records, token)

        return await self._file.run(work, writes=False)

    async def delete(self, session_id: str) -> None:
        """Forget a session."""
        await self._make_up()

        def work(db: sqlite3.Connection) -> None:
            if _read(db, session_id).status is SessionStatus.RUNNING:
                raise NotReadyError(f"session {shown_id(session_id)} is running; cancel it before deleting it")
            db.execute("DELETE FROM session WHERE session_id = ?", (session_id,))

        await self._file.run(work)

    async def _update(self, session_id: str, assignment: str, *values: bytes | str) -> None:
        await self._file.run(lambda db: self._touch(db, session_id, assignment, *values))

    def _interrupt(self, db: sqlite3.Connection, which: str, *values: str) -> None:
        now = time.time()
        db.execute(
            f"UPDATE session SET status = 'interrupted', updated_at_s = ?, expires_at_s = ? WHERE {which}",
            (now, now + self._ttl_s, *values),
        )

    def _touch(self, db: sqlite3.Connection, session_id: str, assignment: str, *values: bytes | str) -> None:
        now = time.time()
        db.execute(
            f"UPDATE session SET {assignment}, updated_at_s = ?, expires_at_s = ? WHERE session_id = ?",
            (*values, now, now + self._ttl_s, session_id),
        )

    async def _end(self, session_id: str, write: Callable[[sqlite3.Connection], None]) -> None:
        """Write how a running session ended; one that cannot be written now is kept for :meth:`_make_up`."""
        try:
            await self._file.run(write)
        except StoreError:
            self._left.add(session_id)
            raise
        self._left.discard(session_id)

    async def _make_up(self) -> None:
        """Interrupt what ended while it could not be written: nobody is answering it. Raises where it still cannot."""
        if not self._left:
            return
        # Not two at once: the second might interrupt what has been resumed after the first.
        async with self._making_up:
            for session_id in tuple(self._left):
                await self.interrupt(session_id)

    async def _prune(self) -> None:
        now = time.time()
        if now - self._pruned_at_s < self._prune_every_s:
            return
        self._pruned_at_s = now
        self._ids.mark()
        # Read before: also where nothing can be deleted, on a full disk, ids that were never written are let go.
        self._ids.replace(await self._file.run(stored_ids, writes=False))
        while await self._file.run(lambda db: delete_old(db, now, self._most, _PRUNED_AT_ONCE)):
            pass

    async def _keep(self) -> None:
        """Prune, and make up for what could not be written, also while no question comes."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await self._make_up()
                await self._prune()
            except StoreError as error:
                # Whoever asks is told of it; here it is only tried again.
                _LOG.debug("the sessions could not be tidied: %s", error)
            except Exception:
                # One bad look must not end the watch.
                _LOG.exception("the sessions could not be tidied")


def _unknown(session_id: str) -> NotFoundError:
    return NotFoundError(f"session_id {shown_id(session_id)!r} is not known here")


def _read(db: sqlite3.Connection, session_id: str) -> SessionRecord:
    row = db.execute(
        f"SELECT {_COLUMNS} FROM session WHERE session_id = ? AND {KEPT}", (session_id, time.time())
    ).fetchone()
    if row is None:
        raise _unknown(session_id)
    steps = db.execute("SELECT record FROM step WHERE session_id = ? ORDER BY step_index", (session_id,)).fetchall()
    return _record(row, steps)


def _record(row: tuple[object, ...], steps: list[tuple[bytes]] | tuple[()]) -> SessionRecord:
    session_id, status, request, plan, answer, code, message, created, updated, expires, resumed, count = row
    return SessionRecord(
        session_id=str(session_id),
        status=SessionStatus(str(status)),
        request=orchestrator_pb2.AskRequest.FromString(_bytes(request)),
        plan=session_pb2.RecordedPlan.FromString(_bytes(plan)) if plan is not None else None,
        steps=[session_pb2.RecordedStep.FromString(record) for (record,) in steps],
        answer=orchestrator_pb2.AskEvent.FromString(_bytes(answer)) if answer is not None else None,
        error_code=str(code),
        error_message=str(message),
        created_at_s=float(str(created)),
        updated_at_s=float(str(updated)),
        expires_at_s=float(str(expires)),
        resumed=int(str(resumed)),
        step_count=int(str(count)),
    )


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes), "a STRICT table holds blobs as bytes"
    return value
