"""A whole orchestrator on real gRPC, with the three services behind it scripted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from argo.errors import NotReadyError
from argo.rpc import channel
from argo.server import RunningServer, Service, start
from argo.settings import ServerSettings
from argo.telemetry import Telemetry
from argo.v1 import (
    decomposer_pb2,
    decomposer_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    retriever_pb2,
    retriever_pb2_grpc,
    synthesizer_pb2,
    synthesizer_pb2_grpc,
    types_pb2,
)
from orchestrator.service import Orchestrator
from orchestrator.session_sqlite import SqliteSessionStore
from orchestrator.settings import OrchestratorSettings

PATIENCE_S = 10.0
"""How long a test waits for what must happen; a bound against hanging, never a pause."""

Event = orchestrator_pb2.AskEvent


@dataclass
class Received:
    """One call as a scripted service saw it."""

    method: str
    request: Any
    time_left_s: float | None
    metadata: dict[str, str] = field(default_factory=dict)
    cancelled: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


def passage(
    identity: str, text: str = "", relevance: float = 0.0, foci: dict[str, float] | None = None
) -> types_pb2.Passage:
    return types_pb2.Passage(
        id=identity,
        text=text or f"words of {identity}",
        source=f"{identity}.md",
        relevance=relevance,
        score=relevance,
        focus_relevance=[
            types_pb2.FocusRelevance(focus_id=focus_id, relevance=value) for focus_id, value in (foci or {}).items()
        ],
    )


def foci(*texts: str, depends: dict[str, Sequence[str]] | None = None) -> list[types_pb2.Focus]:
    return [
        types_pb2.Focus(id=f"f{n}", text=text, depends_on=(depends or {}).get(f"f{n}", ()))
        for n, text in enumerate(texts, start=1)
    ]


class Peer:
    """What the scripted services share: every call is recorded, and can be failed or held."""

    def __init__(self) -> None:
        self.calls: list[Received] = []
        self.arrived = asyncio.Condition()
        self.fail: dict[str, grpc.StatusCode] = {}
        """Status by method name, sent instead of a reply."""
        self.fail_note = ""
        """Ends the message of such a status."""
        self.breaks: dict[str, int] = {}
        """Calls by method name that end as where the connection breaks once the reply has begun."""

    def of(self, method: str) -> list[Received]:
        return [call for call in self.calls if call.method == method]

    async def wait_for(self, method: str, count: int = 1) -> list[Received]:
        async with asyncio.timeout(PATIENCE_S), self.arrived:
            await self.arrived.wait_for(lambda: len(self.of(method)) >= count)
        return self.of(method)

    @contextlib.asynccontextmanager
    async def receiving(self, method: str, request: Any, context: Any) -> AsyncIterator[None]:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        received = Received(method, request, context.time_remaining(), metadata)
        self.calls.append(received)
        async with self.arrived:
            self.arrived.notify_all()
        try:
            if self.breaks.get(method, 0):
                self.breaks[method] -= 1
                await context.send_initial_metadata(())
                await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted break")
            if method in self.fail:
                await context.abort(self.fail[method], f"scripted {self.fail[method].name}{self.fail_note}")
            yield
        except asyncio.CancelledError:
            received.cancelled = True
            raise
        finally:
            received.ended.set()


class ScriptedDecomposer(Peer, decomposer_pb2_grpc.DecomposerServiceServicer):
    def __init__(self) -> None:
        super().__init__()
        self.foci: list[types_pb2.Focus] = foci("alpha")
        self.subqueries: dict[str, str] = {}
        """Subquery by focus id; "find <focus text>" where it has none."""
        self.from_cache: set[str] = set()
        """Foci whose subqueries count as cached."""
        self.degradation = ""
        """Detail of each subquery's degradation; empty for none."""
        self.engine = types_pb2.EngineInfo(name="builtin")
        """What GetInfo says of the engine."""
        self.on_plan: Callable[[], Awaitable[Any]] | None = None
        self.on_subquery: Callable[[decomposer_pb2.GenerateSubqueryRequest], Awaitable[Any]] | None = None

    async def PlanFoci(self, request: Any, context: Any) -> decomposer_pb2.PlanFociResponse:
        async with self.receiving("PlanFoci", request, context):
            if self.on_plan is not None:
                await self.on_plan()
            return decomposer_pb2.PlanFociResponse(foci=self.foci, timing=types_pb2.Timing(work_s=0.001))

    async def GenerateSubquery(self, request: Any, context: Any) -> decomposer_pb2.GenerateSubqueryResponse:
        async with self.receiving("GenerateSubquery", request, context):
            if self.on_subquery is not None:
                await self.on_subquery(request)
            return decomposer_pb2.GenerateSubqueryResponse(
                subquery=self.subqueries.get(request.focus.id, f"find {request.focus.text}"),
                usage=types_pb2.Usage(prompt_tokens=7, completion_tokens=3),
                from_cache=request.focus.id in self.from_cache,
                degradation=(
                    types_pb2.Degradation(kind=types_pb2.DEGRADATION_KIND_DECOMPOSER, detail=self.degradation)
                    if self.degradation
                    else None
                ),
            )

    async def GetInfo(self, request: Any, context: Any) -> types_pb2.ServiceInfo:
        return types_pb2.ServiceInfo(service="decomposer", engine=self.engine)


