"""gRPC plumbing that every process shares: channels, and calls with a deadline, a span and public errors.

The edge of a server is in :mod:`argo.edge`. Spans are made here and in :mod:`argo.server_span`: OpenTelemetry's client
interceptor never ends the span of a call that is cancelled, and a fan-out cancels calls in its normal work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from argo import limits
from argo.channel_option import channel_options
from argo.errors import (
    ArgoError,
    DeadlineExceededError,
    ResourceExhaustedError,
    UnavailableError,
    error_class,
)
from argo.identity import TENANT_KEY, current_tenant
from argo.server_metric import CallTimes
from argo.target import addresses, grpc_name, is_replicated
from argo.telemetry import Telemetry, tracer
from argo.tls import RotatingChannel, TlsFiles

__all__ = [
    "ERROR_MARK",
    "RETRY_AFTER",
    "Caller",
    "Stopwatch",
    "channel",
    "error_from_rpc",
    "remaining_s",
]

_LOG = logging.getLogger(__name__)
_Q = TypeVar("_Q")
_R = TypeVar("_R")

ERROR_MARK: Final = "argo-error"
"""Trailing metadata on every error that a service raised, so that gRPC's own statuses can be told from them."""
RETRY_AFTER: Final = "argo-retry-after-ms"
"""Trailing metadata on RESOURCE_EXHAUSTED: when trying again makes sense."""
_MARGIN_S: Final = 0.005
"""Taken off a deadline at each hop, so that the inner call ends before the outer one."""


def channel(
    target: str, tls: TlsFiles | None = None, *, by_health: bool | None = None, one_of: Sequence[str] = ()
) -> grpc.aio.Channel:
    """Open a channel; it connects on first use and reconnects by itself.

    Args:
        target: Checked by :func:`argo.target.check_target`; calls go round all that it stands for.
        tls: PEM files; None for a connection in the clear.
        by_health: Call only replicas that are SERVING; None for where the target may stand for several.
        one_of: The list that the target is of; it is called while it is SERVING, and its caller repeats on another.
    """
    by_health = (bool(one_of) or is_replicated(target)) if by_health is None else by_health
    options: list[tuple[str, Any]] = [*channel_options(by_health=by_health, repeats=not one_of)]
    if tls is not None:
        if len(listed := one_of or addresses(target)) > 1:
            # gRPC would verify the list itself as a name; each in it is to show a certificate for the first address.
            options.append(("grpc.default_authority", listed[0]))
        name = grpc_name(target)
        return RotatingChannel(
            tls, lambda credentials: grpc.aio.secure_channel(name, credentials, options=options)
        ).as_channel()
    return grpc.aio.insecure_channel(grpc_name(target), options=options)


def error_from_rpc(error: grpc.aio.AioRpcError, method: str, target: str, timeout_s: float | None = None) -> ArgoError:
    """Turn a failed call into the public error class of its status, with what the caller can act on.

    The message that the server's :class:`argo.edge.ErrorInterceptor` sent is kept as it is. Statuses that gRPC itself
    makes get the size and its limit, the deadline, or the address added.
    """
    code, details = error.code(), error.details() or ""
    cls = error_class(code)
    if cls is DeadlineExceededError and not _said_by_argo(error):
        bound = f"{timeout_s:.3f} s" if timeout_s is not None else "none set here"
        return DeadlineExceededError(f"{method} did not finish by its deadline ({bound})")
    if cls is UnavailableError and not _said_by_argo(error):
        _, refused, cause = details.rpartition("last error: ")
        message = f"{method} could not reach {target}: {cause.removeprefix('UNKNOWN: ')}"
        return UnavailableError(message, connection_lost=not refused)
    if cls is ResourceExhaustedError and "message larger than max" in details:
        direction = "request" if details.startswith(("Sent", "CLIENT: Sent", "SERVER: Received")) else "reply"
        bound_bytes = limits.REQUEST_BYTES if direction == "request" else limits.REPLY_BYTES
        return ResourceExhaustedError(f"{method}: the {direction} is over its limit of {bound_bytes} bytes: {details}")
    message = details or f"{method} failed with {code.name}"
    if cls is ResourceExhaustedError:
        return ResourceExhaustedError(message, _retry_after_s(error))
    return cls(message)


def _retry_after_s(error: grpc.aio.AioRpcError) -> float | None:
    for key, value in error.trailing_metadata() or ():
        if key == RETRY_AFTER and str(value).isdigit():
            return int(value) / 1000
    return None


def _said_by_argo(error: grpc.aio.AioRpcError) -> bool:
    return any(key == ERROR_MARK for key, _ in error.trailing_metadata() or ())


def remaining_s(context: grpc.aio.ServicerContext[Any, Any], fallback_s: float) -> float:
    """Seconds that a call on behalf of this one may take: its own deadline less a margin."""
    left = context.time_remaining()
    return max(0.0, (fallback_s if left is None else left) - _MARGIN_S)


