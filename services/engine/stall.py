"""What becomes of generations while an engine gives nothing: those that wait are let go, and new ones are not begun.

A frozen engine takes what it is given and never answers. A call with a time limit ends by that; one without would wait
for its deadline, a minute and more, for a fallback that could have been had at once.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from services.engine.port import EngineStalledError

__all__ = ["Stall", "Wait"]


class Wait:
    """One generation's waits for its engine, each a `with` block around the await.

    As :func:`asyncio.timeout` does it, by cancelling the task that waits; without a timer, since a token is waited for
    thousands of times a second.

    Args:
        patience_s: Seconds in which its first token may not come though the engine is well.
    """

    __slots__ = ("_cancelling", "_given_up", "_task", "began_at", "patience_s")

    def __init__(self, patience_s: float = 0.0) -> None:
        self.began_at = time.monotonic()
        """time.monotonic() when the generation was admitted."""
        self.patience_s = patience_s
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

    @property
    def patience_s(self) -> float:
        """Seconds for which an engine that is well may give nothing: one prompt holds up the others."""
        return max((wait.patience_s for wait in self._waits), default=0.0)

    def admit(self, patience_s: float = 0.0) -> Wait:
        """Count a generation in; :meth:`leave` counts it out.

        Args:
            patience_s: Seconds in which its first token may not come though the engine is well.

        Raises:
            EngineStalledError: The engine is stalled.
        """
        if self.is_on:
            raise EngineStalledError("the engine gives no tokens; it is asked again once it answers its canary")
        wait = Wait(patience_s)
        self._waits.add(wait)
        return wait

    def leave(self, wait: Wait) -> None:
        """Count a generation out."""
        self._waits.discard(wait)

    def give_up(self, heard_at: float, least_s: float) -> None:
        """Let go, with an EngineStalledError, of every generation that waits and has waited long enough.

        Args:
            heard_at: time.monotonic() when the engine last gave anything.
            least_s: Seconds that each is given at the least, from then or from its own beginning.
        """
        enough_s = max(least_s, self.patience_s)
        for wait in tuple(self._waits):
            if time.monotonic() - max(heard_at, wait.began_at) >= enough_s:
                wait.give_up()