class ScriptedRetriever(Peer, retriever_pb2_grpc.RetrieverServiceServicer):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[types_pb2.Passage]] = {}
        """Passages by searched text; one irrelevant passage, named after the text, where it has none."""
        self.fail_text: dict[str, grpc.StatusCode] = {}
        self.mute: set[str] = set()
        """Texts that are answered without a result."""
        self.on_search: Callable[[str], Awaitable[Any]] | None = None

    async def Search(self, request: Any, context: Any) -> retriever_pb2.SearchResponse:
        async with self.receiving("Search", request, context):
            results = []
            for text in request.texts:
                if text in self.fail_text:
                    await context.abort(self.fail_text[text], "scripted")
                if self.on_search is not None:
                    await self.on_search(text)
                found = self.found.get(text)
                if found is None:
                    found = [passage(f"p-{text}", f"nothing much about {text}", 0.1)]
                if text not in self.mute:
                    results.append(retriever_pb2.SearchResult(text=text, passages=found))
            return retriever_pb2.SearchResponse(results=results)

    async def GetInfo(self, request: Any, context: Any) -> types_pb2.ServiceInfo:
        return types_pb2.ServiceInfo(service="retriever")

    @property
    def searched(self) -> list[str]:
        return [text for call in self.of("Search") for text in call.request.texts]


class ScriptedSynthesizer(Peer, synthesizer_pb2_grpc.SynthesizerServiceServicer):
    def __init__(self) -> None:
        super().__init__()
        self.language_model = False
        self.pace = types_pb2.EngineInfo(
            ttft_s=0.002, tpot_s=0.0001, note_tokens=80, least_answer_tokens=24, margin_s=0.001
        )
        """What GetInfo says besides while there is a language model: by default one far faster than any."""
        self.confidence = 0.9
        self.cite: list[str] | None = None
        """Passage ids to cite; None cites the first of the evidence."""
        self.die_after_delta = False
        self.die_after_answer = False
        self.on_synthesize: Callable[[], Awaitable[Any]] | None = None
        self.on_reason: Callable[[], Awaitable[Any]] | None = None
        self.on_info: Callable[[], Awaitable[Any]] | None = None

    async def Reason(self, request: Any, context: Any) -> synthesizer_pb2.ReasonResponse:
        async with self.receiving("Reason", request, context):
            if not self.language_model:
                raise NotReadyError("no language model runs")
            if self.on_reason is not None:
                await self.on_reason()
            return synthesizer_pb2.ReasonResponse(
                note=types_pb2.Note(focus_id=request.focus.id, text="thought", confidence=self.confidence)
            )

    async def Synthesize(self, request: Any, context: Any) -> AsyncIterator[synthesizer_pb2.SynthesizeEvent]:
        async with self.receiving("Synthesize", request, context):
            if self.on_synthesize is not None:
                await self.on_synthesize()
            cited = self.cite if self.cite is not None else [entry.id for entry in request.evidence[:1]]
            marks = "".join(f"[{n}]" for n in range(1, len(cited) + 1))
            yield synthesizer_pb2.SynthesizeEvent(delta="An answer ")
            if self.die_after_delta:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted death")
            yield synthesizer_pb2.SynthesizeEvent(delta=marks)
            answer = synthesizer_pb2.SynthesizedAnswer(
                text=f"An answer {marks}",
                citations=[
                    synthesizer_pb2.Citation(number=n, passage_id=identity) for n, identity in enumerate(cited, start=1)
                ],
                abstained=not request.evidence and not request.notes,
            )
            if request.options:
                answer.choice = 1
                answer.option_probabilities.extend([0.2, 0.8])
            yield synthesizer_pb2.SynthesizeEvent(answer=answer)
            if self.die_after_answer:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted death")

    async def GetInfo(self, request: Any, context: Any) -> types_pb2.ServiceInfo:
        async with self.receiving("GetInfo", request, context):
            if self.on_info is not None:
                await self.on_info()
            engine = types_pb2.EngineInfo(language_model=self.language_model)
            if self.language_model:
                engine.MergeFrom(self.pace)
            return types_pb2.ServiceInfo(service="synthesizer", engine=engine)


class ScriptedService(Service):
    """Lets argo.server start a scripted servicer as it starts a real one."""

    def __init__(self, name: str, add: Callable[[grpc.aio.Server], None]) -> None:
        super().__init__()
        self.name = name
        self.full_name = f"argo.v1.{name.capitalize()}Service"
        self._add = add

    def add_to(self, server: grpc.aio.Server) -> None:
        self._add(server)

    async def warm_up(self) -> None: ...

    async def close(self) -> None: ...


