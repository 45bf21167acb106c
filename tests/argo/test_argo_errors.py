"""The error classes and their statuses."""

from __future__ import annotations

import grpc
import pytest

import argo
from argo import errors

# From the gRPC status code guide and the project's house rules.
EXPECTED = {
    "INVALID_ARGUMENT": "InvalidArgumentError",
    "FAILED_PRECONDITION": "NotReadyError",
    "NOT_FOUND": "NotFoundError",
    "ALREADY_EXISTS": "AlreadyExistsError",
    "UNAUTHENTICATED": "UnauthenticatedError",
    "PERMISSION_DENIED": "PermissionDeniedError",
    "RESOURCE_EXHAUSTED": "ResourceExhaustedError",
    "UNAVAILABLE": "UnavailableError",
    "DEADLINE_EXCEEDED": "DeadlineExceededError",
    "CANCELLED": "CancelledCallError",
    "UNIMPLEMENTED": "UnimplementedError",
    "INTERNAL": "InternalError",
}


@pytest.mark.parametrize(("code", "name"), EXPECTED.items())
def test_every_status_has_one_public_class(code: str, name: str) -> None:
    cls = errors.error_class(grpc.StatusCode[code])
    assert cls.__name__ == name
    assert cls.code.name == code
    assert getattr(argo, name) is cls


@pytest.mark.parametrize("code", ["UNKNOWN", "DATA_LOSS", "OUT_OF_RANGE", "ABORTED"])
def test_a_status_that_argo_never_sends_is_an_internal_error(code: str) -> None:
    assert errors.error_class(grpc.StatusCode[code]) is errors.InternalError


def test_a_wrong_argument_is_a_value_error_and_a_deadline_a_timeout_error() -> None:
    assert issubclass(errors.InvalidArgumentError, ValueError)
    assert issubclass(errors.DeadlineExceededError, TimeoutError)


def test_the_message_is_the_text() -> None:
    assert errors.NotFoundError("no such session").message == "no such session"
