"""TLS on both ends of a connection, from PEM files that may be renewed while the process runs.

gRPC asks a server for its certificates at every handshake, so a renewed file is used from the next connection on. A
client gives its certificates once, when a channel is made: :class:`RotatingChannel` makes another when the files have
changed, uses it once it is connected, and lets the calls of the first one finish.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import grpc
import grpc.aio

from argo.errors import InvalidArgumentError
from argo.file_state import file_state

__all__ = ["RotatingChannel", "ServerTls", "TlsFiles"]

_LOG = logging.getLogger(__name__)
_LOOK_EVERY_S: Final = 1.0
_OLD_CALLS_S: Final = 65.0
"""Seconds that calls over the channel of old certificates may still take: the longest deadline of a question."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files for TLS towards a server: the authority, and for mutual TLS the client's own pair."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            InvalidArgumentError: A file cannot be read or is no PEM file of its kind, the key is not the certificate's,
                or only one of certificate and key is given.
        """
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgumentError("tls_certificate and tls_key must be given together, got only one of them")
        ca = _authority("tls_ca", self.ca)
        if self.certificate is None or self.key is None:
            return grpc.ssl_channel_credentials(ca)
        certificate, key = _pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(ca, key, certificate)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are given."""
        return tuple(path for path in (self.ca, self.certificate, self.key) if path is not None)


@dataclass(frozen=True)
class ServerTls:
    """PEM files of a server: its own pair, and for mutual TLS the authority of its clients."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files: what is renewed is used for new connections, running ones stay.

        Files that cannot be used when they change are named in the log, and the ones before stay in use.

        Raises:
            InvalidArgumentError: A file cannot be read or is no PEM file of its kind, or the key is not the
                certificate's.
        """
        follower = _Follower(self)
        # It is declared to return a configuration; None, for "as before", is what gRPC documents.
        changed = cast("Callable[[], grpc.ServerCertificateConfiguration]", follower.changed)
        return grpc.dynamic_ssl_server_credentials(
            follower.first, changed, require_client_authentication=self.client_ca is not None
        )

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are given."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path is not None)

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files. Raises as :meth:`credentials`."""
        certificate, key = _pair(self.certificate, self.key)
        client_ca = None if self.client_ca is None else _authority("tls_client_ca", self.client_ca)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=client_ca)


class _Follower:
    """Hands a server's files over again when they have changed; gRPC calls it from its own threads."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._seen = _state(tls.paths)
        self.first = tls.read()
        self._lock = threading.Lock()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration; None where nothing has changed."""
        with self._lock:
            state = _state(self._tls.paths)
            if state == self._seen:
                return None
            # Looked at once, also where it is of no use: a log line for every handshake helps nobody.
            self._seen = state
            try:
                renewed = self._tls.read()
            except InvalidArgumentError as error:
                _LOG.error("the renewed certificate is not used, the one before stays: %s", error)
                return None
            _LOG.info("the certificate of %s was renewed", self._tls.certificate)
            return renewed


def _connected(channel: grpc.aio.Channel) -> bool:
    """Whether it is; where it was never used, it begins to connect."""
    return channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY


def _state(paths: Sequence[Path]) -> tuple[tuple[int, int, int], ...]:
    return tuple(file_state(path) for path in paths)


def _bytes(field: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"{field} must be a readable PEM file, got {path}: {error.strerror}") from None


def _authority(field: str, path: Path) -> bytes:
    data = _bytes(field, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise InvalidArgumentError(f"{field} must be a PEM file of certificates, got {path}") from None
    return data


def _pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """Both files, which belong together."""
    data = _bytes("tls_certificate", certificate), _bytes("tls_key", key)

    def no_password() -> str:
        raise InvalidArgumentError(f"tls_key must be a key without a password, got {key}")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidArgumentError(f"tls_key must be the key of {certificate}, got {key}, another one's") from None
        raise InvalidArgumentError(
            f"tls_certificate and tls_key must be PEM files of a certificate and its key, got {certificate} and {key}"
        ) from None
    return data


class RotatingChannel:
    """A channel that is opened anew when its TLS files have changed; stubs are made on it as on any other.

    Args:
        tls: The files.
        open_channel: Opens a channel with the files as they are now.

    Raises:
        InvalidArgumentError: The files cannot be used; later on that is logged, and the channel before stays in use.
    """

    def __init__(self, tls: TlsFiles, open_channel: Callable[[grpc.ChannelCredentials], grpc.aio.Channel]) -> None:
        self._tls = tls
        self._open = open_channel
        self._seen = _state(tls.paths)
        self._channel = open_channel(tls.credentials())
        self._next: grpc.aio.Channel | None = None
        self._looked_at = time.monotonic()
        self._closing: set[asyncio.Task[None]] = set()

    def current(self) -> grpc.aio.Channel:
        """The channel for the next call."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            state = _state(self._tls.paths)
            if state != self._seen:
                self._seen = state
                self._renew()
        if self._next is not None and (_connected(self._next) or not _connected(self._channel)):
            self._leave(self._channel)
            self._channel, self._next = self._next, None
        return self._channel

    def _renew(self) -> None:
        try:
            credentials = self._tls.credentials()
        except InvalidArgumentError as error:
            _LOG.error("the renewed certificate is not used, the one before stays: %s", error)
            return
        if self._next is not None:
            self._leave(self._next)
        # Not used yet: the other end may know nothing of these files so far, and a handshake takes its time.
        self._next = self._open(credentials)

    def _leave(self, channel: grpc.aio.Channel) -> None:
        closing = asyncio.get_running_loop().create_task(channel.close(_OLD_CALLS_S))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self, grace: float | None = None) -> None:
        """Close every channel; running calls are cancelled after `grace` seconds."""
        for closing in tuple(self._closing):
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        if self._next is not None:
            await self._next.close()
        await self._channel.close(grace)

    async def __aenter__(self) -> RotatingChannel:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    def _method(self, kind: str, path: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        made: tuple[grpc.aio.Channel | None, Any] = (None, None)

        def call(*given: Any, **named: Any) -> Any:
            nonlocal made
            channel = self.current()
            if made[0] is not channel:
                made = (channel, getattr(channel, kind)(path, *arguments, **options))
            return made[1](*given, **named)

        return call

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """How the connection of the next call is."""
        return self.current().get_state(try_to_connect)

    # What a generated stub asks of a channel; the names are gRPC's.

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """A method with one request and one reply."""
        return self._method("unary_unary", method, *arguments, **options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """A method with one request and a stream of replies."""
        return self._method("unary_stream", method, *arguments, **options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """A method with a stream of requests and one reply."""
        return self._method("stream_unary", method, *arguments, **options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """A method with streams both ways."""
        return self._method("stream_stream", method, *arguments, **options)

    def as_channel(self) -> grpc.aio.Channel:
        """Itself, as the type that stubs are declared for."""
        return cast("grpc.aio.Channel", self)