class Stack:
    """The scripted services, an orchestrator in front of them, and a stub to call it with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.decomposer = ScriptedDecomposer()
        self.retriever = ScriptedRetriever()
        self.synthesizer = ScriptedSynthesizer()
        self.settings: OrchestratorSettings | None = None
        self.service: Orchestrator | None = None
        self._servers: dict[str, RunningServer] = {}
        self._channels: list[grpc.aio.Channel] = []
        self.stub: Any = None

    @property
    def session_path(self) -> Path:
        return self.folder / "sessions.db"

    async def start_peers(self) -> None:
        for name in _NAMES:
            await self.start_peer(name)

    async def start_peer(self, name: str, port: int = 0) -> None:
        peer, add = {
            "decomposer": (self.decomposer, decomposer_pb2_grpc.add_DecomposerServiceServicer_to_server),
            "retriever": (self.retriever, retriever_pb2_grpc.add_RetrieverServiceServicer_to_server),
            "synthesizer": (self.synthesizer, synthesizer_pb2_grpc.add_SynthesizerServiceServicer_to_server),
        }[name]
        service = ScriptedService(name, lambda server: add(peer, server))
        self._servers[name] = await start(service, ServerSettings(port=port), Telemetry(None))

    def port(self, name: str) -> int:
        return self._servers[name].port

    async def start_orchestrator(self, telemetry: Telemetry | None = None, **settings: Any) -> None:
        """Start it, and return once it knows whether a language model runs."""
        targets = {
            f"{name}_target": f"127.0.0.1:{self._servers[name].port}" for name in _NAMES if name in self._servers
        }
        given = {
            "port": 0,
            "session_path": self.session_path,
            "budget_ms": 0,
            "peer_poll_s": 0.05,
            **{f"{name}_target": f"127.0.0.1:{_DEAD_PORT}" for name in _NAMES},
            **targets,
            **settings,
        }
        self.settings = OrchestratorSettings(**given)
        store = SqliteSessionStore(self.settings.session_path, self.settings.session_ttl_s, self.settings.session_most)
        self.service = Orchestrator(self.settings, telemetry or Telemetry(None), store)
        running = await start(self.service, self.settings, telemetry or Telemetry(None))
        self._servers["orchestrator"] = running
        self.channel = channel(f"127.0.0.1:{running.port}")
        self._channels.append(self.channel)
        self.stub = orchestrator_pb2_grpc.OrchestratorServiceStub(self.channel)

    async def stop(self, name: str, grace_s: float = 0.0) -> None:
        await self._servers.pop(name).stop(grace_s)

    async def close(self) -> None:
        for opened in self._channels:
            await opened.close()
        for name in ("orchestrator", *_NAMES):
            if name in self._servers:
                await self.stop(name)

    def call(self, question: str = "What is E2?", *, timeout: float | None = PATIENCE_S, **fields: Any) -> Any:
        return self.stub.Ask(orchestrator_pb2.AskRequest(question=question, **fields), timeout=timeout)

    async def ask(
        self, question: str = "What is E2?", *, timeout: float | None = PATIENCE_S, **fields: Any
    ) -> list[Event]:
        return [event async for event in self.call(question, timeout=timeout, **fields)]

    async def answer(self, question: str = "What is E2?", **fields: Any) -> orchestrator_pb2.Answer:
        return (await self.ask(question, **fields))[-1].answer

    async def resume(self, session_id: str, **fields: Any) -> list[Event]:
        request = orchestrator_pb2.ResumeSessionRequest(session_id=session_id, **fields)
        return [event async for event in self.stub.ResumeSession(request, timeout=PATIENCE_S)]

    async def session(self, session_id: str) -> orchestrator_pb2.Session:
        return await self.stub.GetSession(orchestrator_pb2.GetSessionRequest(session_id=session_id), timeout=PATIENCE_S)

    async def until_status(self, session_id: str, status: int) -> orchestrator_pb2.Session:
        """Poll until a session has that status."""
        async with asyncio.timeout(PATIENCE_S):
            while (session := await self.session(session_id)).status != status:
                await asyncio.sleep(0.005)
        return session

    async def until_reason(self, available: bool) -> None:
        """Poll until the orchestrator knows whether REASON is available."""
        async with asyncio.timeout(PATIENCE_S):
            while (await self.policy()).reason_available != available:
                await asyncio.sleep(0.005)

    async def policy(self, **fields: Any) -> orchestrator_pb2.Policy:
        return await self.stub.GetPolicy(orchestrator_pb2.GetPolicyRequest(**fields), timeout=PATIENCE_S)


_NAMES = ("decomposer", "retriever", "synthesizer")
_DEAD_PORT = 1
"""Nobody listens there without being root."""


def kinds(events: Sequence[Event]) -> list[str]:
    return [str(event.WhichOneof("event")) for event in events]


@contextlib.asynccontextmanager
async def refused(code: grpc.StatusCode) -> AsyncIterator[list[str]]:
    """The block must end in that status; its message is put into the list."""
    message: list[str] = []
    try:
        yield message
    except grpc.aio.AioRpcError as error:
        assert error.code() is code, f"{error.code()}: {error.details()}"
        message.append(error.details() or "")
    else:
        raise AssertionError(f"no {code.name} came")
