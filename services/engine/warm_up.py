"""What an engine does before it is asked anything: every path once, a batch, and its own pace measured."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from argo.errors import UnavailableError
from services.engine.port import Generated, GenerationRequest, LanguageModel

__all__ = ["FirstToken", "Pace", "all_at_once", "finished", "measure_first_token", "run_warm_up"]

_LOG = logging.getLogger(__name__)
_PACE_TOKENS: Final = 24
_PACE_ROUNDS: Final = 3
_FIRST_TOKEN_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one request alone is answered."""

    ttft_s: float
    """Seconds to the first token."""
    tpot_s: float
    """Seconds for each further token."""

    def answer_s(self, tokens: int) -> float:
        """Seconds for an answer of so many tokens."""
        return self.ttft_s + max(0, tokens - 1) * self.tpot_s

    def tokens_in(self, seconds: float) -> int:
        """Tokens that fit so many seconds; 0 where not even the first does."""
        if seconds < self.ttft_s:
            return 0
        return 1 + int((seconds - self.ttft_s) / max(self.tpot_s, 1e-6))


@dataclass(frozen=True, slots=True)
class FirstToken:
    """How long an engine with nothing else to do takes for the first token of a prompt that is in no cache."""

    ttft_s: float
    """Seconds, measured."""
    characters: int
    """Of the prompt that was measured."""

    def expected_s(self, request: GenerationRequest) -> float:
        """Seconds for another prompt: in proportion to its length where it is longer, and else what was measured."""
        return self.ttft_s * max(1.0, _characters(request) / self.characters)


async def finished(model: LanguageModel, request: GenerationRequest) -> Generated:
    """The whole of one generation, its deltas passed over.

    Raises:
        UnavailableError: The engine ended it without saying what came of it.
    """
    whole: Generated | None = None
    async for part in model.generate(request):
        if isinstance(part, Generated):
            whole = part
    if whole is None:
        raise UnavailableError("the engine ended a generation without its result")
    return whole


async def run_warm_up(model: LanguageModel, requests: Sequence[GenerationRequest], batch: int) -> Pace:
    """Run every kind of request once, then a batch of the expected size, then measure one request alone.

    The first call of a path may compile or capture for seconds; a caller must not wait that out.

    Args:
        model: A started engine.
        requests: One of each kind that the service sends; the last that is free text is the one that is timed.
        batch: Requests that are then run at once.

    Returns:
        The pace of one request alone: the fastest of a few, since whatever else runs can only make it slower.

    Raises:
        ArgoError: The first that went wrong; see the port's generate.
    """
    began = time.monotonic()
    for request in requests:
        await finished(model, request)
    await all_at_once([finished(model, requests[number % len(requests)]) for number in range(batch)])
    free = [request for request in requests if not request.choices]
    # Tokens to time, whatever the model would say; the prompt is in the prefix cache, as most of a real one is.
    timed = replace(
        free[-1],
        sampling=replace(free[-1].sampling, max_tokens=_PACE_TOKENS, min_tokens=_PACE_TOKENS, stop=(), ignore_eos=True),
    )
    rounds = [await _pace(model, timed) for _ in range(_PACE_ROUNDS)]
    pace = Pace(min(each.ttft_s for each in rounds), min(each.tpot_s for each in rounds))
    _LOG.info(
        "%s is warm after %.1f s: first token after %.1f ms, then %.2f ms a token",
        model.model,
        time.monotonic() - began,
        pace.ttft_s * 1000,
        pace.tpot_s * 1000,
    )
    return pace


async def measure_first_token(model: LanguageModel, requests: Sequence[GenerationRequest]) -> FirstToken:
    """Time the first token of a prompt that no cache holds; to be called after the warm-up.

    Args:
        model: A warm engine.
        requests: One of each kind that the service sends; the longest that is free text is the one that is timed.

    Raises:
        ArgoError: See the port's generate.
    """
    longest = max((request for request in requests if not request.choices), key=_characters)
    one = replace(longest.sampling, max_tokens=1, min_tokens=1, stop=(), ignore_eos=True)
    rounds = []
    for _ in range(_FIRST_TOKEN_ROUNDS):
        first, *others = longest.messages
        # Caches keep beginnings.
        fresh = replace(first, content=f"{uuid.uuid4().hex} {first.content}")
        began = time.perf_counter()
        await finished(model, replace(longest, messages=(fresh, *others), sampling=one))
        rounds.append(time.perf_counter() - began)
    # Whatever else runs can only make it slower.
    return FirstToken(min(rounds), _characters(longest))


def _characters(request: GenerationRequest) -> int:
    return max(1, sum(len(message.content) for message in request.messages))


async def all_at_once(calls: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run them side by side; the first error ends the others and is raised as itself, for the edge to map."""
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _pace(model: LanguageModel, request: GenerationRequest) -> Pace:
    began = time.perf_counter()
    generated = await finished(model, request)
    total_s = time.perf_counter() - began
    tokens = max(1, generated.completion_tokens)
    # By our own clock, so that the way to the engine and back counts; the engine's says how it parts.
    decode_s = min(generated.timing.decode_s, total_s)
    return Pace(max(total_s - decode_s, 1e-6), decode_s / max(1, tokens - 1))
