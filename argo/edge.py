"""The edge of a server: statuses, deadlines, spans and timings of every method, in one interceptor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final, NoReturn, cast

import grpc
import grpc.aio

from argo.errors import (
    ArgoError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from argo.guard import Guard, forwarded_tenant
from argo.identity import set_identity
from argo.rpc import ERROR_MARK, RETRY_AFTER, Stopwatch
from argo.server_metric import CallTimes, measured
from argo.server_span import traced
from argo.telemetry import Telemetry

__all__ = ["ErrorInterceptor"]

_LOG = logging.getLogger(__name__)
_PARTING_S: Final = 5.0
"""Longest wait for a caller to send the rest of a call that is refused, and to take its status."""
_STRANGER_BYTES: Final = 1024 * 1024
"""Most that is read, and thrown away, of what a caller sends who has not said who it is."""
_MAKERS: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""By whether requests and replies are streams."""


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """The edge of a server: statuses, deadlines, spans and timings, for every method in one place.

    A call without a deadline is given one, and a reply in which the servicer left `timing` unset is given that.

    An :class:`ArgoError` becomes its own status and message. Anything else is a bug: its traceback goes to the log
    under an id, and the caller gets INTERNAL with that id and nothing of the inside.

    Args:
        default_deadline_s: Seconds that a call without a deadline may take.
        telemetry: Where the span of each call goes; None for nowhere.
        guard: Who may call; None for everybody.
    """

    def __init__(
        self, default_deadline_s: float, telemetry: Telemetry | None = None, guard: Guard | None = None
    ) -> None:
        self._default_deadline_s = default_deadline_s
        self._guard = guard
        self._telemetry = telemetry if telemetry is not None and telemetry.enabled else None
        self._times: CallTimes | None = None
        if telemetry is not None and telemetry.metrics is not None:
            self._times = CallTimes.served(telemetry.metrics)
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def until_idle(self) -> None:
        """Wait until no call of ours runs; health watches and reflection are not counted, since they never end."""
        await self._idle.wait()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap the handler of one call; a method's handler is wrapped once, since it never changes."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        # Health watches and reflection are open-ended streams of libraries that do their own errors.
        if handler is None or not method.startswith("/argo."):
            return handler
        self._wrapped[method] = wrapped = self._wrap(handler, method)
        return wrapped

    def _wrap(self, handler: grpc.RpcMethodHandler[Any, Any], method: str) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour: Any = self._edge(handler, method)
        if self._times is not None:
            behaviour = measured(behaviour, method, self._times)
        if self._telemetry is not None:
            behaviour = traced(behaviour, method, self._telemetry.tracer)
        make: Any = _MAKERS[bool(handler.request_streaming), bool(handler.response_streaming)]
        return cast(
            "grpc.RpcMethodHandler[Any, Any]",
            make(behaviour, request_deserializer=_safe(handler.request_deserializer), response_serializer=None),
        )

    def _edge(self, handler: grpc.RpcMethodHandler[Any, Any], method: str) -> Any:
        """One coroutine for all four kinds of handler, which returns its reply's bytes, or writes those of each reply.

        gRPC would iterate a generator itself, and what happens while it sends would then happen outside of it: a reader
        that stands still, and a reply that cannot be sent.
        """
        answer = _answering(handler)

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            # gRPC cancels the handler when a caller's own deadline passes; only its absence needs our clock.
            clock = asyncio.timeout(self._default_deadline_s if context.time_remaining() is None else None)
            with self._counted():
                try:
                    async with clock:
                        self._admit(context, method)
                        return await answer(request, context)
                except asyncio.CancelledError as error:
                    task = asyncio.current_task()
                    if task is None or task.cancelling():
                        raise
                    # Nobody has cancelled the call. gRPC would think so, and leave the caller without a status.
                    await self._abort(error, context, method)
                except Exception as error:
                    blamed = self._blamed(error, clock)
                    if handler.request_streaming and not clock.expired():
                        await _hear_out(request, _STRANGER_BYTES if isinstance(blamed, UnauthenticatedError) else None)
                    await self._abort(blamed, context, method)

        return handle

    def _admit(self, context: grpc.aio.ServicerContext[Any, Any], method: str) -> None:
        """Let the caller in, and note who it is; raises where it may not."""
        guard = self._guard
        identity = forwarded_tenant(context, method) if guard is None else guard.admit(context, method)
        if identity is not None:
            set_identity(identity)

    def _blamed(self, error: Exception, clock: asyncio.Timeout) -> Exception:
        # A TimeoutError from inside a service, with our clock still running, is that service's bug.
        if not isinstance(error, TimeoutError) or not clock.expired():
            return error
        return DeadlineExceededError(
            f"no deadline was set, and the server's own of {self._default_deadline_s:g} s passed"
        )

    async def _abort(self, error: BaseException, context: grpc.aio.ServicerContext[Any, Any], method: str) -> NoReturn:
        if isinstance(error, grpc.aio.AbortError | grpc.aio.UsageError):
            raise error
        if not isinstance(error, ArgoError):
            reference = secrets.token_hex(4)
            _LOG.error("%s failed, reference %s", method, reference, exc_info=error)
            error = InternalError(f"internal error, reference {reference}")
        # What cannot be sent after a reply that could not be sent either is no other error.
        with contextlib.suppress(TimeoutError, grpc.aio.InternalError):
            async with asyncio.timeout(_PARTING_S):
                await context.abort(error.code, error.message, _trailers(error))
        # What was written before it has not been taken, and the status waits behind that. gRPC knows it by now.
        raise asyncio.CancelledError


