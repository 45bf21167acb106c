"""Sessions: what is recorded of each question, behind a port.

A session is one question and its state, not a conversation. Its id is an idempotency key: asked again, a finished
question answers with its recorded last event.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from argo.errors import ArgoError, NotReadyError, UnavailableError
from argo.v1 import orchestrator_pb2, session_pb2

__all__ = [
    "SCOPE_END",
    "SessionPage",
    "SessionRecord",
    "SessionStatus",
    "SessionStore",
    "StoreError",
    "StoreNotReadyError",
    "StoreUnavailableError",
    "in_scope",
    "shown_id",
]

SCOPE_END: Final = "/"
"""Parts a tenant's name from the id that it gave; neither may hold it."""


class StoreError(ArgoError):
    """The store itself failed: the question has done nothing wrong, and can go on once the store works again."""


class StoreNotReadyError(StoreError, NotReadyError):
    """An operator must act before the store can work: its disk is full, say."""


class StoreUnavailableError(StoreError, UnavailableError):
    """The store cannot be reached now; it may be in a moment."""


def shown_id(stored_id: str) -> str:
    """The id as its tenant knows it."""
    return stored_id.rpartition(SCOPE_END)[2]


def in_scope(stored_id: str, scope: str) -> bool:
    """Whether a stored id is of a scope: a tenant's name with SCOPE_END behind it, or empty for those of no tenant."""
    return stored_id.startswith(scope) if scope else SCOPE_END not in stored_id


class SessionStatus(enum.StrEnum):
    """Where a recorded question stands."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class SessionRecord:
    """Everything recorded of one question; times are Unix seconds."""

    session_id: str
    status: SessionStatus
    request: orchestrator_pb2.AskRequest
    created_at_s: float
    updated_at_s: float
    expires_at_s: float
    resumed: int = 0
    plan: session_pb2.RecordedPlan | None = None
    steps: Sequence[session_pb2.RecordedStep] = field(default=())
    answer: orchestrator_pb2.AskEvent | None = None
    error_code: str = ""
    error_message: str = ""
    step_count: int = 0


@dataclass(frozen=True)
class SessionPage:
    """One page of sessions, newest first, without their steps; the token is empty on the last page."""

    sessions: Sequence[SessionRecord]
    next_page_token: str


class SessionStore(Protocol):
    """Where sessions are kept. Every method is durable against the death of this process when it returns.

    Every method raises StoreError where the store itself fails. An end that it could not write, by :meth:`finish`,
    :meth:`fail` or :meth:`interrupt`, is made up for: the session is interrupted once the store works again.
    """

    async def open(self) -> None:
        """Make ready; questions that a dead orchestrator left running become interrupted."""

    async def close(self) -> None:
        """Finish what is being written."""

    async def begin(self, session_id: str, request: orchestrator_pb2.AskRequest) -> SessionRecord | None:
        """Record a new running question; return the record that is already there under this id, if any."""

    async def plan(self, session_id: str, plan: session_pb2.RecordedPlan) -> None:
        """Record the plan."""

    async def step(self, session_id: str, step: session_pb2.RecordedStep) -> None:
        """Record a finished step; the same index twice keeps the first."""

    async def finish(self, session_id: str, answer: orchestrator_pb2.AskEvent) -> None:
        """Record the answer; the session is finished."""

    async def fail(self, session_id: str, code: str, message: str) -> None:
        """Record a failure; the session is failed."""

    async def interrupt(self, session_id: str) -> None:
        """A running session becomes interrupted; any other is left."""

    async def resume(self, session_id: str) -> SessionRecord:
        """An interrupted session becomes running, once, and is returned whole.

        Raises:
            NotFoundError: Unknown id.
            NotReadyError: It is not interrupted.
        """

    async def get(self, session_id: str) -> SessionRecord:
        """The whole record. Raises NotFoundError for an unknown id."""

    async def list(self, page_size: int, page_token: str, status: SessionStatus | None, scope: str = "") -> SessionPage:
        """A page of the sessions :func:`in_scope`. Raises InvalidArgumentError for a token that is not this store's."""

    async def delete(self, session_id: str) -> None:
        """Forget a session. Raises NotFoundError, or NotReadyError while it runs."""
