"""What a question records on its way, written while it goes on; its caller hears of a step once it is in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from argo.v1 import orchestrator_pb2, session_pb2
from orchestrator.session import SessionStore

__all__ = ["Recorder"]


class Recorder:
    """Records one question, and tells its events in order.

    The answer is begun while the last step is being written. What is told of it waits for the step, and the step for
    its record: a caller that has heard of a step finds it in the store, whatever dies next.

    Args:
        session_id: The question's.
        store: Where plan and steps are recorded.
        emit: Takes the events.
    """

    def __init__(self, session_id: str, store: SessionStore, emit: Callable[[orchestrator_pb2.AskEvent], None]) -> None:
        self._session_id = session_id
        self._store = store
        self._emit = emit
        self._writes: list[asyncio.Task[None]] = []
        self._held: list[orchestrator_pb2.AskEvent] | None = None

    def tell(self, event: orchestrator_pb2.AskEvent) -> None:
        """Emit an event, after a step that is still being written."""
        if self._held is None:
            self._emit(event)
        else:
            self._held.append(event)

    def plan(self, plan: session_pb2.RecordedPlan) -> None:
        """Begin to write the plan; the question goes on meanwhile."""
        self._begin(self._store.plan(self._session_id, plan))

    def step(self, step: session_pb2.RecordedStep) -> None:
        """Begin to write a step, and tell of it when that is done; one at a time."""
        self._held = [orchestrator_pb2.AskEvent(step_finished=step.finished)]
        self._begin(self._step(step))

    async def _step(self, step: session_pb2.RecordedStep) -> None:
        await self._store.step(self._session_id, step)
        held, self._held = self._held or [], None
        for event in held:
            self._emit(event)

    def _begin(self, write: Coroutine[Any, Any, None]) -> None:
        self._writes.append(asyncio.create_task(write))

    async def written(self) -> None:
        """Wait for what was begun to be written; raises what a write raised."""
        await self.ended()
        writes, self._writes = self._writes, []
        for error in [write.exception() for write in writes]:
            if error is not None:
                raise error

    async def ended(self) -> None:
        """Wait until nothing is being written, however that ended."""
        if self._writes:
            # Not gather, which would cancel the writes with the question.
            await asyncio.wait(self._writes)
        for write in self._writes:
            # Fetched, so that asyncio does not report it as lost where the question ends for another reason.
            if not write.cancelled():
                write.exception()
