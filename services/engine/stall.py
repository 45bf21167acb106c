"""What becomes of generations while an engine gives nothing: those that wait are let go, and new ones are not begun.

A frozen engine takes what it is given and never answers. A call with a time limit ends by that; one without would wait
for its deadline, a minute and more, for a fallback that could have been had at once.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from services.engine.port import EngineStalledError

__all__ = ["Stall", "Wait"]


class Wait:
    """One generation's waits for its engine, each a `with` block around the await.

    As :func:`asyncio.timeout` does it, by cancelling the task that waits; without a timer, since a token is waited for
    thousands of times a second.
    """

    __slots__ = ("_cancelling", "_given_up", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._given_up = False

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        assert task is not None, "generations are read by tasks"
        self._cancelling = task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if not self._given_up or task is None:
            return
        self._given_up = False
        # Whoever cancelled it besides is to be heard.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise EngineStalledError("the engine gave no token in time; it was given up") from None

    def give_up(self) -> None:
        """End the wait that is going on; between two waits nothing is waited for."""
        if self._task is not None and not self._given_up:
            self._given_up = True
            self._task.cancel()


class Stall:
    """Whether an engine is taken to be stalled, and who waits for it."""

    def __init__(self) -> None:
        self.is_on = False
        """While it is, no generation is begun."""
        self._waits: set[Wait] = set()

    def admit(self) -> Wait:
        """Count a generation in; :meth:`leave` counts it out.

        Raises:
            EngineStalledError: The engine is stalled.
        """
        if self.is_on:
            raise EngineStalledError("the engine gives no tokens; it is asked again once it answers its canary")
        wait = Wait()
        self._waits.add(wait)
        return wait

    def leave(self, wait: Wait) -> None:
        """Count a generation out."""
        self._waits.discard(wait)

    def give_up(self) -> None:
        """Let go of every generation that waits, with an EngineStalledError."""
        for wait in tuple(self._waits):
            wait.give_up()
