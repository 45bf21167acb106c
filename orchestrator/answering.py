"""One question under way: its loop in a task of its own, its events, and its session kept true to what happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from opentelemetry import trace

from argo.errors import ArgoError
from argo.telemetry import Telemetry
from argo.v1 import orchestrator_pb2
from orchestrator.loop import QuestionLoop
from orchestrator.metric import QuestionMetrics
from orchestrator.peer import Peers
from orchestrator.policy_book import PolicyBook
from orchestrator.question import Question
from orchestrator.session import SessionRecord, SessionStore, StoreError
from orchestrator.settings import OrchestratorSettings

__all__ = ["Answering"]

_LOG = logging.getLogger(__name__)


class Answering:
    """Answers questions that have been admitted and recorded.

    Args:
        settings: Defaults and caps.
        book: The solved policies.
        peers: The services behind.
        store: The sessions.
        telemetry: Where spans go.
        metrics: Of this process; None for none.
    """

    def __init__(
        self,
        settings: OrchestratorSettings,
        book: PolicyBook,
        peers: Peers,
        store: SessionStore,
        telemetry: Telemetry,
        metrics: QuestionMetrics | None,
    ) -> None:
        self._settings = settings
        self._book = book
        self._peers = peers
        self._store = store
        self._telemetry = telemetry
        self._metrics = metrics

    async def events(
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
            except (asyncio.CancelledError, StoreError):
                # With a store that failed, the question has not: it can go on once there is room again, say.
                await self._ended(self._store.interrupt(question.session_id))
                raise
            except ArgoError as error:
                await self._ended(self._store.fail(question.session_id, error.code.name, error.message))
                raise
            except Exception:
                await self._ended(self._store.fail(question.session_id, "INTERNAL", "internal error"))
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

    async def _ended(self, write: Coroutine[Any, Any, None]) -> None:
        """Record an end without an answer; the caller is told why that came, not that it could not be written."""
        try:
            await write
        except StoreError as error:
            _LOG.warning("the end of a question is recorded later, as interrupted: %s", error)