class Caller:
    """Makes calls over one channel, each with a deadline, a client span and public errors.

    Args:
        grpc_channel: The channel; the caller of :meth:`close` owns it.
        target: Its address, for messages and spans.
        telemetry: Where spans go; None for nowhere.
        token: Bearer token to send with every call.
    """

    def __init__(
        self,
        grpc_channel: grpc.aio.Channel,
        target: str,
        telemetry: Telemetry | None = None,
        token: str | None = None,
    ) -> None:
        self.channel = grpc_channel
        self.target = target
        self._tracer = tracer(telemetry)
        self._times: CallTimes | None = None
        if telemetry is not None and telemetry.metrics is not None:
            self._times = CallTimes.made(telemetry.metrics)
        self._token = token

    async def close(self) -> None:
        """Close the channel; running calls are cancelled."""
        await self.channel.close()

    def is_connected(self) -> bool:
        """Whether a call would be sent now; where nothing was, the channel begins to connect."""
        return self.channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    @contextlib.contextmanager
    def _call(self, method: str) -> Iterator[_Call]:
        service, _, name = method.rpartition("/")
        span = self._tracer.start_span(
            f"{service}/{name}",
            kind=SpanKind.CLIENT,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": name,
                "server.address": self.target,
            },
        )
        metadata: list[tuple[str, str]] = []
        # Also where it is not sampled: the services behind follow the decision that was made here.
        if span.get_span_context().is_valid:
            carrier: dict[str, str] = {}
            propagate.inject(carrier, context=trace.set_span_in_context(span))
            metadata.extend(carrier.items())
        if self._token:
            metadata.append(("authorization", f"Bearer {self._token}"))
        if tenant := current_tenant():
            metadata.append((TENANT_KEY, tenant))
        call = _Call(span, tuple(metadata) or None)
        started = time.perf_counter()
        try:
            yield call
        finally:
            span.end()
            if self._times is not None:
                self._times.note(method, call.status, time.perf_counter() - started)

    def _failed(self, call: _Call, error: grpc.aio.AioRpcError, method: str, timeout_s: float | None) -> ArgoError:
        call.span.set_attribute("rpc.grpc.status_code", error.code().value[0])
        # The status text stays out: a message may quote the question.
        call.end(error.code())
        return error_from_rpc(error, method.rpartition("/")[2], self.target, timeout_s)

    async def unary(
        self, method: str, stub: Callable[..., Awaitable[_R]], request: object, timeout_s: float | None
    ) -> _R:
        """Call a method with one reply.

        Args:
            method: "argo.v1.RetrieverService/Search", for the span.
            stub: The stub's method; a request or, for a client stream, an async iterator of requests goes in.
            request: What to send.
            timeout_s: Deadline from now in seconds; None for none.

        Raises:
            ArgoError: The public class of the status that came back.
        """
        with self._call(method) as call:
            try:
                reply = await stub(request, timeout=timeout_s, metadata=call.metadata)
            except grpc.aio.AioRpcError as error:
                raise self._failed(call, error, method, timeout_s) from None
            except asyncio.CancelledError:
                call.end(grpc.StatusCode.CANCELLED)
                raise
            call.end(grpc.StatusCode.OK)
            return reply

    async def stream(
        self, method: str, stub: Callable[..., Any], request: object, timeout_s: float | None
    ) -> AsyncGenerator[Any, None]:
        """Call a method with a stream of replies; leaving the iterator cancels the call. Raises as :meth:`unary`."""
        with self._call(method) as call:
            replies = stub(request, timeout=timeout_s, metadata=call.metadata)
            try:
                async for reply in replies:
                    yield reply
                call.end(grpc.StatusCode.OK)
            except grpc.aio.AioRpcError as error:
                raise self._failed(call, error, method, timeout_s) from None
            except asyncio.CancelledError:
                call.end(grpc.StatusCode.CANCELLED)
                raise
            finally:
                # Does nothing to a finished call; stops the server where the reader left early.
                replies.cancel()


class _Call:
    """A call that is being made: its span, and how it ended."""

    __slots__ = ("metadata", "span", "status")

    def __init__(self, span: trace.Span, metadata: tuple[tuple[str, str], ...] | None) -> None:
        self.span = span
        self.metadata = metadata
        # Of a stream whose reader leaves, nothing more is heard.
        self.status = grpc.StatusCode.CANCELLED.name

    def end(self, code: grpc.StatusCode) -> None:
        """Note how it ended."""
        self.status = code.name
        if code is grpc.StatusCode.OK:
            self.span.set_attribute("rpc.grpc.status_code", 0)
        else:
            self.span.set_status(Status(StatusCode.ERROR, code.name))


class Stopwatch:
    """Measures what a reply's Timing says."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was made; never negative, since the clock is monotonic."""
        return time.perf_counter() - self._start
