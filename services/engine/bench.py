"""The engine by itself, through its port: what the whole stack is measured against.

Prompts are words, counted as the engine counts (by its tokenizer; engine openai estimates, and the record has what the
server counted). Lengths are held (min_tokens = max_tokens, the model's own end ignored), so that every request is the
same work. The mix is one question's generations: three subqueries of 600 tokens in and 50 out at once, then one answer
of 1,200 in and 200 out.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from argo.errors import InvalidArgumentError
from services.engine.port import Generated, GenerationRequest, LanguageModel, Message, Sampling
from services.engine.warm_up import all_at_once

__all__ = ["MIX", "Load", "Unit", "Workload", "check_shared", "run_level"]

_WORDS: Final = (
    "fronthaul latency open radio unit distributed control plane user message timing window policy interface cell "
    "beam section slice network function service model report request level"
).split()
_WARM: Final = 8


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request."""

    prompt_tokens: int
    completion_tokens: int
    at_once: int = 1
    """How many of it go out together."""


MIX: Final = (Load(600, 50, at_once=3), Load(1_200, 200))
"""A question's generations, one stage after the other."""


@dataclass(slots=True)
class Unit:
    """What one request, or one question of the mix, took."""

    latency_s: float
    ttft_s: float
    """To the first token of the last stage."""
    tpot_s: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


def check_shared(shared: float) -> None:
    """Refuse a share of each prompt that cannot be.

    Raises:
        InvalidArgumentError: It is below 0, or leaves nothing of a prompt its own.
    """
    if not 0 <= shared < 1:
        raise InvalidArgumentError(f"shared must be in 0..1, below 1, got {shared:g}")


class Workload:
    """Makes prompts of a length, and runs the stages of one question.

    Args:
        models: The engine of each stage.
        stages: One after the other.
        shared: Share of each prompt with which all prompts begin.
        seed: Of the words.
    """

    def __init__(
        self, models: Sequence[LanguageModel], stages: Sequence[Load], *, shared: float = 0.0, seed: int = 0
    ) -> None:
        check_shared(shared)
        self._models = models
        self._stages = stages
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        common = [self._random.choice(_WORDS) for _ in range(max(stage.prompt_tokens for stage in stages))]
        self._plans = [_Plan.fitted(model, stage, common, shared) for model, stage in zip(models, stages, strict=True)]

    async def one(self) -> Unit:
        """Run all stages once."""
        began = time.perf_counter()
        unit = Unit(0.0, 0.0)
        for model, stage, plan in zip(self._models, self._stages, self._plans, strict=True):
            stage_began = time.perf_counter()
            requests = [self._request(plan, stage) for _ in range(stage.at_once)]
            done = await asyncio.gather(*(_timed(model, request) for request in requests))
            unit.ttft_s = stage_began - began + max(first for first, _ in done)
            for _, generated in done:
                _add(unit, generated)
        unit.latency_s = time.perf_counter() - began
        return unit

    def _request(self, plan: _Plan, stage: Load) -> GenerationRequest:
        number = next(self._numbers)
        words = [*plan.common, f"{number:06d}", *(self._random.choice(_WORDS) for _ in range(plan.own))]
        sampling = Sampling(max_tokens=stage.completion_tokens, min_tokens=stage.completion_tokens, ignore_eos=True)
        return GenerationRequest([Message("user", " ".join(words))], sampling, kind="bench")


@dataclass(frozen=True, slots=True)
class _Plan:
    """Words that make a prompt of about as many tokens as wanted."""

    common: Sequence[str]
    own: int

    @classmethod
    def fitted(cls, model: LanguageModel, stage: Load, words: Sequence[str], shared: float) -> _Plan:
        per_word = model.count_tokens(" ".join(words)) / len(words)
        wanted = max(2, round(stage.prompt_tokens / per_word) - 1)
        common = round(wanted * shared)
        return cls(words[:common], wanted - common)


async def _timed(model: LanguageModel, request: GenerationRequest) -> tuple[float, Generated]:
    """Seconds to the first token by our own clock, and the whole."""
    began, first, whole = time.perf_counter(), 0.0, None
    async for part in model.generate(request):
        first = first or time.perf_counter() - began
        if isinstance(part, Generated):
            whole = part
    assert whole is not None, "the port promises the whole last"
    return first, whole


def _add(unit: Unit, generated: Generated) -> None:
    unit.prompt_tokens += generated.prompt_tokens
    unit.completion_tokens += generated.completion_tokens
    unit.cached_tokens += generated.cached_tokens
    if generated.tpot_s is not None:
        unit.tpot_s.append(generated.tpot_s)


async def run_level(
    work: Callable[[], Coroutine[Any, Any, Unit]],
    in_flight: int,
    count: int,
    *,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Keep so many in flight until so many are done, after a warm-up that does not count.

    Args:
        work: Runs one.
        in_flight: How many at once.
        count: How many in all.
        progress: Called for each that is done.

    Returns:
        The record: percentiles in seconds, rates, tokens, and every sample.

    Raises:
        ArgoError: The first that went wrong; the rest is given up.
    """
    await all_at_once(work() for _ in range(min(in_flight, _WARM)))
    numbers = iter(range(count))
    units: list[Unit] = []

    async def worker() -> None:
        for _ in numbers:
            units.append(await work())
            progress()

    began = time.perf_counter()
    await all_at_once(worker() for _ in range(min(in_flight, count)))
    return _record(units, in_flight, time.perf_counter() - began)


def _record(units: Sequence[Unit], in_flight: int, wall_s: float) -> dict[str, Any]:
    tokens = sum(unit.completion_tokens for unit in units)
    prompts = sum(unit.prompt_tokens for unit in units)
    return {
        "in_flight": in_flight,
        "count": len(units),
        "wall_s": wall_s,
        "per_s": len(units) / wall_s,
        "completion_tokens_per_s": tokens / wall_s,
        "prompt_tokens": prompts / len(units),
        "completion_tokens": tokens / len(units),
        "cached_share": sum(unit.cached_tokens for unit in units) / prompts if prompts else 0.0,
        "latency_s": _percentiles([unit.latency_s for unit in units]),
        "ttft_s": _percentiles([unit.ttft_s for unit in units]),
        "tpot_s": _percentiles([value for unit in units for value in unit.tpot_s]),
        "samples": [{"latency_s": round(unit.latency_s, 6), "ttft_s": round(unit.ttft_s, 6)} for unit in units],
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and mean, between the samples linearly; empty without samples."""
    if not values:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {"p50": cuts[49], "p95": cuts[94], "mean": statistics.fmean(values)}
