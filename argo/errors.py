"""The domain errors, one public class for each gRPC status code.

A servicer raises one of these; the interceptor in :mod:`argo.edge` maps it to its status at the edge, and the
SDK turns the status back into the same class. Messages name the field, the value and the bound.
"""

from __future__ import annotations

import grpc

__all__ = [
    "AlreadyExistsError",
    "ArgoError",
    "CancelledCallError",
    "DeadlineExceededError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "NotReadyError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "error_class",
]


class ArgoError(Exception):
    """Base of every error that ARGO raises on purpose."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    session_id: str | None = None
    """Set by the SDK on an error of a question: the session that may be read, or resumed."""

    @property
    def message(self) -> str:
        """The text shown to the caller."""
        return str(self)


class InvalidArgumentError(ArgoError, ValueError):
    """The request is wrong and must not be sent again unchanged; the message names the field."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotReadyError(ArgoError):
    """The service is up, but an operator must act before this call can succeed."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class NotFoundError(ArgoError):
    """What the request names does not exist here."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExistsError(ArgoError):
    """The session id is in use."""

    code = grpc.StatusCode.ALREADY_EXISTS


class UnauthenticatedError(ArgoError):
    """The caller did not show a valid token."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDeniedError(ArgoError):
    """The caller is known, but may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhaustedError(ArgoError):
    """A queue is full or a message is over its size limit; back off before trying again."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """Seconds after which trying again makes sense; None where that is not known, or never helps."""


class UnavailableError(ArgoError):
    """A peer is down or not yet serving; the channel's retry policy has already tried again."""

    code = grpc.StatusCode.UNAVAILABLE

    def __init__(self, message: str, *, connection_lost: bool = False) -> None:
        super().__init__(message)
        self.connection_lost = connection_lost
        """Whether the connection broke under the call once some of its reply had come, after which gRPC repeats nothing
        (gRFC A6, "When retries are valid")."""


class DeadlineExceededError(ArgoError, TimeoutError):
    """The call's deadline passed before its reply."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class CancelledCallError(ArgoError):
    """The call was cancelled by one of its two ends."""

    code = grpc.StatusCode.CANCELLED


class UnimplementedError(ArgoError):
    """The peer does not have this method, which usually means that the address is another service's."""

    code = grpc.StatusCode.UNIMPLEMENTED


class InternalError(ArgoError):
    """A bug on the other side; its traceback is in that service's log."""

    code = grpc.StatusCode.INTERNAL


_BY_CODE: dict[grpc.StatusCode, type[ArgoError]] = {
    cls.code: cls
    for cls in (
        InvalidArgumentError,
        NotReadyError,
        NotFoundError,
        AlreadyExistsError,
        UnauthenticatedError,
        PermissionDeniedError,
        ResourceExhaustedError,
        UnavailableError,
        DeadlineExceededError,
        CancelledCallError,
        UnimplementedError,
        InternalError,
    )
}


def error_class(code: grpc.StatusCode) -> type[ArgoError]:
    """The public class that stands for a status code; InternalError for codes that ARGO never sends."""
    return _BY_CODE.get(code, InternalError)
