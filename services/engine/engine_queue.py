"""The queue in front of an engine: which generation is begun next, and which is not begun at all.

The engine is given as many generations as it computes at once. The others wait here, the one whose time runs out first
at the front, which no engine does for all of them: vLLM by default and most servers go by arrival. Beyond a bound a
generation is refused at once with the time after which to try again, and one that could no longer write what it is for
by its time limit is not begun, so that the engine's time goes to those that can.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from argo.admission import Admission, LateError
from argo.v1 import types_pb2
from services.engine.port import NO_LIMIT_S, Generated, GenerationRequest
from services.engine.running_pace import RunningPace
from services.engine.warm_up import Pace

__all__ = ["CANARY_KIND", "EngineQueue", "Turn"]

CANARY_KIND: Final = "canary"
"""Generations of this kind pass by the queue: whether the engine answers must not depend on who waits for it."""
_SERVER_RUNNING: Final = 256
"""Generations given at once to a server that does not say how many it computes. Chosen: what vLLM computes at once by
default on GPUs of less than 70 GiB (vLLM 0.26 and 0.32, vllm/engine/arg_utils.py)."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A generation that may begin."""

    request: GenerationRequest
    """As it was asked for, with the time that it still has."""
    waited_s: float = 0.0
    pace: RunningPace | None = None

    def ended(self, generated: Generated) -> Generated:
        """Note how fast the engine was, and return the whole with the wait as part of its queue."""
        if self.pace is not None:
            # Without the wait: from here on it is the engine's time alone that decides what can still be done.
            self.pace.note(generated, time.monotonic())
        if not self.waited_s:
            return generated
        timing = generated.timing
        return dataclasses.replace(
            generated, timing=dataclasses.replace(timing, queue_s=timing.queue_s + self.waited_s)
        )


class EngineQueue:
    """The queue of one engine; until it is bounded everything passes.

    Args:
        most_running: Generations that the engine is given at once; None for as many as it computes.
        most_queued: Generations that wait besides.
    """

    def __init__(self, most_running: int | None = None, most_queued: int = 0) -> None:
        self._most_running = most_running
        self._most_queued = most_queued
        self._admission: Admission | None = None
        self._pace: RunningPace | None = None
        self._bounds = (0, 0)

    @property
    def queued(self) -> int:
        """Generations that wait here."""
        return 0 if self._admission is None else self._admission.queued

    def bound(self, max_num_seqs: int, alone: Pace) -> None:
        """Begin to hold back; not before the warm-up, which fills the engine on purpose.

        Args:
            max_num_seqs: Generations that the engine computes at once; 0 where it does not say.
            alone: Pace of one generation alone.
        """
        running = self._most_running or max_num_seqs or _SERVER_RUNNING
        self._bounds = (running, self._most_queued)
        self._admission = Admission(*self._bounds, of=("generations", "this engine"))
        self._pace = RunningPace(alone)

    @contextlib.asynccontextmanager
    async def turn(self, request: GenerationRequest) -> AsyncIterator[Turn]:
        """Hold a place in the engine; waits for one where all are taken.

        Raises:
            QueueFullError: No more may wait; says when trying again makes sense.
            LateError: Its least tokens could not, or can no longer, be there within its time limit.
        """
        admission, pace = self._admission, self._pace
        if admission is None or pace is None or request.kind == CANARY_KIND:
            yield Turn(request)
            return
        limit_s = request.time_limit_s
        slack_s = NO_LIMIT_S
        if limit_s is not None:
            slack_s = limit_s - pace.at(time.monotonic()).answer_s(request.least_tokens)
        if slack_s < 0:
            raise LateError(f"{request.least_tokens} tokens take longer than the {limit_s:.3f} s that are left")
        async with admission.place(time.perf_counter() + slack_s) as waited_s:
            if limit_s is not None:
                request = _fitted(request, limit_s - waited_s, pace.at(time.monotonic()))
            yield Turn(request, waited_s, pace)

    def describe(self, info: types_pb2.EngineInfo) -> None:
        """Write what GetInfo says of the queue."""
        if self._admission is None:
            return
        info.max_running, info.max_queued = self._bounds
        info.queued = self.queued
        info.unfinished += info.queued


def _fitted(request: GenerationRequest, left_s: float, pace: Pace) -> GenerationRequest:
    """The request with the time that it has left, and with the tokens that are of use in it.

    They were fitted to more time when it was asked for. An engine that is told ends with the last of them, where the
    time limit would end it in the middle of what it was to write, and call that a failure.
    """
    sampling, tokens = request.sampling, max(request.least_tokens, pace.tokens_in(left_s))
    if request.shortens and sampling.min_tokens <= tokens < sampling.max_tokens:
        sampling = dataclasses.replace(sampling, max_tokens=tokens)
    return dataclasses.replace(request, sampling=sampling, time_limit_s=left_s)
