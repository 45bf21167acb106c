"""A language model for tests of what stands in front of one: it answers by what the test has set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from argo.v1 import types_pb2
from services.engine.port import EngineDeadError, Generated, GenerationRequest, GenerationTiming

__all__ = ["FakeModel"]


class FakeModel:
    """Two tokens at once, then the whole; frozen and dead are the test's to set."""

    name = "fake"
    model = "fake-model"
    special_tokens: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.unfinished = 0
        self.requests: list[GenerationRequest] = []
        self.most_at_once = 0
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.failure: Exception | None = None
        self.dead = False
        self.timing = GenerationTiming(queue_s=0.1, prefill_s=0.2, decode_s=0.3)

    async def start(self) -> None:
        """Nothing to load."""

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        """Yield two deltas and the whole."""
        self.requests.append(request)
        self.unfinished += 1
        self.most_at_once = max(self.most_at_once, self.unfinished)
        try:
            await asyncio.sleep(0)
            await self.thawed.wait()
            if self.failure is not None:
                raise self.failure
            for delta in ("two ", "words"):
                yield delta
            yield Generated("two words", "length", 7, 2, 3, self.timing)
        finally:
            self.unfinished -= 1

    def count_tokens(self, text: str) -> int:
        """One a word."""
        return len(text.split())

    async def alive(self) -> None:
        """As the test has it."""
        if self.dead:
            raise EngineDeadError("the engine's core is gone")

    def describe(self) -> types_pb2.EngineInfo:
        """The least there is to say."""
        return types_pb2.EngineInfo(name=self.name, language_model=True, model=self.model)

    async def close(self) -> None:
        """Nothing to stop."""
