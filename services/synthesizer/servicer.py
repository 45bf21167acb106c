"""The gRPC face of the synthesizer: checks requests, and streams what an engine writes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

import grpc.aio

from argo import limits
from argo.errors import InvalidArgumentError
from argo.rpc import Stopwatch, remaining_s
from argo.server import Service
from argo.telemetry import Telemetry
from argo.v1 import synthesizer_pb2, synthesizer_pb2_grpc, types_pb2
from services.engine.served import timing_message
from services.synthesizer.engine import (
    Answer,
    EvidencePassage,
    Focus,
    Note,
    SynthesisRequest,
    SynthesizerEngine,
    Work,
)
from services.synthesizer.settings import SynthesizerSettings, make_engine

__all__ = ["Synthesizer", "SynthesizerServicer"]

_MOST_EVIDENCE: Final = 40
_Context = grpc.aio.ServicerContext[Any, Any]


class SynthesizerServicer(synthesizer_pb2_grpc.SynthesizerServiceServicer):
    """Implements argo.v1.SynthesizerService."""

    def __init__(
        self, service: Synthesizer, engine: SynthesizerEngine, max_tokens: int, default_deadline_s: float
    ) -> None:
        self._service = service
        self._engine = engine
        self._max_tokens = max_tokens
        self._default_deadline_s = default_deadline_s

    async def Reason(  # the generated base class names it
        self, request: synthesizer_pb2.ReasonRequest, context: _Context
    ) -> synthesizer_pb2.ReasonResponse:
        """Think about one open focus."""
        watch = Stopwatch()
        question = limits.check_text("question", request.question, limits.QUESTION_CHARACTERS)
        options = limits.check_options(request.options)
        if not request.HasField("focus"):
            raise InvalidArgumentError("focus must be set, got none")
        limits.check_history(request.history)
        passages = [passage.text for step in request.history for passage in step.passages]
        left_s = remaining_s(context, self._default_deadline_s)
        note = await self._engine.reason(question, options, _focus(request.focus), passages, left_s)
        return synthesizer_pb2.ReasonResponse(
            note=types_pb2.Note(focus_id=note.focus_id, text=note.text, confidence=note.confidence),
            usage=_usage(note.work),
            timing=timing_message(watch.elapsed_s, note.work.timing),
        )

    async def Synthesize(
        self, request: synthesizer_pb2.SynthesizeRequest, context: _Context
    ) -> AsyncIterator[synthesizer_pb2.SynthesizeEvent]:
        """Write the answer: text deltas first, the answer itself last."""
        watch = Stopwatch()
        # The engines write async generators; closing one aborts its work when the caller leaves.
        events = cast(
            "AsyncGenerator[str | Answer, None]",
            self._engine.synthesize(_synthesis_request(request, self._max_tokens)),
        )
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, str):
                    yield synthesizer_pb2.SynthesizeEvent(delta=event)
                else:
                    yield synthesizer_pb2.SynthesizeEvent(answer=_answer(event, watch.elapsed_s))

    async def GetInfo(self, request: types_pb2.GetInfoRequest, context: _Context) -> types_pb2.ServiceInfo:
        """What this service is and how it is set."""
        return self._service.describe()


class Synthesizer(Service):
    """The synthesizer as its process sees it."""

    name = "synthesizer"
    full_name = "argo.v1.SynthesizerService"

    def __init__(self, settings: SynthesizerSettings, telemetry: Telemetry | None = None) -> None:
        super().__init__()
        self._settings = settings
        self._engine = make_engine(settings, telemetry)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        settings = self._settings
        servicer = SynthesizerServicer(self, self._engine, settings.answer_tokens(), settings.default_deadline_s)
        synthesizer_pb2_grpc.add_SynthesizerServiceServicer_to_server(servicer, server)

    async def warm_up(self) -> None:
        """Let the engine get ready."""
        await self._engine.warm_up()

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Look after the engine."""
        await self._engine.watch(set_serving)

    async def close(self) -> None:
        """Release the engine."""
        await self._engine.close()

    def describe(self) -> types_pb2.ServiceInfo:
        """What GetInfo says."""
        settings = self._settings
        return self.info(
            {
                "engine": settings.engine,
                "max_tokens": str(settings.answer_tokens()),
                "abstain_confidence": f"{settings.abstain_confidence:g}",
                "abstain_coverage": f"{settings.abstain_coverage:g}",
                "choice_margin": f"{settings.choice_margin:g}",
                "choice_support": f"{settings.choice_support:g}",
                **settings.model_info(),
            },
            engine=self._engine.describe(),
        )


