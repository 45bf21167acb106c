"""Sessions as the wire shows them."""

from __future__ import annotations

import grpc

from argo.errors import AlreadyExistsError, InvalidArgumentError, NotReadyError, error_class
from argo.v1 import orchestrator_pb2
from orchestrator.question import Question
from orchestrator.session import SessionPage, SessionRecord, SessionStatus

__all__ = ["list_reply", "list_status", "repeat", "session_reply"]

_CODE = {
    SessionStatus.RUNNING: orchestrator_pb2.SESSION_STATUS_RUNNING,
    SessionStatus.INTERRUPTED: orchestrator_pb2.SESSION_STATUS_INTERRUPTED,
    SessionStatus.FINISHED: orchestrator_pb2.SESSION_STATUS_FINISHED,
    SessionStatus.FAILED: orchestrator_pb2.SESSION_STATUS_FAILED,
}
_STATUS = {code: status for status, code in _CODE.items()}


def session_reply(record: SessionRecord) -> orchestrator_pb2.Session:
    """One session, whole."""
    return orchestrator_pb2.Session(
        session_id=record.session_id,
        status=_CODE[record.status],
        request=record.request,
        foci=record.plan.foci if record.plan is not None else (),
        steps=[step.finished for step in record.steps],
        answer=record.answer,
        error_code=record.error_code,
        error_message=record.error_message,
        created_at_s=record.created_at_s,
        updated_at_s=record.updated_at_s,
        expires_at_s=record.expires_at_s,
        resumed=record.resumed,
    )


def list_status(request: orchestrator_pb2.ListSessionsRequest) -> SessionStatus | None:
    """The status that a list is narrowed to. Raises InvalidArgumentError for one that does not exist."""
    if not request.HasField("status"):
        return None
    if request.status not in _STATUS:
        raise InvalidArgumentError(f"status must be one of the SessionStatus values 1..4, got {request.status}")
    return _STATUS[request.status]


def list_reply(page: SessionPage) -> orchestrator_pb2.ListSessionsResponse:
    """One page of a list."""
    return orchestrator_pb2.ListSessionsResponse(
        sessions=[
            orchestrator_pb2.SessionSummary(
                session_id=record.session_id,
                status=_CODE[record.status],
                question=record.request.question,
                steps=record.step_count,
                created_at_s=record.created_at_s,
                updated_at_s=record.updated_at_s,
            )
            for record in page.sessions
        ],
        next_page_token=page.next_page_token,
    )


def repeat(existing: SessionRecord, question: Question) -> orchestrator_pb2.AskEvent:
    """What a session id that is in use answers with: the recorded answer of a finished question.

    Raises:
        AlreadyExistsError: It is another question's, or is being answered.
        NotReadyError: It was interrupted.
        ArgoError: It failed, and this is how.
    """
    same = existing.request.question.strip() == question.text and tuple(
        option.strip() for option in existing.request.options
    ) == tuple(question.options)
    if not same:
        raise AlreadyExistsError(f"session_id {question.session_id} is in use by another question")
    if existing.status is SessionStatus.RUNNING:
        raise AlreadyExistsError(f"session_id {question.session_id} is being answered")
    if existing.status is SessionStatus.INTERRUPTED:
        raise NotReadyError(f"session_id {question.session_id} was interrupted; ResumeSession goes on with it")
    if existing.status is SessionStatus.FAILED:
        raise error_class(grpc.StatusCode[existing.error_code])(existing.error_message)
    assert existing.answer is not None, "a finished session holds its answer"
    return existing.answer
