"""A language model that says what a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from argo.errors import ArgoError
from argo.v1 import types_pb2
from services.engine.canary import WatchedModel
from services.engine.port import Generated, GenerationRequest, GenerationTiming, LanguageModel
from services.engine.profile import RoleSampling
from services.engine.running_pace import RunningPace
from services.engine.served import ServedModel
from services.engine.settings import EngineSettings
from services.engine.warm_up import Pace
from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus
from services.synthesizer.builtin import BuiltinEngine
from services.synthesizer.choice import ChoiceRules
from services.synthesizer.engine import Answer, EvidencePassage, SynthesisRequest
from services.synthesizer.extractive import ExtractiveRules
from services.synthesizer.model import ModelEngine
from services.synthesizer.model_rule import ModelRules

DU = EvidencePassage("du", "The O-DU hosts the RLC and MAC layers. It is a logical node.", "b.md", "O-DU", 0.9)
RU = EvidencePassage("ru", "The O-RU hosts the low PHY layer. It has transmit antennas too.", "a.md", "O-RU", 0.5)
FREE = SynthesisRequest("Which layers does the O-DU host?", evidence=(DU, RU))
CHOICE = SynthesisRequest("Which layer does the O-RU host?", ("PDCP", "low PHY", "RLC"), evidence=(RU, DU))
TIMING = GenerationTiming(0.001, 0.002, 0.004)

Reply = str | ArgoError | Sequence[str | ArgoError]


@dataclass
class FakeModel:
    """Replies in order, the last one again and again; a reply is a text, an error, or deltas and then perhaps one."""

    replies: list[Reply]
    probabilities: Callable[[GenerationRequest], tuple[float, ...]] = lambda request: ()
    finish_reason: str = "stop"
    max_model_len: int = 0
    name: str = "fake"
    model: str = "fake-model"
    unfinished: int = 0
    special_tokens: tuple[str, ...] = ("<|im_end|>",)
    requests: list[GenerationRequest] = field(default_factory=list)

    async def start(self) -> None: ...

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        said = [reply] if isinstance(reply, str | ArgoError) else list(reply)
        self.unfinished += 1
        try:
            for part in said:
                if isinstance(part, ArgoError):
                    raise part
                yield part
        finally:
            self.unfinished -= 1
        text = "".join(map(str, said))
        yield Generated(
            text,
            self.finish_reason,  # type: ignore[arg-type]
            prompt_tokens=100,
            completion_tokens=len(text.split()),
            cached_tokens=60,
            timing=TIMING,
            probabilities=self.probabilities(request),
        )

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def alive(self) -> None: ...

    def describe(self) -> types_pb2.EngineInfo:
        return types_pb2.EngineInfo(
            name=self.name, language_model=True, model=self.model, max_model_len=self.max_model_len
        )

    async def close(self) -> None: ...


class PacedModel(ServedModel):
    """A fake model that is served, at a pace that a test sets."""

    def __init__(self, model: LanguageModel, pace: Pace | None = None) -> None:
        super().__init__(EngineSettings(engine="scripted"))
        self.model = WatchedModel(model)
        self.max_model_len = model.describe().max_model_len
        self._running = None if pace is None else RunningPace(pace)


def extractive() -> BuiltinEngine:
    """What answers where the model does not."""
    return BuiltinEngine(ExtractiveRules(), ChoiceRules(), load_glossary(), load_thesaurus())


def engine(
    model: FakeModel,
    rules: ModelRules | None = None,
    pace: Pace | None = None,
    *,
    temperature: float = 0.0,
    cached_answers: int = 0,
) -> ModelEngine:
    """The engine under test."""
    sampling = RoleSampling(max_tokens=64, temperature=temperature)
    served = PacedModel(model, pace)
    return ModelEngine(
        served, extractive(), sampling, rules or ModelRules(delta_interval_s=0.0), cached_answers=cached_answers
    )


async def synthesized(under_test: ModelEngine, request: SynthesisRequest) -> tuple[list[str], Answer]:
    """Deltas and answer, which must agree."""
    events = [event async for event in under_test.synthesize(request)]
    deltas = [event for event in events[:-1] if isinstance(event, str)]
    answer = events[-1]
    assert isinstance(answer, Answer) and len(deltas) == len(events) - 1
    assert answer.text == "".join(deltas)
    return deltas, answer


def prompt(request: GenerationRequest) -> str:
    """All turns of a prompt, one behind the other."""
    return "\n".join(message.content for message in request.messages)