def _trailers(error: ArgoError) -> tuple[tuple[str, str], ...]:
    marked = ((ERROR_MARK, "1"),)
    after_s = error.retry_after_s if isinstance(error, ResourceExhaustedError) else None
    return marked if after_s is None else (*marked, (RETRY_AFTER, str(math.ceil(after_s * 1000))))


class _Malformed:
    """What stands in for a message that is none."""

    def __init__(self, size: int) -> None:
        self._size = size

    def ByteSize(self) -> int:
        """Bytes that came, as a message tells of itself."""
        return self._size


def _safe(deserialise: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserialiser that does not raise: inside gRPC that would end in INTERNAL, or in a call that nobody ends."""
    if deserialise is None:
        return None

    def safe(data: bytes) -> Any:
        try:
            return deserialise(data)
        except Exception:
            # Protocol Buffers' own error, and what the C library raises beside it; the message has no text to show.
            return _Malformed(len(data))

    return safe


async def _hear_out(requests: AsyncIterator[Any], most: int | None) -> None:
    """Read what a caller still sends, up to so many bytes, so that a status does not overtake its sending.

    The client of grpc.aio makes "INTERNAL: Internal error from Core" of one that does.

    Source: grpc issue 36066.
    """
    heard = 0
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_PARTING_S):
            async for request in requests:
                heard += request.ByteSize()
                if most is not None and heard >= most:
                    return


def _answering(handler: grpc.RpcMethodHandler[Any, Any]) -> Callable[..., Awaitable[bytes | None]]:
    """A method's handler, between messages that are the method's own and bytes."""
    behaviour: Any = next(
        behaviour
        for behaviour in (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
        if behaviour is not None
    )
    serialise: Any = handler.response_serializer

    def check(request: Any) -> Any:
        if isinstance(request, _Malformed):
            raise InvalidArgumentError("the message must be the method's own in Protocol Buffers, got other bytes")
        return request

    async def check_each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            yield check(request)

    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> bytes | None:
        watch = Stopwatch()
        begun = behaviour(check_each(request) if handler.request_streaming else check(request), context)
        if not handler.response_streaming:
            return cast("bytes", serialise(_timed(await begun, watch)))
        async with contextlib.aclosing(begun) as replies:
            async for reply in replies:
                data = serialise(reply)
                try:
                    await context.write(data)
                except grpc.aio.InternalError:
                    # Who was frozen may find the caller gone by sending, a moment before gRPC cancels this.
                    await asyncio.sleep(_PARTING_S)
                    raise
        return None

    return answer


def _timed(reply: Any, watch: Stopwatch) -> Any:
    """Say in a reply how long it took, where the servicer has not said more."""
    if "timing" in reply.DESCRIPTOR.fields_by_name and not reply.HasField("timing"):
        reply.timing.work_s = watch.elapsed_s
    return reply
