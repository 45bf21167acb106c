"""A language model that words what a test tells it to, and an engine in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

from argo.errors import ArgoError
from argo.v1 import types_pb2
from services.decomposer.builtin import BuiltinEngine
from services.decomposer.engine import SubqueryRequest
from services.decomposer.model import ModelEngine
from services.decomposer.plan import plan_foci
from services.decomposer.subquery_cache import SubqueryCache
from services.engine.canary import WatchedModel
from services.engine.port import Generated, GenerationRequest, GenerationTiming
from services.engine.profile import RoleSampling
from services.engine.served import ServedModel
from services.engine.settings import EngineSettings
from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus

TIMING = GenerationTiming(0.001, 0.002, 0.004)

Reply = str | ArgoError


@dataclass
class FakeModel:
    """Replies in order, the last one again and again."""

    replies: list[Reply]
    finish_reason: Literal["stop", "length", "time"] = "stop"
    name: str = "fake"
    model: str = "fake-model"
    unfinished: int = 0
    special_tokens: tuple[str, ...] = ("<|im_end|>", "[CONTROL_7]")
    requests: list[GenerationRequest] = field(default_factory=list)

    async def start(self) -> None: ...

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        await asyncio.sleep(0)
        if isinstance(reply, ArgoError):
            raise reply
        yield reply
        yield Generated(
            reply,
            self.finish_reason,
            prompt_tokens=100,
            completion_tokens=len(reply.split()),
            cached_tokens=60,
            timing=TIMING,
        )

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def alive(self) -> None: ...

    def describe(self) -> types_pb2.EngineInfo:
        return types_pb2.EngineInfo(name=self.name, language_model=True, model=self.model)

    async def close(self) -> None: ...


def rules() -> BuiltinEngine:
    """What words a subquery where the model does not."""
    return BuiltinEngine(load_glossary(), load_thesaurus())


def engine(
    model: FakeModel, *, always: bool = False, temperature: float = 0.0, cache: SubqueryCache | None = None
) -> ModelEngine:
    """The engine under test."""
    served = ServedModel(EngineSettings(engine="scripted"))
    served.model = WatchedModel(model)
    sampling = RoleSampling(max_tokens=32, temperature=temperature)
    return ModelEngine(served, rules(), sampling, always=always, cache=cache)


def asked(question: str, number: int = 0) -> SubqueryRequest:
    """What the orchestrator's first step asks for one focus of a question."""
    foci = plan_foci(question)
    return SubqueryRequest(question, foci[number], foci=foci)


def prompt(request: GenerationRequest) -> str:
    """All turns of a prompt, one behind the other."""
    return "\n".join(message.content for message in request.messages)
