"""The gRPC face of the orchestrator: streams a question's events, and keeps its session true to what happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

import grpc
from opentelemetry import trace

from argo import limits
from argo import telemetry as names
from argo.errors import (
    AlreadyExistsError,
    ArgoError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    NotReadyError,
    error_class,
)
from argo.telemetry import Telemetry
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc, types_pb2
from orchestrator.admission import Admission, LateError, QueueFullError
from orchestrator.loop import QuestionLoop
from orchestrator.metric import PolicyMetrics, QuestionMetrics
from orchestrator.peer import Peers
from orchestrator.policy_upkeep import PolicyUpkeep
from orchestrator.policy_view import policy_reply, report_request
from orchestrator.question import Question, accept
from orchestrator.session import SessionRecord, SessionStatus, SessionStore
from orchestrator.session_view import list_reply, list_status, session_reply
from orchestrator.settings import OrchestratorSettings
from orchestrator.strategy import STRATEGIES
from orchestrator.tenant import TenantQuota

__all__ = ["OrchestratorServicer"]

_LOG = logging.getLogger(__name__)
_PAGE_SIZE: Final = (1, 100)
_DEFAULT_PAGE_SIZE: Final = 20
_R = TypeVar("_R")
_Context = grpc.aio.ServicerContext[Any, Any]


class OrchestratorServicer(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """Implements argo.v1.OrchestratorService.

    Args:
        settings: Defaults and caps.
        upkeep: The solved policies, and what they are solved for.
        peers: The services behind.
        store: The sessions.
        telemetry: Where spans go.
        describe: Makes this service's own ServiceInfo.
    """

    def __init__(
        self,
        settings: OrchestratorSettings,
        upkeep: PolicyUpkeep,
        peers: Peers,
        store: SessionStore,
        telemetry: Telemetry,
        describe: Callable[[dict[str, str]], types_pb2.ServiceInfo],
    ) -> None:
        self._settings = settings
        self._upkeep = upkeep
        self._book = upkeep.book
        self._peers = peers
        self._store = store
        self._telemetry = telemetry
        self._describe = describe
        self._admission = Admission(settings.max_running, settings.max_queued)
        self._reduced = Admission(settings.max_reduced, 0)
        self._quota = TenantQuota(settings.tenant_rate, settings.tenant_burst, settings.tenant_running)
        self._metrics: QuestionMetrics | None = None
        if telemetry.metrics is not None:
            self._metrics = QuestionMetrics(telemetry.metrics, self._admission)
            telemetry.metrics.collect(PolicyMetrics(upkeep.book, settings.budget_ms).read)

    async def Ask(  # the generated base class names it
        self, request: orchestrator_pb2.AskRequest, context: _Context
    ) -> AsyncIterator[orchestrator_pb2.AskEvent]:
        """Answer a question, or repeat what is recorded under its session id."""
        question = self._accept(request, context)
        try:
            self._check_runs(question)
        except ArgoError:
            # What was asked before is repeated whatever has changed since; only a new question needs to run.
            if not request.HasField("session_id"):
                raise
            with contextlib.suppress(NotFoundError):
                yield _repeat(await self._store.get(question.session_id), question)
                return
            raise
        accepted = orchestrator_pb2.AskRequest()
        accepted.CopyFrom(request)
        accepted.session_id = question.session_id
        latest = question.start_by(self._shortest_s(question) + self._reduced_search_s(request))
        async with self._admitted(latest, allow_reduced=request.allow_reduced) as reduced:
            begun = self._store.begin(question.session_id, accepted)
            existing = await self._claim(question.session_id, begun, lambda record: record is None)
            if existing is not None:
                yield _repeat(existing, question)
                return
            asked = question.as_reduced() if reduced else question
            async with contextlib.aclosing(self._events(asked, None)) as events:
                async for event in events:
                    yield event

    async def ResumeSession(
        self, request: orchestrator_pb2.ResumeSessionRequest, context: _Context
    ) -> AsyncIterator[orchestrator_pb2.AskEvent]:
        """Go on with an interrupted question."""
        session_id = limits.check_session_id(request.session_id)
        if request.HasField("budget_ms"):
            limits.check_budget_ms(request.budget_ms)
        async with self._admitted(time.perf_counter() + self._left_s(context) - self._book.times.extractive_answer_s):
            recorded = await self._claim(session_id, self._store.resume(session_id), lambda record: True)
            asked = recorded.request
            if request.HasField("budget_ms"):
                asked.budget_ms = request.budget_ms
            try:
                question = self._accept(asked, context)
                self._check_runs(question)
            except ArgoError:
                # What it needs is not there now; it stays resumable.
                await self._store.interrupt(session_id)
                raise
            async with contextlib.aclosing(self._events(question, recorded)) as events:
                async for event in events:
                    yield event

    def _accept(self, request: orchestrator_pb2.AskRequest, context: _Context) -> Question:
        return accept(request, self._settings, arrived_at=time.perf_counter(), deadline_s=self._left_s(context))

    def _left_s(self, context: _Context) -> float:
        left_s = context.time_remaining()
        return self._settings.default_deadline_s if left_s is None else left_s

    def _check_runs(self, question: Question) -> None:
        """Raise for a strategy or a budget that this stack cannot serve, before anything is recorded."""
        self._book.policy(question.strategy, n_foci=1, mode=question.mode)
        shortest_s = self._shortest_s(question) + question.margin_s
        if question.budget_s is not None and question.budget_s < shortest_s:
            raise InvalidArgumentError(
                f"budget_ms must be at least {shortest_s * 1000:.0f} for this stack's shortest answer,"
                f" got {question.budget_ms}"
            )
        left_s = question.hard_left_s()
        if left_s < shortest_s:
            raise DeadlineExceededError(
                f"the call's deadline must leave {shortest_s:.3f} s for the shortest answer, got {left_s:.3f} s"
            )

    async def _claim(self, session_id: str, claim: Coroutine[Any, Any, _R], is_ours: Callable[[_R], bool]) -> _R:
        """Await a write that makes a session running; a caller lost meanwhile leaves it interrupted.

        The write itself cannot be called back: left alone, nobody would be answering a session that says so.
        """
        write = asyncio.create_task(claim)
        try:
            return await asyncio.shield(write)
        except asyncio.CancelledError:
            with contextlib.suppress(ArgoError):
                if is_ours(await write):
                    await self._store.interrupt(session_id)
            raise

    def _shortest_s(self, question: Question) -> float:
        """Seconds of the shortest answer of any kind."""
        return self._book.times.least_answer_s(question.mode)

    def _reduced_search_s(self, request: orchestrator_pb2.AskRequest) -> float:
        """Seconds of the search that a reduced answer still needs once the wait for a place was in vain."""
        return self._book.times.of_question(1).retrieve_s[0] if request.allow_reduced else 0.0

    @contextlib.asynccontextmanager
    async def _admitted(self, start_by: float, *, allow_reduced: bool = False) -> AsyncIterator[bool]:
        """Hold a place and a share of the tenant's for as long as the question runs; says if it is a reduced one's."""
        with self._quota.taken():
            async with contextlib.AsyncExitStack() as held:
                yield await self._take_place(held, start_by, allow_reduced)

    async def _take_place(self, held: contextlib.AsyncExitStack, start_by: float, allow_reduced: bool) -> bool:
        try:
            waited_s = await held.enter_async_context(self._admission.place(start_by))
        except (QueueFullError, LateError) as error:
            if not (allow_reduced and self._reduced.running < self._settings.max_reduced):
                if self._metrics is not None:
                    self._metrics.refused(error)
                raise
            await held.enter_async_context(self._reduced.place(start_by))
            return True
        trace.get_current_span().set_attribute(names.QUEUE_MS, waited_s * 1000)
        if self._metrics is not None:
            self._metrics.began(waited_s)
        return False

    async def _events(
        self, question: Question, recorded: SessionRecord | None
    ) -> AsyncGenerator[orchestrator_pb2.AskEvent, None]:
        """Run the loop in a task of its own and yield its events; leaving early interrupts the session."""
        if question.budget_s is not None:
            question = question.with_margin(self._peers.lateness.margin_s(question.budget_s))
        queue: asyncio.Queue[orchestrator_pb2.AskEvent | None] = asyncio.Queue()
        context = trace.get_current_span().get_span_context()
        trace_id = trace.format_trace_id(context.trace_id) if context.is_valid else ""
        sequence = 0

        def stamp(event: orchestrator_pb2.AskEvent) -> orchestrator_pb2.AskEvent:
            nonlocal sequence
            sequence += 1
            event.session_id = question.session_id
            event.sequence = sequence
            event.at_s = question.elapsed_s()
            event.trace_id = trace_id
            return event

        metrics = self._metrics

        def emit(event: orchestrator_pb2.AskEvent) -> None:
            if metrics is not None and event.HasField("step_finished"):
                metrics.stepped(question, event.step_finished)
            queue.put_nowait(stamp(event))

        async def work() -> None:
            loop = QuestionLoop(question, self._settings, self._book, self._peers, self._store, self._telemetry, emit)
            try:
                answer = stamp(orchestrator_pb2.AskEvent(answer=await loop.run(recorded)))
                # Recorded before it is sent: a caller that has the answer can always read it again.
                await self._store.finish(question.session_id, answer)
                if metrics is not None:
                    metrics.answered(question, answer.answer)
                queue.put_nowait(answer)
            except asyncio.CancelledError:
                await self._store.interrupt(question.session_id)
                raise
            except ArgoError as error:
                await self._store.fail(question.session_id, error.code.name, error.message)
                raise
            except Exception:
                await self._store.fail(question.session_id, "INTERNAL", "internal error")
                raise
            finally:
                queue.put_nowait(None)

        async def counted() -> None:
            with contextlib.nullcontext() if metrics is None else metrics.counting(question):
                await work()

        task = asyncio.create_task(counted())
        try:
            while (event := await queue.get()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                # Fetched, so that asyncio does not report it as lost; whoever left early is not told.
                task.exception()

    async def GetSession(
        self, request: orchestrator_pb2.GetSessionRequest, context: _Context
    ) -> orchestrator_pb2.Session:
        """The recorded state of a question."""
        return session_reply(await self._store.get(limits.check_session_id(request.session_id)))

    async def ListSessions(
        self, request: orchestrator_pb2.ListSessionsRequest, context: _Context
    ) -> orchestrator_pb2.ListSessionsResponse:
        """A page of sessions, newest first."""
        size = request.page_size if request.HasField("page_size") else _DEFAULT_PAGE_SIZE
        limits.check_range("page_size", size, _PAGE_SIZE)
        return list_reply(await self._store.list(size, request.page_token, list_status(request)))

    async def DeleteSession(
        self, request: orchestrator_pb2.DeleteSessionRequest, context: _Context
    ) -> orchestrator_pb2.DeleteSessionResponse:
        """Forget a question."""
        await self._store.delete(limits.check_session_id(request.session_id))
        return orchestrator_pb2.DeleteSessionResponse()

    async def GetPolicy(self, request: orchestrator_pb2.GetPolicyRequest, context: _Context) -> orchestrator_pb2.Policy:
        """The policy in force."""
        asked = report_request(request, self._settings)
        # A tracker or fan-out that was not asked for before is solved here.
        return await asyncio.to_thread(policy_reply, self._book, asked, self._upkeep.origin)

    async def ReloadPolicy(
        self, request: orchestrator_pb2.ReloadPolicyRequest, context: _Context
    ) -> orchestrator_pb2.ReloadPolicyResponse:
        """Read the policy file again and serve it."""
        solve_s = await self._upkeep.reload()
        return orchestrator_pb2.ReloadPolicyResponse(origin=self._upkeep.origin, solve_s=solve_s)

    async def GetInfo(self, request: types_pb2.GetInfoRequest, context: _Context) -> orchestrator_pb2.OrchestratorInfo:
        """This service and those behind it."""
        settings = self._settings
        shown = {
            "strategy": settings.strategy,
            "tracker": settings.tracker,
            "budget_ms": str(settings.budget_ms),
            "max_running": str(settings.max_running),
            "max_queued": str(settings.max_queued),
            "max_reduced": str(settings.max_reduced),
            "hedge_searches": str(self._peers.hedges).lower(),
            "max_steps": str(settings.max_steps),
            "fan_out": str(settings.fan_out),
            "top_k": str(settings.top_k),
            "kept_passages": str(settings.kept_passages),
            "kept_words": str(settings.kept_words),
            "close_relevance": str(self._book.parameters.close_relevance or settings.close_relevance),
            "close_confidence": str(settings.close_confidence),
            "sessions": "sqlite" if settings.session_url is None else "redis",
            "policy": self._upkeep.origin,
            "reason_available": str(self._book.reason_available).lower(),
        }
        return orchestrator_pb2.OrchestratorInfo(
            info=self._describe(shown),
            peers=await self._peers.describe(),
            strategies=STRATEGIES,
            limits={
                "question_characters": limits.QUESTION_CHARACTERS,
                "options_max": limits.OPTIONS[1],
                "top_k_max": limits.TOP_K[1],
                "fan_out_max": limits.FAN_OUT[1],
                "steps_max": limits.STEPS[1],
                "budget_ms_min": limits.BUDGET_MS[0],
                "budget_ms_max": limits.BUDGET_MS[1],
                "request_bytes": limits.REQUEST_BYTES,
                "reply_bytes": limits.REPLY_BYTES,
                "document_bytes": limits.DOCUMENT_BYTES,
            },
        )


def _repeat(existing: SessionRecord, question: Question) -> orchestrator_pb2.AskEvent:
    """What a session id that is in use answers with."""
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
