"""From the messages of the wire to the results of the SDK, one function for each."""

from __future__ import annotations

import enum
from typing import Any, TypeVar

from argo.document import CollectionInfo, Deletion, Document, DocumentOutcome, DocumentStatus, SearchResult
from argo.errors import InternalError
from argo.result import (
    Action,
    ActionBand,
    ActionValue,
    Answer,
    AnswerDelta,
    AnswerMode,
    AskLimits,
    Citation,
    Degradation,
    DegradationKind,
    EndReason,
    Event,
    Focus,
    Hop,
    Note,
    Passage,
    PassagesEvent,
    Policy,
    PolicyEvent,
    PolicyReload,
    PolicyState,
    PolicyVerdict,
    QuestionTiming,
    Session,
    SessionStatus,
    SessionSummary,
    StateValue,
    Step,
    StepFinished,
    StepStarted,
    Subquery,
    SubqueryEvent,
    Timing,
    Usage,
)
from argo.service import EngineInfo, Gpu, OrchestratorInfo, PeerInfo, ServiceInfo
from argo.v1 import orchestrator_pb2, retriever_pb2, synthesizer_pb2, types_pb2

__all__ = [
    "collection_info",
    "deletion",
    "document",
    "event",
    "orchestrator_info",
    "outcome",
    "policy",
    "policy_reload",
    "search_result",
    "service_info",
    "session",
    "session_summary",
]

_E = TypeVar("_E", bound=enum.StrEnum)


def _member(cls: type[_E], name: str, prefix: str) -> _E:
    # A newer server may know more members than this client; its answer is still worth having.
    try:
        return cls(name.removeprefix(prefix).lower())
    except ValueError:
        return cls("unknown")


def _action(number: int) -> Action:
    return _member(Action, _name(types_pb2.Action, number), "ACTION_")


def _name(wrapper: object, number: int) -> str:
    names: dict[int, str] = {value: key for key, value in wrapper.items()}  # type: ignore[attr-defined]
    return names.get(number, "")


def _focus(message: types_pb2.Focus) -> Focus:
    return Focus(id=message.id, text=message.text, depends_on=tuple(message.depends_on))


def _passage(message: types_pb2.Passage) -> Passage:
    return Passage(
        id=message.id,
        text=message.text,
        source=message.source,
        section=message.section,
        page=message.page if message.HasField("page") else None,
        score=message.score,
        relevance=message.relevance,
        dense_score=message.dense_score if message.HasField("dense_score") else None,
        lexical_score=message.lexical_score if message.HasField("lexical_score") else None,
        focus_relevance={item.focus_id: item.relevance for item in message.focus_relevance},
        document_number=message.document_number,
        version=message.version,
        working_group=message.working_group,
    )


def _citation(message: synthesizer_pb2.Citation) -> Citation:
    return Citation(
        number=message.number,
        passage_id=message.passage_id,
        source=message.source,
        section=message.section,
        quote=message.quote,
    )


def _degradation(message: types_pb2.Degradation) -> Degradation:
    kind = _member(DegradationKind, _name(types_pb2.DegradationKind, message.kind), "DEGRADATION_KIND_")
    return Degradation(kind=kind, detail=message.detail, step=message.step)


def _usage(message: types_pb2.Usage) -> Usage:
    return Usage(
        prompt_tokens=message.prompt_tokens,
        completion_tokens=message.completion_tokens,
        cached_tokens=message.cached_tokens,
        cached_subqueries=message.cached_subqueries,
    )


def _hop(message: orchestrator_pb2.Hop) -> Hop:
    return Hop(
        service=message.service,
        name=message.name,
        step=message.step,
        start_s=message.start_s,
        duration_s=message.duration_s,
        timing=_timing(message.timing) if message.HasField("timing") else None,
        error=message.error,
    )


def _timing(message: types_pb2.Timing) -> Timing:
    return Timing(
        queue_s=message.queue_s,
        work_s=message.work_s,
        prefill_s=message.prefill_s if message.HasField("prefill_s") else None,
        decode_s=message.decode_s if message.HasField("decode_s") else None,
        ttft_s=message.ttft_s if message.HasField("ttft_s") else None,
    )


def _question_timing(message: orchestrator_pb2.QuestionTiming) -> QuestionTiming:
    first = message.time_to_first_delta_s if message.HasField("time_to_first_delta_s") else None
    return QuestionTiming(
        total_s=message.total_s, time_to_first_delta_s=first, hops=tuple(_hop(hop) for hop in message.hops)
    )


def _action_value(message: orchestrator_pb2.ActionValue) -> ActionValue:
    value = message.value if message.HasField("value") else None
    return ActionValue(action=_action(message.action), fan_out=message.fan_out, value=value)


def _subquery(message: types_pb2.Subquery) -> Subquery:
    return Subquery(focus_id=message.focus_id, text=message.text)


