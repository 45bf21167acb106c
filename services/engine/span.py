"""Spans of generations: one for each, with its queue, prefill and decode below it, inside the question's trace.

They are made here, from what an engine says of each request, and not by the engine: vLLM's own exporter would run
beside ours and knows neither our span files nor our sampling.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, cast

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from argo import telemetry as names
from argo.admission import LateError
from argo.errors import ArgoError
from argo.telemetry import Telemetry
from argo.v1 import types_pb2
from services.engine.engine_queue import EngineQueue
from services.engine.port import Generated, GenerationRequest, GenerationTiming, LanguageModel

__all__ = ["TracedModel"]

_NS: Final = 1_000_000_000


class TracedModel:
    """A language model whose generations wait for their turn and leave spans; everything else passes through.

    Args:
        model: The engine.
        telemetry: Where spans go.
        queue: In front of the engine; None for none.
    """

    def __init__(self, model: LanguageModel, telemetry: Telemetry, queue: EngineQueue | None = None) -> None:
        self._inner = model
        self._telemetry = telemetry
        self._queue = EngineQueue() if queue is None else queue

    @property
    def name(self) -> str:
        """Name of the engine."""
        return self._inner.name

    @property
    def model(self) -> str:
        """Name or path of the model."""
        return self._inner.model

    @property
    def unfinished(self) -> int:
        """Generations received and not finished."""
        return self._inner.unfinished + self._queue.queued

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Texts that the tokenizer reads as control tokens."""
        return self._inner.special_tokens

    async def start(self) -> None:
        """Load the model."""
        await self._inner.start()

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        """Yield what the engine yields when its turn has come, and record it.

        Raises:
            QueueFullError: No more may wait.
        """
        tracer = self._telemetry.tracer
        # Started and ended by hand: a generator may be closed in another context than it was begun in.
        span = tracer.start_span(
            f"{names.GEN_AI_CHAT} {self.model}",
            kind=SpanKind.INTERNAL,
            attributes={
                names.GEN_AI_OPERATION: names.GEN_AI_CHAT,
                names.GEN_AI_PROVIDER: self.name,
                names.GEN_AI_MODEL: self.model,
                names.GEN_AI_MAX_TOKENS: request.sampling.max_tokens,
                names.GEN_AI_TEMPERATURE: request.sampling.temperature,
                names.GENERATION_KIND: request.kind,
            },
        )
        finished, began = False, time.perf_counter()
        try:
            # All in one generator: every layer of them is paid for at every token.
            async with (
                self._queue.turn(request) as turn,
                contextlib.aclosing(
                    cast("AsyncGenerator[str | Generated, None]", self._inner.generate(turn.request))
                ) as parts,
            ):
                async for part in parts:
                    if isinstance(part, Generated):
                        finished, part = True, turn.ended(part)
                        self._record(span, part)
                    yield part
        except LateError:
            waited = GenerationTiming(queue_s=time.perf_counter() - began)
            late = Generated("", "time", timing=waited, begun=False)
            self._record(span, late)
            yield late
        except ArgoError as error:
            span.set_status(Status(StatusCode.ERROR, error.code.name))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            # A reader that has the whole need not read on to the end.
            if not finished:
                span.set_status(Status(StatusCode.ERROR, "CANCELLED"))
            raise
        except BaseException:
            span.set_status(Status(StatusCode.ERROR, "INTERNAL"))
            raise
        finally:
            span.end()

    def _record(self, span: Span, generated: Generated) -> None:
        attributes: dict[str, str | int | float | tuple[str, ...]] = {
            names.GEN_AI_INPUT_TOKENS: generated.prompt_tokens,
            names.GEN_AI_OUTPUT_TOKENS: generated.completion_tokens,
            names.GEN_AI_CACHED_TOKENS: generated.cached_tokens,
            names.GEN_AI_FINISH_REASONS: (generated.finish_reason,),
            names.GEN_AI_TIME_TO_FIRST_TOKEN: generated.timing.ttft_s,
        }
        if generated.tpot_s is not None:
            attributes[names.GEN_AI_TIME_PER_OUTPUT_TOKEN] = generated.tpot_s
        span.set_attributes(attributes)
        if span.is_recording():
            self._parts(span, generated.timing)

    def _parts(self, span: Span, timing: GenerationTiming) -> None:
        """Queue, prefill and decode, one after another up to now, which is when the last token came."""
        context = trace.set_span_in_context(span)
        end_ns = time.time_ns()
        total_s = timing.queue_s + timing.prefill_s + timing.decode_s
        start_ns = end_ns - int(total_s * _NS)
        for name, seconds in (
            (names.SPAN_QUEUE, timing.queue_s),
            (names.SPAN_PREFILL, timing.prefill_s),
            (names.SPAN_DECODE, timing.decode_s),
        ):
            until_ns = min(end_ns, start_ns + int(seconds * _NS))
            self._telemetry.tracer.start_span(name, context=context, start_time=start_ns).end(until_ns)
            start_ns = until_ns

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return self._inner.count_tokens(text)

    async def alive(self) -> None:
        """Return if the engine's process still runs."""
        await self._inner.alive()

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        info = self._inner.describe()
        self._queue.describe(info)
        return info

    async def close(self) -> None:
        """Stop the engine's processes."""
        await self._inner.close()