def _synthesis_request(request: synthesizer_pb2.SynthesizeRequest, max_tokens: int) -> SynthesisRequest:
    """Check a message and read it.

    Raises:
        InvalidArgumentError: A field is missing, too long or out of its bounds.
    """
    question = limits.check_text("question", request.question, limits.QUESTION_CHARACTERS)
    options = limits.check_options(request.options)
    if len(request.evidence) > _MOST_EVIDENCE:
        raise InvalidArgumentError(f"evidence must hold at most {_MOST_EVIDENCE} passages, got {len(request.evidence)}")
    if len(request.foci) > limits.FOCI[1]:
        raise InvalidArgumentError(f"foci must hold at most {limits.FOCI[1]} entries, got {len(request.foci)}")
    most = max_tokens
    if request.HasField("max_tokens"):
        most = limits.check_range("max_tokens", request.max_tokens, limits.ANSWER_TOKENS)
    return SynthesisRequest(
        question=question,
        options=options,
        foci=[_focus(focus) for focus in request.foci],
        evidence=[_evidence(passage, f"evidence[{index}]") for index, passage in enumerate(request.evidence)],
        notes=[
            Note(note.focus_id, note.text, limits.check_probability(f"notes[{index}].confidence", note.confidence))
            for index, note in enumerate(request.notes)
        ],
        max_tokens=most,
        time_limit_s=request.time_limit_ms / 1000 if request.HasField("time_limit_ms") else None,
    )


def _focus(focus: types_pb2.Focus) -> Focus:
    """A focus as engines take it."""
    return Focus(focus.id, focus.text, tuple(focus.depends_on))


def _evidence(passage: types_pb2.Passage, field: str) -> EvidencePassage:
    """A passage as engines take it; the field is named where a number in it is none."""
    # Nothing here reads the scores, but who sends such a one has something wrong.
    for score in ("dense_score", "lexical_score", "score"):
        limits.check_finite(f"{field}.{score}", getattr(passage, score))
    return EvidencePassage(
        id=passage.id,
        text=passage.text,
        source=passage.source,
        section=passage.section,
        relevance=limits.check_probability(f"{field}.relevance", passage.relevance),
        focus_relevance={
            entry.focus_id: limits.check_probability(f"{field}.focus_relevance[{index}].relevance", entry.relevance)
            for index, entry in enumerate(passage.focus_relevance)
        },
    )


def _answer(answer: Answer, elapsed_s: float) -> synthesizer_pb2.SynthesizedAnswer:
    """An answer as it goes over the wire."""
    return synthesizer_pb2.SynthesizedAnswer(
        text=answer.text,
        citations=[
            synthesizer_pb2.Citation(
                number=citation.number,
                passage_id=citation.passage_id,
                source=citation.source,
                section=citation.section,
                quote=citation.quote,
            )
            for citation in answer.citations
        ],
        choice=answer.choice,
        option_probabilities=answer.option_probabilities,
        abstained=answer.abstained,
        open_focus_ids=answer.open_focus_ids,
        usage=_usage(answer.work),
        timing=timing_message(elapsed_s, answer.work.timing),
        degradation=(
            types_pb2.Degradation(kind=types_pb2.DEGRADATION_KIND_EXTRACTIVE, detail=answer.degradation)
            if answer.degradation
            else None
        ),
    )


def _usage(work: Work) -> types_pb2.Usage:
    """Tokens as they go over the wire."""
    return types_pb2.Usage(
        prompt_tokens=work.prompt_tokens,
        completion_tokens=work.completion_tokens,
        cached_tokens=work.cached_tokens,
    )
