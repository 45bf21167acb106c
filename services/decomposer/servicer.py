"""The gRPC face of the decomposer: checks requests, and turns messages into what the rules and engines take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc.aio

from argo import limits
from argo.errors import InvalidArgumentError
from argo.rpc import Stopwatch, remaining_s
from argo.server import Service
from argo.telemetry import Telemetry
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, types_pb2
from services.decomposer.engine import DecomposerEngine, SubqueryRequest
from services.decomposer.plan import Focus, plan_foci
from services.decomposer.settings import DecomposerSettings, make_engine
from services.decomposer.subquery import EarlierPassage, EarlierSearch, History
from services.engine.served import timing_message

__all__ = ["Decomposer", "DecomposerServicer"]

_Context = grpc.aio.ServicerContext[Any, Any]


class DecomposerServicer(decomposer_pb2_grpc.DecomposerServiceServicer):
    """Implements argo.v1.DecomposerService."""

    def __init__(self, service: Decomposer, engine: DecomposerEngine, default_deadline_s: float) -> None:
        self._service = service
        self._engine = engine
        self._default_deadline_s = default_deadline_s

    async def PlanFoci(  # the generated base class names it
        self, request: decomposer_pb2.PlanFociRequest, context: _Context
    ) -> decomposer_pb2.PlanFociResponse:
        """Name the things that must be known to answer."""
        watch = Stopwatch()
        question = limits.check_text("question", request.question, limits.QUESTION_CHARACTERS)
        limits.check_options(request.options)
        foci = plan_foci(question)
        return decomposer_pb2.PlanFociResponse(
            foci=[types_pb2.Focus(id=focus.id, text=focus.text, depends_on=focus.depends_on) for focus in foci],
            timing=types_pb2.Timing(work_s=watch.elapsed_s),
        )

    async def GenerateSubquery(
        self, request: decomposer_pb2.GenerateSubqueryRequest, context: _Context
    ) -> decomposer_pb2.GenerateSubqueryResponse:
        """Word one search for one focus."""
        watch = Stopwatch()
        subquery = await self._engine.word_subquery(
            _subquery_request(request, remaining_s(context, self._default_deadline_s))
        )
        reply = decomposer_pb2.GenerateSubqueryResponse(
            subquery=subquery.text,
            usage=types_pb2.Usage(
                prompt_tokens=subquery.prompt_tokens,
                completion_tokens=subquery.completion_tokens,
                cached_tokens=subquery.cached_tokens,
            ),
            timing=timing_message(watch.elapsed_s, subquery.timing),
            from_cache=subquery.from_cache,
        )
        if subquery.degradation:
            reply.degradation.CopyFrom(
                types_pb2.Degradation(kind=types_pb2.DEGRADATION_KIND_DECOMPOSER, detail=subquery.degradation)
            )
        return reply

    async def GetInfo(self, request: types_pb2.GetInfoRequest, context: _Context) -> types_pb2.ServiceInfo:
        """What this service is and how it is set."""
        return self._service.describe()


class Decomposer(Service):
    """The decomposer as its process sees it."""

    name = "decomposer"
    full_name = "argo.v1.DecomposerService"

    def __init__(self, settings: DecomposerSettings, telemetry: Telemetry | None = None) -> None:
        super().__init__()
        self._settings = settings
        self._engine = make_engine(settings, telemetry)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""
        servicer = DecomposerServicer(self, self._engine, self._settings.default_deadline_s)
        decomposer_pb2_grpc.add_DecomposerServiceServicer_to_server(servicer, server)

    async def warm_up(self) -> None:
        """Load glossary and stemmer, and let the engine get ready."""
        await asyncio.to_thread(plan_foci, "What is an O-DU, and which unit is above it?")
        await self._engine.warm_up()

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Look after the engine."""
        await self._engine.watch(set_serving)

    async def close(self) -> None:
        """Release the engine."""
        await self._engine.close()

    def describe(self) -> types_pb2.ServiceInfo:
        """What GetInfo says."""
        return self.info(
            {"engine": self._settings.engine, "mode": self._settings.mode},
            engine=self._engine.describe(),
            subquery_cache=self._engine.describe_cache(),
        )


def _subquery_request(
    request: decomposer_pb2.GenerateSubqueryRequest, time_limit_s: float | None = None
) -> SubqueryRequest:
    """Check a message and read it.

    Raises:
        InvalidArgumentError: A field is missing, too long or out of its bounds.
    """
    question = limits.check_text("question", request.question, limits.QUESTION_CHARACTERS)
    options = limits.check_options(request.options)
    if not request.HasField("focus"):
        raise InvalidArgumentError("focus must be set, got none")
    if len(request.foci) > limits.FOCI[1]:
        raise InvalidArgumentError(f"foci must hold at most {limits.FOCI[1]} entries, got {len(request.foci)}")
    limits.check_probability("progress", request.progress)
    limits.check_history(request.history)
    return SubqueryRequest(
        question=question,
        focus=_focus("focus", request.focus),
        options=options,
        foci=[_focus(f"foci[{place}]", focus) for place, focus in enumerate(request.foci)],
        history=_history(request.history),
        progress=request.progress,
        by_rules=request.by_rules,
        time_limit_s=time_limit_s,
    )


def _focus(field: str, focus: types_pb2.Focus) -> Focus:
    """A focus as the rules take it."""
    text = limits.check_text(f"{field}.text", focus.text, 2 * limits.QUESTION_CHARACTERS)
    return Focus(focus.id, text, tuple(focus.depends_on))


def _history(steps: Iterable[types_pb2.HistoryStep]) -> History:
    """Earlier steps as the rules take them: searches and passages, oldest first."""
    steps = list(steps)
    return History(
        tuple(EarlierSearch(search.focus_id, search.text) for step in steps for search in step.subqueries),
        tuple(EarlierPassage(passage.text, tuple(passage.focus_ids)) for step in steps for passage in step.passages),
    )
