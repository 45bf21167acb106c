"""Which session store the settings ask for."""

from __future__ import annotations

from argo.errors import NotReadyError
from orchestrator.session import SessionStore
from orchestrator.session_sqlite import SqliteSessionStore
from orchestrator.settings import OrchestratorSettings

__all__ = ["make_store"]


def make_store(settings: OrchestratorSettings) -> SessionStore:
    """The store, not yet open; called inside the event loop that will use it.

    Raises:
        InvalidArgumentError: session_url is not one of Redis.
        NotReadyError: The redis library is not installed.
    """
    if settings.session_url is None:
        return SqliteSessionStore(settings.session_path, settings.session_ttl_s, settings.session_most)
    try:
        # Of an extra of its own: a single orchestrator needs no Redis.
        from orchestrator.session_redis import RedisSessionStore
    except ImportError:
        raise NotReadyError("session_url needs the redis library: install the extra argo-oran[redis]") from None
    return RedisSessionStore(
        settings.session_url.get_secret_value(),
        settings.session_ttl_s,
        settings.session_most,
        lease_s=settings.session_lease_s,
        prefix=settings.session_prefix,
    )
