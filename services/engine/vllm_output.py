"""What comes out of vLLM for one request, taken together as it streams."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from argo.errors import UnavailableError
from services.engine.port import GenerationTiming

__all__ = ["Progress", "label_probabilities", "until"]


class Progress:
    """What has come of one generation so far."""

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.cached_tokens = 0
        self.finish_reason: Literal["stop", "length", "time"] = "length"
        self.logprobs: Mapping[int, Any] | None = None
        self._metrics: Any = None

    def take(self, output: Any) -> str:
        """Take in one output, and return its text."""
        completion = output.outputs[0]
        self.completion_tokens += len(completion.token_ids)
        self.cached_tokens = output.num_cached_tokens or self.cached_tokens
        self._metrics = output.metrics or self._metrics
        if completion.logprobs and self.logprobs is None:
            self.logprobs = completion.logprobs[0]
        if completion.finish_reason in ("abort", "error"):
            # Not by us, who have left by then: the core is being stopped, or lost the request.
            raise UnavailableError("the engine gave the generation up")
        if completion.finish_reason in ("stop", "repetition"):
            self.finish_reason = "stop"
        return str(completion.text)

    def timing(self) -> GenerationTiming:
        """Queue, prefill and decode by the engine core's own clock; zeros where nothing came."""
        metrics = self._metrics
        if metrics is None or not metrics.first_token_ts:
            return GenerationTiming()
        return GenerationTiming(
            queue_s=max(0.0, metrics.scheduled_ts - metrics.queued_ts),
            prefill_s=max(0.0, metrics.first_token_ts - metrics.scheduled_ts),
            decode_s=max(0.0, metrics.last_token_ts - metrics.first_token_ts),
        )


async def until(outputs: AsyncGenerator[Any, None], limit_s: float | None, state: Progress) -> AsyncIterator[Any]:
    """Outputs until they end or the time is up, which the progress then says."""
    deadline = None if limit_s is None else asyncio.get_running_loop().time() + limit_s
    while True:
        try:
            # The limit is around the waiting alone: a slow reader is not the engine's delay.
            async with asyncio.timeout_at(deadline):
                output = await anext(outputs)
        except StopAsyncIteration:
            return
        except TimeoutError:
            state.finish_reason = "time"
            return
        yield output


def label_probabilities(logprobs: Mapping[int, Any] | None, labels: Sequence[int]) -> tuple[float, ...]:
    """Probabilities of the labels among themselves; empty where there are none."""
    if not labels or not logprobs:
        return ()
    found = [logprobs[label].logprob if label in logprobs else -math.inf for label in labels]
    highest = max(found)
    if math.isinf(highest):
        return ()
    masses = [math.exp(one - highest) for one in found]
    return tuple(mass / sum(masses) for mass in masses)
