"""The gRPC face of the orchestrator: streams a question's events, and keeps its session true to what happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

import grpc
from opentelemetry import trace

from argo import limits
from argo import telemetry as names
from argo.admission import Admission, LateError, QueueFullError
from argo.errors import (
    ArgoError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
)
from argo.telemetry import Telemetry
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc, types_pb2
from orchestrator.answering import Answering
from orchestrator.info_view import info_reply, shown_settings
from orchestrator.metric import PolicyMetrics, QuestionMetrics
from orchestrator.peer import Peers
from orchestrator.policy_upkeep import PolicyUpkeep
from orchestrator.policy_view import policy_reply, report_request
from orchestrator.question import Question, accept
from orchestrator.session import SessionStore
from orchestrator.session_view import list_reply, list_status, repeat, session_reply
from orchestrator.settings import OrchestratorSettings
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
        self._answering = Answering(settings, self._book, peers, store, telemetry, self._metrics)

    async def Ask(  # the generated base class names it
        self, request: orchestrator_pb2.AskRequest, context: _Context
    ) -> AsyncIterator[orchestrator_pb2.AskEvent]:
        """Answer a question, or repeat what is recorded under its session id."""
        question = self._accept(request, context)
        await self._upkeep.looked.wait()
        # What was asked before is repeated whatever has changed since, and costs no place and no share: whoever lost an
        # answer gets it however full it is here, and of a store that takes nothing new. Only a new question must run.
        if (recorded := await self._recorded(request, question)) is not None:
            yield recorded
            return
        self._check_runs(question)
        accepted = orchestrator_pb2.AskRequest()
        accepted.CopyFrom(request)
        accepted.session_id = question.session_id
        latest = question.start_by(self._shortest_s(question) + self._reduced_search_s(request))
        async with self._admitted(latest, allow_reduced=request.allow_reduced) as reduced:
            begun = self._store.begin(question.session_id, accepted)
            with self._recording(question):
                existing = await self._claim(question.session_id, begun, lambda record: record is None)
            if existing is not None:
                # Begun by another call while this one waited for its place.
                yield repeat(existing, question)
                return
            asked = question.as_reduced() if reduced else question
            async with contextlib.aclosing(self._answering.events(asked, None)) as events:
                async for event in events:
                    yield event

    async def ResumeSession(
        self, request: orchestrator_pb2.ResumeSessionRequest, context: _Context
    ) -> AsyncIterator[orchestrator_pb2.AskEvent]:
        """Go on with an interrupted question."""
        session_id = limits.check_session_id(request.session_id)
        if request.HasField("budget_ms"):
            limits.check_budget_ms(request.budget_ms)
        await self._upkeep.looked.wait()
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
            async with contextlib.aclosing(self._answering.events(question, recorded)) as events:
                async for event in events:
                    yield event

    async def _recorded(
        self, request: orchestrator_pb2.AskRequest, question: Question
    ) -> orchestrator_pb2.AskEvent | None:
        """What is recorded under the id that the caller gave; None for an id of our own, or a new one."""
        if not request.HasField("session_id"):
            return None
        try:
            with self._recording(question):
                return repeat(await self._store.get(question.session_id), question)
        except NotFoundError:
            return None

    def _recording(self, question: Question) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._metrics is None else self._metrics.recording(question)

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
        refusing = contextlib.nullcontext() if self._metrics is None else self._metrics.refusing()
        with refusing, self._quota.taken():
            async with contextlib.AsyncExitStack() as held:
                yield await self._take_place(held, start_by, allow_reduced)

    async def _take_place(self, held: contextlib.AsyncExitStack, start_by: float, allow_reduced: bool) -> bool:
        try:
            waited_s = await held.enter_async_context(self._admission.place(start_by))
        except (QueueFullError, LateError):
            if not (allow_reduced and self._reduced.running < self._settings.max_reduced):
                raise
            await held.enter_async_context(self._reduced.place(start_by))
            return True
        trace.get_current_span().set_attribute(names.QUEUE_MS, waited_s * 1000)
        if self._metrics is not None:
            self._metrics.began(waited_s)
        return False

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
        shown = shown_settings(self._settings, self._book, self._upkeep.origin, hedges=self._peers.hedges)
        return info_reply(self._describe(shown), await self._peers.describe())
