"""The session store on a Redis server, for several orchestrators that share their sessions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from argo.errors import AlreadyExistsError, ArgoError, NotFoundError, NotReadyError, UnavailableError
from argo.v1 import orchestrator_pb2, session_pb2
from orchestrator import session_script as scripts
from orchestrator.session import SessionPage, SessionRecord, SessionStatus, in_scope, shown_id
from orchestrator.session_page import FIRST_PAGE, decode_token, encode_token
from orchestrator.session_server import SessionServer

__all__ = ["RedisSessionStore"]

_LOG = logging.getLogger(__name__)
_PRUNE_EVERY_S: Final = 60.0
_PRUNED_AT_ONCE: Final = 1_000
"""Redis does nothing else while a script runs; this many take some milliseconds."""
_BEATS: Final = 3
"""Renewals within a lease: two may be lost."""
_NO_RUN: Final = "-"
_SHOWN: Final = (
    "status",
    "request",
    "answer",
    "plan",
    "error_code",
    "error_message",
    "created",
    "updated",
    "expires",
    "resumed",
    "steps",
)


class RedisSessionStore:
    """Keeps sessions in Redis.

    Each orchestrator holds a lease, which it renews while it lives. What it was answering when its lease ran out is
    interrupted, and another may resume it; from then on whatever the first one writes is refused.

    Args:
        url: As :class:`SessionServer` takes it.
        ttl_s: Seconds after its last change at which a session expires; a running one never does.
        most: Sessions kept besides the running ones, whatever their age; the oldest beyond are pruned.
        lease_s: Seconds without a sign of life after which an orchestrator counts as dead.
        prefix: Of every key, so that a server can be shared.
        patience_s: How long the start waits for the server.
    """

    def __init__(
        self,
        url: str,
        ttl_s: float,
        most: int = 10_000,
        *,
        lease_s: float = 3.0,
        prefix: str = "argo",
        patience_s: float = 30.0,
    ) -> None:
        self._server = SessionServer(url, patience_s)
        # In braces: a proxy in front of several servers then keeps all keys on one, as the scripts need.
        self._prefix = f"{{{prefix}}}"
        self._ttl_s = ttl_s
        self._most = most
        self._lease_ms = round(lease_s * 1000)
        self._beat_s = lease_s / _BEATS
        self._owner = secrets.token_hex(8)
        self._runs: dict[str, str] = {}
        self._left: dict[str, str] = {}
        self._pruned_at_s = -_PRUNE_EVERY_S
        self._heart: asyncio.Task[None] | None = None
        self._is_open = False

    async def open(self) -> None:
        """Wait for the server and begin to live; what dead orchestrators left running becomes interrupted.

        Raises:
            UnavailableError: The server could not be reached in time.
            NotReadyError: It refuses this user.
        """
        await self._server.open()
        self._is_open = True
        await self._beat()
        self._heart = asyncio.create_task(self._live())

    async def close(self) -> None:
        """Give the lease back and close the connections."""
        self._is_open = False
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait({self._heart})
            with contextlib.suppress(ArgoError):
                await self._server.run(scripts.LEAVE, self._prefix, self._owner)
        await self._server.close()

    async def begin(self, session_id: str, request: orchestrator_pb2.AskRequest) -> SessionRecord | None:
        """Record a new running question, or return the one that is there."""
        run, payload = secrets.token_hex(8), request.SerializeToString(deterministic=True)
        with self._unsure(session_id, run):
            there = await self._run(scripts.BEGIN, session_id, self._owner, run, self._lease_ms, self._ttl_s, payload)
        if there:
            return _record(session_id, _pairs(there))
        self._runs[session_id] = run
        return None

    async def plan(self, session_id: str, plan: session_pb2.RecordedPlan) -> None:
        """Record the plan. Raises AlreadyExistsError where another orchestrator has taken the question over."""
        await self._write(session_id, "plan", plan.SerializeToString(deterministic=True))

    async def step(self, session_id: str, step: session_pb2.RecordedStep) -> None:
        """Record a finished step; the same index twice keeps the first. Raises as :meth:`plan`."""
        await self._write(session_id, f"step:{step.finished.index}", step.SerializeToString(deterministic=True))

    async def finish(self, session_id: str, answer: orchestrator_pb2.AskEvent) -> None:
        """Record the answer. Raises as :meth:`plan`."""
        payload = answer.SerializeToString(deterministic=True)
        self._check(session_id, await self._settle(session_id, SessionStatus.FINISHED, "answer", payload))

    async def fail(self, session_id: str, code: str, message: str) -> None:
        """Record a failure; nothing where another orchestrator has taken the question over."""
        await self._settle(session_id, SessionStatus.FAILED, "error_code", code, "error_message", message)

    async def interrupt(self, session_id: str) -> None:
        """A question that runs here becomes interrupted; any other is left."""
        if session_id in self._runs:
            await self._settle(session_id, SessionStatus.INTERRUPTED)

    async def resume(self, session_id: str) -> SessionRecord:
        """An interrupted session becomes running, once.

        One that runs is looked at until its orchestrator shows that it lives or its lease has run out, so that a caller
        whose orchestrator was just killed need not know of leases.
        """
        run, lease_before_ms = secrets.token_hex(8), None
        while True:
            with self._unsure(session_id, run):
                reply = await self._run(scripts.RESUME, session_id, self._owner, run, self._lease_ms, self._ttl_s)
            outcome = reply[0].decode()
            if outcome == "unknown":
                raise _unknown(session_id)
            if outcome == "resumed":
                self._runs[session_id] = run
                return _record(session_id, _pairs(reply[1]))
            owner, lease_ms = reply[1].decode(), int(reply[2])
            renewed = lease_before_ms is not None and lease_ms > lease_before_ms
            if outcome != SessionStatus.RUNNING or owner == self._owner or renewed:
                raise NotReadyError(
                    f"session {shown_id(session_id)} is {outcome}; only an interrupted one can be resumed"
                )
            lease_before_ms = lease_ms
            await asyncio.sleep(min(self._beat_s / 2, lease_ms / 1000 + 0.001))

    async def get(self, session_id: str) -> SessionRecord:
        """The whole record."""
        fields = _pairs(await self._run(scripts.GET, session_id, self._ttl_s))
        if not fields:
            raise _unknown(session_id)
        return _record(session_id, fields)

    async def list(self, page_size: int, page_token: str, status: SessionStatus | None, scope: str = "") -> SessionPage:
        """A page of the sessions in scope, newest first."""
        before = decode_token(page_token)
        self._check_open()
        found: list[SessionRecord] = []
        chunk, offset = max(page_size + 1, 50), 0
        most = "+inf" if before == FIRST_PAGE else repr(before[0])
        while len(found) <= page_size:
            entries = await self._server.newest(f"{self._prefix}:created", most, offset, chunk)
            ids = [
                member
                for member, created in entries
                if in_scope(member, scope) and (before == FIRST_PAGE or (created, member) < before)
            ]
            rows = await self._server.fields([f"{self._prefix}:session:{member}" for member in ids], [*_SHOWN])
            # One that has just expired is still in the index, without fields.
            records = [_record(member, row) for member, row in zip(ids, rows, strict=True) if row]
            found += [record for record in records if status is None or record.status is status]
            if len(entries) < chunk:
                break
            offset += chunk
        page = found[:page_size]
        more = len(found) > page_size
        return SessionPage(page, encode_token(page[-1].created_at_s, page[-1].session_id) if more else "")

    async def delete(self, session_id: str) -> None:
        """Forget a session."""
        status = (await self._run(scripts.DELETE, session_id, self._ttl_s)).decode()
        if not status:
            raise _unknown(session_id)
        if status == SessionStatus.RUNNING:
            raise NotReadyError(f"session {shown_id(session_id)} is running; cancel it before deleting it")

    async def _run(self, script: str, *arguments: str | bytes | int | float) -> Any:
        self._check_open()
        return await self._server.run(script, self._prefix, *arguments)

    def _check_open(self) -> None:
        if not self._is_open:
            raise NotReadyError("the session store is closed")

    async def _write(self, session_id: str, field: str, payload: bytes) -> None:
        run = self._runs.get(session_id, _NO_RUN)
        outcome = await self._run(
            scripts.WRITE, session_id, self._owner, run, self._lease_ms, self._ttl_s, field, payload
        )
        self._check(session_id, outcome.decode())

    async def _settle(self, session_id: str, status: SessionStatus, *fields: str | bytes) -> str:
        """End a question that runs here."""
        run = self._runs.get(session_id, _NO_RUN)
        outcome = await self._end(session_id, run, status, *fields)
        # Meanwhile it may have been begun anew.
        if self._runs.get(session_id) == run:
            del self._runs[session_id]
        return outcome

    async def _end(self, session_id: str, run: str, status: SessionStatus, *fields: str | bytes) -> str:
        with self._unsure(session_id, run):
            outcome = await self._run(
                scripts.SETTLE, session_id, self._owner, run, self._lease_ms, self._ttl_s, status, *fields
            )
        self._left.pop(run, None)
        return str(outcome.decode())

    @contextlib.contextmanager
    def _unsure(self, session_id: str, run: str) -> Iterator[None]:
        """A run of which nobody knows what Redis holds is given up as soon as Redis takes that: see :meth:`_beat`."""
        try:
            yield
        except (ArgoError, asyncio.CancelledError):
            self._left[run] = session_id
            raise

    def _check(self, session_id: str, outcome: str) -> None:
        if outcome == "lost":
            raise AlreadyExistsError(f"session {shown_id(session_id)} has been taken over by another orchestrator")
        if outcome == "gone":
            raise UnavailableError(f"session {shown_id(session_id)} is gone from the session store")

    async def _live(self) -> None:
        # Asked each time: a cancellation that meets a time-out inside the client can be lost.
        while self._is_open:
            await asyncio.sleep(self._beat_s)
            try:
                await self._beat()
                # Here, and not where a question begins: none is to wait for it.
                await self._prune()
            except ArgoError as error:
                # Its own questions find out by their writes; here it is only tried again.
                _LOG.warning("no sign of life could be given: %s", error)

    async def _beat(self) -> None:
        await self._run(scripts.BEAT, self._owner, self._lease_ms, self._ttl_s)
        for run, session_id in tuple(self._left.items()):
            await self._end(session_id, run, SessionStatus.INTERRUPTED)

    async def _prune(self) -> None:
        now = time.monotonic()
        if now - self._pruned_at_s >= _PRUNE_EVERY_S:
            self._pruned_at_s = now
            while await self._run(scripts.PRUNE, self._most, _PRUNED_AT_ONCE):
                pass


def _unknown(session_id: str) -> NotFoundError:
    return NotFoundError(f"session_id {shown_id(session_id)!r} is not known here")


def _pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _record(session_id: str, fields: Mapping[str, bytes]) -> SessionRecord:
    steps = sorted((int(name[5:]), value) for name, value in fields.items() if name.startswith("step:"))
    return SessionRecord(
        session_id=session_id,
        status=SessionStatus(fields["status"].decode()),
        request=orchestrator_pb2.AskRequest.FromString(fields["request"]),
        plan=session_pb2.RecordedPlan.FromString(fields["plan"]) if "plan" in fields else None,
        steps=[session_pb2.RecordedStep.FromString(value) for _, value in steps],
        answer=orchestrator_pb2.AskEvent.FromString(fields["answer"]) if "answer" in fields else None,
        error_code=fields.get("error_code", b"").decode(),
        error_message=fields.get("error_message", b"").decode(),
        created_at_s=float(fields["created"]),
        updated_at_s=float(fields["updated"]),
        expires_at_s=float(fields["expires"]),
        resumed=int(fields["resumed"]),
        step_count=int(fields["steps"]),
    )
