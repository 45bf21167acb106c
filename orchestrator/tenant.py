"""What keeps tenants apart: each sees its own sessions alone, and takes no more than its share of the orchestrator."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from argo.admission import LateError, QueueFullError
from argo.errors import ResourceExhaustedError
from argo.identity import current_tenant
from argo.v1 import orchestrator_pb2, session_pb2
from orchestrator.session import SCOPE_END, SessionPage, SessionRecord, SessionStatus, SessionStore, shown_id

__all__ = ["TenantQuota", "TenantSessions", "TenantShareError"]

_RUNNING_RETRY_S: Final = 1.0
"""A question takes about its budget, a second by default; by then one of those that run has ended."""


class TenantShareError(ResourceExhaustedError):
    """A tenant asks more than its share."""


class TenantSessions:
    """A session store in which equal ids of two tenants are two sessions.

    The tenant is that of the call in whose context a method runs. Without tenants it is the store itself.

    Args:
        store: Where the sessions of all tenants are kept.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def open(self) -> None:
        """Open the store."""
        await self._store.open()

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def begin(self, session_id: str, request: orchestrator_pb2.AskRequest) -> SessionRecord | None:
        """Record a new running question, or return the tenant's own that is there."""
        existing = await self._store.begin(_scoped(session_id), request)
        return None if existing is None else _own(existing)

    async def plan(self, session_id: str, plan: session_pb2.RecordedPlan) -> None:
        """Record the plan."""
        await self._store.plan(_scoped(session_id), plan)

    async def step(self, session_id: str, step: session_pb2.RecordedStep) -> None:
        """Record a finished step."""
        await self._store.step(_scoped(session_id), step)

    async def finish(self, session_id: str, answer: orchestrator_pb2.AskEvent) -> None:
        """Record the answer."""
        await self._store.finish(_scoped(session_id), answer)

    async def fail(self, session_id: str, code: str, message: str) -> None:
        """Record a failure."""
        await self._store.fail(_scoped(session_id), code, message)

    async def interrupt(self, session_id: str) -> None:
        """A running session becomes interrupted."""
        await self._store.interrupt(_scoped(session_id))

    async def resume(self, session_id: str) -> SessionRecord:
        """An interrupted session becomes running."""
        return _own(await self._store.resume(_scoped(session_id)))

    async def get(self, session_id: str) -> SessionRecord:
        """The whole record; NotFoundError also where it is another tenant's."""
        return _own(await self._store.get(_scoped(session_id)))

    async def list(self, page_size: int, page_token: str, status: SessionStatus | None, scope: str = "") -> SessionPage:
        """A page of the tenant's own sessions."""
        page = await self._store.list(page_size, page_token, status, scope or _scope())
        return SessionPage([_own(record) for record in page.sessions], page.next_page_token)

    async def delete(self, session_id: str) -> None:
        """Forget a session of the tenant's own."""
        await self._store.delete(_scoped(session_id))


def _scope() -> str:
    tenant = current_tenant()
    return f"{tenant}{SCOPE_END}" if tenant else ""


def _scoped(session_id: str) -> str:
    return f"{_scope()}{session_id}"


def _own(record: SessionRecord) -> SessionRecord:
    return replace(record, session_id=shown_id(record.session_id))


@dataclass(slots=True)
class _Share:
    """What one tenant has taken."""

    left: float
    filled_at: float
    running: int = 0


class TenantQuota:
    """How many questions a tenant may ask a second, and have running at once.

    Args:
        per_s: Questions a second in the long run; None for no bound.
        burst: Questions that may come at once after a pause.
        running: Questions running at once; None for no bound.
    """

    def __init__(self, per_s: float | None, burst: int, running: int | None) -> None:
        self._per_s = per_s
        self._burst = burst
        self._running = running
        # Tenants come from the token file, so that there are no more of them than an operator has named.
        self._shares: dict[str, _Share] = {}

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one question's share for the tenant of this call; one that is refused a place within costs none.

        Raises:
            TenantShareError: It has none left; says when trying again makes sense.
        """
        tenant = current_tenant()
        if not tenant or (self._per_s is None and self._running is None):
            yield
            return
        share = self._shares.setdefault(tenant, _Share(float(self._burst), time.monotonic()))
        if self._running is not None and share.running >= self._running:
            raise TenantShareError(
                f"tenant {tenant} has {share.running} questions running, the most that it may", _RUNNING_RETRY_S
            )
        self._take(tenant, share)
        share.running += 1
        try:
            yield
        except (QueueFullError, LateError):
            # Refused before it was begun, for what others do: no question of its own.
            share.left = min(float(self._burst), share.left + 1)
            raise
        finally:
            share.running -= 1

    def _take(self, tenant: str, share: _Share) -> None:
        """One question out of the bucket, which fills by the second."""
        if self._per_s is None:
            return
        now = time.monotonic()
        share.left = min(float(self._burst), share.left + (now - share.filled_at) * self._per_s)
        share.filled_at = now
        if share.left < 1:
            raise TenantShareError(
                f"tenant {tenant} may ask {self._per_s:g} questions a second, and {self._burst} at once after a pause",
                (1 - share.left) / self._per_s,
            )
        share.left -= 1
