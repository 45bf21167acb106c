"""gRPC plumbing that every process shares: channels, calls with a deadline and a span, and the error edge.

Spans are made here and in :mod:`argo.server_span`. OpenTelemetry's client interceptor never ends the span of a call
that is cancelled, and a fan-out cancels calls in its normal work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NoReturn, TypeVar, cast

import grpc
import grpc.aio
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from argo import limits
from argo.errors import (
    ArgoError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
    error_class,
)
from argo.guard import Guard, forwarded_tenant
from argo.identity import TENANT_KEY, current_tenant, set_identity
from argo.server_metric import CallTimes, measured
from argo.server_span import traced
from argo.target import addresses, grpc_name, is_replicated
from argo.telemetry import Telemetry, tracer
from argo.tls import RotatingChannel, TlsFiles

__all__ = [
    "Caller",
    "ErrorInterceptor",
    "Stopwatch",
    "channel",
    "channel_options",
    "error_from_rpc",
    "remaining_s",
    "server_options",
]

_LOG = logging.getLogger(__name__)
_Q = TypeVar("_Q")
_R = TypeVar("_R")

_RETRIED_SERVICES: Final = ("argo.v1.DecomposerService", "argo.v1.RetrieverService", "argo.v1.SynthesizerService")
_RETRIED_ORCHESTRATOR_METHODS: Final = ("GetSession", "ListSessions", "GetPolicy", "GetInfo")
_MARK: Final = "argo-error"
"""Trailing metadata on every error that a service raised, so that gRPC's own statuses can be told from them."""
_RETRY_AFTER: Final = "argo-retry-after-ms"
"""Trailing metadata on RESOURCE_EXHAUSTED: when trying again makes sense."""
_MARGIN_S: Final = 0.005
"""Taken off a deadline at each hop, so that the inner call ends before the outer one."""
_PARTING_S: Final = 5.0
"""Longest wait for a caller to send the rest of a call that is refused, and to take its status."""
_MAKERS: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""By whether requests and replies are streams."""


_REPLICA_RETRIES: Final = {"maxTokens": 80, "tokenRatio": 1}
"""Half of the tokens may be spent before gRPC stops trying: 1.2 attempts a call for 200 calls to replicas that are all
ill. An orchestrator towards a list of replicas has its own budget instead (:mod:`orchestrator.lane`)."""
_SINGLE_RETRIES: Final = {"maxTokens": 20, "tokenRatio": 0.1}
"""One that has no other beside it is seldom back within the backoff: ten failed attempts, and each is tried once only
until a hundred calls have succeeded."""


def _service_config(*, by_health: bool, repeats: bool) -> str:
    # Ask, ResumeSession and DeleteSession are not repeated for the caller: a question may have begun.
    names: list[dict[str, str]] = [{"service": name} for name in _RETRIED_SERVICES]
    names += [{"service": "argo.v1.OrchestratorService", "method": m} for m in _RETRIED_ORCHESTRATOR_METHODS]
    # A replica that is NOT_SERVING gets no call. Where there is no other, it gets them all: a service whose engine is
    # ill still answers by its own fallback, which is better than none.
    health = {"healthCheckConfig": {"serviceName": ""}} if by_health else {}
    balanced = {"loadBalancingConfig": [{"round_robin": {}}], **health}
    if not repeats:
        return json.dumps(balanced)
    return json.dumps(
        {
            **balanced,
            "retryThrottling": _REPLICA_RETRIES if by_health else _SINGLE_RETRIES,
            "methodConfig": [
                {
                    "name": names,
                    "retryPolicy": {
                        "maxAttempts": 3,
                        "initialBackoff": "0.02s",
                        "maxBackoff": "0.2s",
                        "backoffMultiplier": 2,
                        "retryableStatusCodes": ["UNAVAILABLE"],
                    },
                }
            ],
        }
    )


def channel_options(*, by_health: bool = False, repeats: bool = True) -> list[tuple[str, int | str]]:
    """Options of every client channel; sizes are those of :mod:`argo.limits`.

    Args:
        by_health: Call only replicas that are SERVING.
        repeats: Whether gRPC makes a call once more that ends with UNAVAILABLE.
    """
    return [
        ("grpc.service_config", _service_config(by_health=by_health, repeats=repeats)),
        ("grpc.enable_retries", 1),
        ("grpc.max_send_message_length", limits.REQUEST_BYTES),
        ("grpc.max_receive_message_length", limits.REPLY_BYTES),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        # A frozen peer still acknowledges TCP; only an unanswered HTTP/2 ping shows it.
        ("grpc.http2.ping_timeout_ms", 3_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # The C core waits up to two minutes between attempts by default; a restarted service is back in a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # What an attempt itself may take: on a machine that loads a model, a handshake does take 0.1 s.
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.use_local_subchannel_pool", 1),
    ]


def server_options(connection_age_s: float | None = None) -> list[tuple[str, int | str]]:
    """Options of every server.

    Args:
        connection_age_s: Age at which a connection is asked to close once its calls are done; None for never.
    """
    age = [] if connection_age_s is None else [("grpc.max_connection_age_ms", round(connection_age_s * 1000))]
    return [
        *age,
        ("grpc.max_receive_message_length", limits.REQUEST_BYTES),
        ("grpc.max_send_message_length", limits.REPLY_BYTES),
        # Otherwise a second process binds the same port and takes half of the calls.
        ("grpc.so_reuseport", 0),
        # Our own clients ping every 10 s; the default of two strikes would end in too_many_pings.
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]


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

    The message that the server's :class:`ErrorInterceptor` sent is kept as it is. Statuses that gRPC itself makes get
    the size and its limit, the deadline, or the address added.
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
        if key == _RETRY_AFTER and str(value).isdigit():
            return int(value) / 1000
    return None


def _said_by_argo(error: grpc.aio.AioRpcError) -> bool:
    return any(key == _MARK for key, _ in error.trailing_metadata() or ())


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
                        await _hear_out(request)
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
    marked = ((_MARK, "1"),)
    after_s = error.retry_after_s if isinstance(error, ResourceExhaustedError) else None
    return marked if after_s is None else (*marked, (_RETRY_AFTER, str(math.ceil(after_s * 1000))))


class _Malformed:
    """What stands in for a message that is none."""


def _safe(deserialise: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserialiser that does not raise: inside gRPC that would end in INTERNAL, or in a call that nobody ends."""
    if deserialise is None:
        return None

    def safe(data: bytes) -> Any:
        try:
            return deserialise(data)
        except Exception:
            # Protocol Buffers' own error, and what the C library raises beside it; the message has no text to show.
            return _Malformed()

    return safe


async def _hear_out(requests: AsyncIterator[Any]) -> None:
    """Read what a caller still sends, so that a status never overtakes its sending.

    The client of grpc.aio makes "INTERNAL: Internal error from Core" of one that does.

    Source: grpc issue 36066.
    """
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_PARTING_S):
            async for _ in requests:
                pass


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


class Stopwatch:
    """Measures what a reply's Timing says."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was made; never negative, since the clock is monotonic."""
        return time.perf_counter() - self._start
