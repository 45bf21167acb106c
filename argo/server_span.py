"""The span of a served call, under the caller's where one came with the call.

Made here and not by OpenTelemetry's interceptor, which records the text of exceptions and statuses (either may quote a
question), keeps a context attached while a stream waits for its reader, and takes more than twice as long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, Final

import grpc
import grpc.aio
from opentelemetry import context as active
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode

__all__ = ["status_name", "traced"]

_STATUS_CODE: Final = "rpc.grpc.status_code"
_SERVER_FAULTS: Final = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
"""Statuses that make a server's span an error; the others are the caller's.

Source: OpenTelemetry semantic conventions for gRPC, "gRPC status".
"""
_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_ServicerContext = grpc.aio.ServicerContext[Any, Any]


@contextmanager
def _span(method: str, tracer: trace.Tracer, fields: AbstractSet[str], call: _ServicerContext) -> Iterator[Context]:
    """Begin and end the span of one call; yields the context in which its handler is to run."""
    carrier = {str(key): str(value) for key, value in call.invocation_metadata() or () if key in fields}
    parent = propagate.extract(carrier) if carrier else Context()
    full_name = method[1:]
    service, _, name = full_name.rpartition("/")
    span = tracer.start_span(
        full_name,
        context=parent,
        kind=SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
    )
    try:
        yield trace.set_span_in_context(span, parent)
        span.set_attribute(_STATUS_CODE, 0)
    except asyncio.CancelledError:
        span.set_attribute(_STATUS_CODE, grpc.StatusCode.CANCELLED.value[0])
        raise
    except BaseException:
        number = _code_number(call)
        span.set_attribute(_STATUS_CODE, number)
        if number in _SERVER_FAULTS:
            span.set_status(Status(StatusCode.ERROR, _NAMES[number]))
        raise
    finally:
        span.end()


def _code_number(call: _ServicerContext) -> int:
    # Set by abort; an exception that no one has turned into a status reaches the caller as UNKNOWN.
    code: Any = call.code()
    number = int(code.value[0] if isinstance(code, grpc.StatusCode) else code or 0)
    return number or int(grpc.StatusCode.UNKNOWN.value[0])


def status_name(call: _ServicerContext) -> str:
    """Name of the status with which a call failed."""
    return _NAMES[_code_number(call)]


def traced(behaviour: Any, method: str, tracer: trace.Tracer) -> Any:
    """Wrap a handler.

    Args:
        behaviour: The handler; raises whatever ends the call, after it has set its status.
        method: "/argo.v1.RetrieverService/Search".
        tracer: Makes the span.
    """
    fields = propagate.get_global_textmap().fields

    async def handle(request: Any, context: _ServicerContext) -> Any:
        with _span(method, tracer, fields, context) as within:
            token = active.attach(within)
            try:
                return await behaviour(request, context)
            finally:
                active.detach(token)

    return handle