def _step(message: orchestrator_pb2.StepFinished) -> Step:
    return Step(
        index=message.index,
        action=_action(message.action),
        focus_ids=tuple(message.focus_ids),
        closed_focus_ids=tuple(message.closed_focus_ids),
        progress_before=message.progress_before,
        progress_after=message.progress_after,
        time_left_ms=message.time_left_ms if message.HasField("time_left_ms") else None,
        action_values=tuple(_action_value(value) for value in message.action_values),
        reason=message.reason,
        duration_s=message.duration_s,
        notes=tuple(Note(focus_id=note.focus_id, text=note.text, confidence=note.confidence) for note in message.notes),
        searches=message.searches,
        new_passages=message.new_passages,
    )


def _where(message: orchestrator_pb2.AskEvent) -> dict[str, Any]:
    # What every event carries.
    return {
        "session_id": message.session_id,
        "sequence": message.sequence,
        "at_s": message.at_s,
        "trace_id": message.trace_id,
    }


def _policy_event(message: orchestrator_pb2.AskEvent) -> PolicyEvent:
    chosen = message.policy
    return PolicyEvent(
        **_where(message),
        strategy=chosen.strategy,
        tracker=chosen.tracker,
        foci=tuple(_focus(focus) for focus in chosen.foci),
        reason_available=chosen.reason_available,
        budget_ms=chosen.budget_ms,
        answer_mode=_member(AnswerMode, _name(types_pb2.AnswerMode, chosen.answer_mode), "ANSWER_MODE_"),
    )


def _step_started(message: orchestrator_pb2.AskEvent) -> StepStarted:
    started = message.step_started
    return StepStarted(
        **_where(message),
        index=started.index,
        action=_action(started.action),
        focus_ids=tuple(started.focus_ids),
        progress=started.progress,
        time_left_ms=started.time_left_ms if started.HasField("time_left_ms") else None,
        action_values=tuple(_action_value(value) for value in started.action_values),
        reason=started.reason,
    )


def _answer(message: orchestrator_pb2.AskEvent) -> Answer:
    answer = message.answer
    return Answer(
        **_where(message),
        text=answer.text,
        citations=tuple(_citation(citation) for citation in answer.citations),
        passages=tuple(_passage(passage) for passage in answer.passages),
        choice=answer.choice if answer.HasField("choice") else None,
        option_probabilities=tuple(answer.option_probabilities),
        abstained=answer.abstained,
        degradations=tuple(_degradation(degradation) for degradation in answer.degradations),
        end_reason=_member(EndReason, _name(orchestrator_pb2.EndReason, answer.end_reason), "END_REASON_"),
        foci=tuple(_focus(focus) for focus in answer.foci),
        open_focus_ids=tuple(answer.open_focus_ids),
        searches=answer.searches,
        steps=answer.steps,
        progress=answer.progress,
        usage=_usage(answer.usage),
        timing=_question_timing(answer.timing),
        budget_ms=answer.budget_ms,
        within_budget=answer.within_budget if answer.HasField("within_budget") else None,
        strategy=answer.strategy,
    )


def event(message: orchestrator_pb2.AskEvent) -> Event | None:
    """One event of a question; None for a kind that this client does not know."""
    kind = message.WhichOneof("event")
    if kind == "policy":
        return _policy_event(message)
    if kind == "step_started":
        return _step_started(message)
    if kind == "answer":
        return _answer(message)
    if kind == "subquery":
        return SubqueryEvent(
            **_where(message),
            step=message.subquery.step,
            subquery=_subquery(message.subquery.subquery),
        )
    if kind == "passages":
        return PassagesEvent(
            **_where(message),
            step=message.passages.step,
            subquery=_subquery(message.passages.subquery),
            passages=tuple(_passage(passage) for passage in message.passages.passages),
        )
    if kind == "step_finished":
        return StepFinished(
            **_where(message),
            step=_step(message.step_finished),
        )
    if kind == "answer_delta":
        return AnswerDelta(**_where(message), text=message.answer_delta)
    return None


def session(message: orchestrator_pb2.Session) -> Session:
    """A recorded question."""
    request, limits = message.request, message.request.limits
    answer = event(message.answer) if message.HasField("answer") else None
    if answer is not None and not isinstance(answer, Answer):
        raise InternalError(f"session {message.session_id} holds an event that is no answer")
    return Session(
        session_id=message.session_id,
        status=_member(SessionStatus, _name(orchestrator_pb2.SessionStatus, message.status), "SESSION_STATUS_"),
        question=request.question,
        options=tuple(request.options),
        strategy=request.strategy if request.HasField("strategy") else None,
        budget_ms=request.budget_ms if request.HasField("budget_ms") else None,
        limits=AskLimits(
            max_steps=limits.max_steps if limits.HasField("max_steps") else None,
            fan_out=limits.fan_out if limits.HasField("fan_out") else None,
            top_k=limits.top_k if limits.HasField("top_k") else None,
            max_answer_tokens=limits.max_answer_tokens if limits.HasField("max_answer_tokens") else None,
        ),
        seed=request.seed if request.HasField("seed") else None,
        foci=tuple(_focus(focus) for focus in message.foci),
        steps=tuple(_step(step) for step in message.steps),
        answer=answer,
        error_code=message.error_code,
        error_message=message.error_message,
        created_at_s=message.created_at_s,
        updated_at_s=message.updated_at_s,
        expires_at_s=message.expires_at_s,
        resumed=message.resumed,
    )


