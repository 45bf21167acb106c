"""Who makes a call: a name, a tenant and roles, known to whatever runs on behalf of that call."""

from __future__ import annotations

import enum
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

__all__ = ["TENANT_KEY", "Identity", "Role", "current_identity", "current_tenant", "set_identity"]

TENANT_KEY: Final = "argo-tenant"
"""Metadata in which the orchestrator tells the services behind it for whom it asks."""


class Role(enum.StrEnum):
    """What a caller may do."""

    ASK = "ask"
    """Ask questions, and see and resume the tenant's own sessions."""
    INGEST = "ingest"
    """Put documents in and take them out."""
    ADMIN = "admin"
    """Everything, also reloading the policy."""
    SERVICE = "service"
    """An orchestrator towards the services behind it; may speak for any tenant."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller that has been recognised."""

    name: str
    """Of the token or the certificate, for logs and messages."""
    tenant: str = ""
    """Whose sessions, caches and quota; empty for the only tenant of a stack without tokens."""
    roles: frozenset[Role] = frozenset()


_current: ContextVar[Identity | None] = ContextVar("argo_identity", default=None)


def set_identity(identity: Identity) -> None:
    """Note who makes the call that runs in this context; gRPC runs each call in a task, so in a context, of its own."""
    _current.set(identity)


def current_identity() -> Identity | None:
    """Who makes the call that runs in this context; None outside a call, or where nobody is asked who it is."""
    return _current.get()


def current_tenant() -> str:
    """The tenant of the call that runs in this context; empty where there are none."""
    identity = _current.get()
    return "" if identity is None else identity.tenant
