"""The adapter of redis-py: the only module that imports it. One server, its scripts, and its faults in our words."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final
from urllib.parse import urlsplit

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from argo.errors import InvalidArgumentError
from orchestrator.session import StoreNotReadyError, StoreUnavailableError
from orchestrator.session_fault import FaultTeller, StoreFault

__all__ = ["SessionServer"]

_LOG = logging.getLogger(__name__)
_SCHEMES: Final = ("redis", "rediss", "unix")
_CONNECTIONS: Final = 64
"""More questions than this write at once by waiting for each other, a fraction of a millisecond each."""
_CONNECT_S: Final = 1.0
_REPLY_S: Final = 3.0
_RETRIES: Final = 3
_RETRY_PAUSE_S: Final = 0.25


class SessionServer:
    """A Redis server as the session store uses it.

    Every script may be sent twice, so a lost connection is tried again within a second.

    Args:
        url: redis://, rediss:// (TLS) or unix://, with user, password and database where there are any; the query
            takes what redis-py knows, such as ssl_ca_certs=/path/ca.pem.
        patience_s: How long :meth:`open` waits for a server that is not there yet.

    Raises:
        InvalidArgumentError: Not such a URL.
    """

    def __init__(self, url: str, patience_s: float) -> None:
        self.name = _public(url)
        self._patience_s = patience_s
        try:
            self._client = redis.asyncio.Redis(
                connection_pool=redis.asyncio.BlockingConnectionPool.from_url(
                    url,
                    max_connections=_CONNECTIONS,
                    timeout=_REPLY_S,
                    socket_connect_timeout=_CONNECT_S,
                    socket_timeout=_REPLY_S,
                    # The hour of a fail-over: three tries in half a second, and then the question is told.
                    retry=Retry(ExponentialBackoff(cap=0.3, base=0.05), _RETRIES),
                )
            )
        except (ValueError, TypeError) as error:
            raise InvalidArgumentError(f"session_url {self.name} cannot be used: {error}") from None
        self._scripts: dict[str, Any] = {}
        self._is_serving = False
        self._teller = FaultTeller("Redis")

    async def open(self) -> None:
        """Wait for the server, and look at how it is set.

        Raises:
            StoreUnavailableError: It could not be reached in time.
            StoreNotReadyError: The password or the user is refused.
            InvalidArgumentError: The URL's query holds what redis-py does not know.
        """
        deadline = time.monotonic() + self._patience_s
        told = False
        while True:
            try:
                await self._guarded(self._client.ping())
                break
            except TypeError as error:
                # It makes its connections late.
                raise InvalidArgumentError(f"session_url {self.name} cannot be used: {error}") from None
            except StoreUnavailableError as error:
                if time.monotonic() > deadline:
                    raise
                if not told:
                    _LOG.warning("%s; waiting for it", error)
                told = True
                await asyncio.sleep(_RETRY_PAUSE_S)
        await self._warn_of_eviction()
        self._is_serving = True

    async def _warn_of_eviction(self) -> None:
        try:
            policy = (await self._client.config_get("maxmemory-policy")).get("maxmemory-policy", "noeviction")
        except exceptions.RedisError:
            # Managed servers forbid CONFIG; then their operator knows.
            return
        if policy != "noeviction":
            _LOG.warning(
                "session store %s has maxmemory-policy %s: under memory pressure it forgets sessions, running ones "
                "too; set noeviction",
                self.name,
                policy,
            )

    async def run(self, script: str, prefix: str, *arguments: str | bytes | int | float) -> Any:
        """Run a script.

        Args:
            script: Its text; sent once, then named by its hash.
            prefix: Of the keys that it touches.
            arguments: ARGV.

        Raises:
            StoreUnavailableError: The server cannot be reached, or is a read-only replica.
            StoreNotReadyError: It is full, refuses this user, or cannot write its own disk.
        """
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self._client.register_script(script)
        return await self._guarded(registered(keys=[prefix], args=arguments))

    async def newest(self, key: str, most: str, offset: int, count: int) -> list[tuple[str, float]]:
        """Members of a sorted set with their scores, highest first, from a score downwards; raises as :meth:`run`."""
        found = await self._guarded(
            self._client.zrevrangebyscore(key, most, "-inf", start=offset, num=count, withscores=True)
        )
        return [(member.decode(), float(score)) for member, score in found]

    async def fields(self, keys: list[str], names: list[str]) -> list[dict[str, bytes]]:
        """These fields of many hashes, without those that a hash does not have; raises as :meth:`run`."""
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, names)
        rows = await self._guarded(pipeline.execute())
        return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose(close_connection_pool=True)

    async def _guarded(self, call: Any) -> Any:
        try:
            return await call
        except (exceptions.RedisError, OSError) as error:
            fault = self._fault(error)
            if fault is None:
                raise
            # Who starts it is the operator, and is told all.
            raise (self._teller.told(fault) if self._is_serving else fault.kind(fault.detail)) from None

    def _fault(self, error: Exception) -> StoreFault | None:
        """What an error of redis-py means; None for what is none of the server's."""
        where, said = f"session store {self.name}", str(error)
        refusals = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
        if isinstance(error, refusals) or said.startswith(("NOAUTH", "WRONGPASS")):
            return StoreFault(
                StoreNotReadyError,
                "refuses this orchestrator; an operator must correct its user or password",
                f"{where} refuses this user: {said}",
            )
        if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
            return StoreFault(
                StoreUnavailableError,
                "cannot be reached; try again, and if it stays so an operator must see to it",
                f"{where} cannot be reached: {said}",
            )
        if isinstance(error, exceptions.OutOfMemoryError):
            return StoreFault(
                StoreNotReadyError,
                "is full; an operator must give it more memory, or have sessions kept for less time",
                f"{where} is full: it has reached its maxmemory; raise that, or lower session_ttl_s or session_most",
            )
        if isinstance(error, exceptions.ReadOnlyError):
            return StoreFault(
                StoreUnavailableError,
                "is a read-only replica; an operator must name its primary",
                f"{where} is a read-only replica; name its primary",
            )
        if "MISCONF" in said:
            return StoreFault(
                StoreNotReadyError,
                "cannot write its own disk; an operator must see to that",
                f"{where} cannot write its own disk: {said}",
            )
        return None


def _public(url: str) -> str:
    """The URL without its password and query, for messages.

    Raises:
        InvalidArgumentError: It has another scheme, or no host.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not (parts.hostname or (parts.scheme == "unix" and parts.path)):
        # Not quoted: there may be a password in it.
        raise InvalidArgumentError("session_url must be redis://host:port/db, rediss://host:port/db or unix:///path")
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}"