def session_summary(message: orchestrator_pb2.SessionSummary) -> SessionSummary:
    """One line of a list of sessions."""
    return SessionSummary(
        session_id=message.session_id,
        status=_member(SessionStatus, _name(orchestrator_pb2.SessionStatus, message.status), "SESSION_STATUS_"),
        question=message.question,
        steps=message.steps,
        created_at_s=message.created_at_s,
        updated_at_s=message.updated_at_s,
    )


def _state_value(message: orchestrator_pb2.StateValue) -> StateValue:
    state = message.state
    return StateValue(
        state=PolicyState(
            progress=state.progress, time_left_ms=state.time_left_ms if state.HasField("time_left_ms") else None
        ),
        value=message.value if message.HasField("value") else None,
        action_values=tuple(_action_value(value) for value in message.action_values),
        action=_action(message.action),
        fan_out=message.fan_out,
    )


def _band(message: orchestrator_pb2.ActionBand) -> ActionBand:
    return ActionBand(
        from_progress=message.from_progress,
        to_progress=message.to_progress,
        action=_action(message.action),
        fan_out=message.fan_out,
    )


def policy(message: orchestrator_pb2.Policy) -> Policy:
    """A solved policy."""
    verdict = _name(orchestrator_pb2.PolicyVerdict, message.verdict)
    return Policy(
        tracker=message.tracker,
        foci=message.foci,
        answer_mode=_member(AnswerMode, _name(types_pb2.AnswerMode, message.answer_mode), "ANSWER_MODE_"),
        time_left_ms=message.time_left_ms if message.HasField("time_left_ms") else None,
        theta_cont=message.theta_cont,
        theta_star=message.theta_star,
        verdict=_member(PolicyVerdict, verdict, "POLICY_VERDICT_"),
        bands=tuple(_band(band) for band in message.bands),
        searched_bands=tuple(_band(band) for band in message.searched_bands),
        parameters=dict(message.parameters),
        quality=message.quality,
        action_time_s=dict(message.action_time_s),
        action_time_origin=dict(message.action_time_origin),
        origin=message.origin,
        states=tuple(_state_value(state) for state in message.states),
        reason_available=message.reason_available,
    )


def policy_reload(message: orchestrator_pb2.ReloadPolicyResponse) -> PolicyReload:
    """What is served after a reload."""
    return PolicyReload(origin=message.origin, solve_s=message.solve_s)


def outcome(message: retriever_pb2.DocumentOutcome) -> DocumentOutcome:
    """The outcome for one document."""
    status = _member(DocumentStatus, _name(retriever_pb2.DocumentStatus, message.status), "DOCUMENT_STATUS_")
    return DocumentOutcome(source=message.source, status=status, passages=message.passages, message=message.message)


def document(message: retriever_pb2.Document) -> Document:
    """An indexed document."""
    return Document(
        source=message.source,
        content_hash=message.content_hash,
        media_type=message.media_type,
        passages=message.passages,
    )


def deletion(message: retriever_pb2.DeleteDocumentsResponse) -> Deletion:
    """What was taken out."""
    return Deletion(deleted_documents=message.deleted_documents, deleted_passages=message.deleted_passages)


def search_result(message: retriever_pb2.SearchResult) -> SearchResult:
    """The passages found for one text."""
    return SearchResult(text=message.text, passages=tuple(_passage(passage) for passage in message.passages))


def collection_info(message: types_pb2.CollectionInfo) -> CollectionInfo:
    """What a retriever serves."""
    return CollectionInfo(
        name=message.name,
        embedder=message.embedder,
        dimension=message.dimension,
        documents=message.documents,
        passages=message.passages,
        store=message.store,
    )


def service_info(message: types_pb2.ServiceInfo) -> ServiceInfo:
    """What a service is."""
    engine = message.engine
    return ServiceInfo(
        service=message.service,
        version=message.version,
        settings=dict(message.settings),
        engine=EngineInfo(
            name=engine.name,
            language_model=engine.language_model,
            model=engine.model,
            gpus=tuple(Gpu(index=gpu.index, name=gpu.name, memory_bytes=gpu.memory_bytes) for gpu in engine.gpus),
        )
        if message.HasField("engine")
        else None,
        collection=collection_info(message.collection) if message.HasField("collection") else None,
        uptime_s=message.uptime_s,
    )


def orchestrator_info(message: orchestrator_pb2.OrchestratorInfo) -> OrchestratorInfo:
    """The orchestrator and what is behind it."""
    return OrchestratorInfo(
        info=service_info(message.info),
        peers=tuple(
            PeerInfo(
                service=peer.service,
                target=peer.target,
                health=peer.health,
                info=service_info(peer.info) if peer.HasField("info") else None,
                breaker=peer.breaker,
            )
            for peer in message.peers
        ),
        strategies=tuple(message.strategies),
        limits=dict(message.limits),
    )
