"""A fake of our own wire: an orchestrator and a retriever that do what a test tells them, on real gRPC."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from argo.channel_option import server_options
from argo.edge import ErrorInterceptor
from argo.errors import AlreadyExistsError, InternalError, NotFoundError, NotReadyError
from argo.limits import check_budget_ms, check_options, check_text
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc, retriever_pb2, retriever_pb2_grpc, types_pb2

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def passage(number: int, relevance: float) -> types_pb2.Passage:
    return types_pb2.Passage(
        id=f"p{number}",
        text=f"Passage {number} says that A1 carries policies.",
        source="interfaces.md",
        section="Interfaces > A1",
        relevance=relevance,
        score=1.0 / number,
        focus_relevance=[types_pb2.FocusRelevance(focus_id="f1", relevance=relevance)],
    )


def answer_message(request: orchestrator_pb2.AskRequest) -> orchestrator_pb2.Answer:
    hops = [
        ("decomposer", "PlanFoci", 0, 0.001, 0.002, (0.0, 0.001)),
        ("decomposer", "GenerateSubquery", 1, 0.004, 0.004, (0.0, 0.003)),
        ("retriever", "Search", 1, 0.004, 0.006, (0.001, 0.003)),
        ("retriever", "Search", 1, 0.008, 0.004, (0.0, 0.003)),
        ("synthesizer", "Synthesize", 0, 0.013, 0.005, (0.0, 0.004)),
    ]
    return orchestrator_pb2.Answer(
        text="A1 carries policies from the Non-RT RIC to the Near-RT RIC [1].",
        citations=[
            {
                "number": 1,
                "passage_id": "p1",
                "source": "interfaces.md",
                "section": "Interfaces > A1",
                "quote": "A1 carries policies.",
            }
        ],
        passages=[passage(1, 0.9), passage(2, 0.3)],
        choice=1 if request.options else None,
        option_probabilities=[1.0 / len(request.options) for _ in request.options],
        end_reason=orchestrator_pb2.END_REASON_POLICY,
        foci=[types_pb2.Focus(id="f1", text="What A1 carries")],
        searches=2,
        steps=1,
        progress=1.0,
        usage=types_pb2.Usage(prompt_tokens=600, completion_tokens=50, cached_tokens=512, cached_subqueries=2),
        timing=orchestrator_pb2.QuestionTiming(
            total_s=0.02,
            time_to_first_delta_s=0.015,
            hops=[
                orchestrator_pb2.Hop(
                    service=service,
                    name=name,
                    step=step,
                    start_s=start,
                    duration_s=duration,
                    timing=types_pb2.Timing(queue_s=times[0], work_s=times[1]),
                )
                for service, name, step, start, duration, times in hops
            ],
        ),
        budget_ms=request.budget_ms if request.HasField("budget_ms") else 1000,
        within_budget=None if request.budget_ms == 0 and request.HasField("budget_ms") else True,
        strategy=request.strategy or "mdp",
    )


def events(request: orchestrator_pb2.AskRequest) -> list[orchestrator_pb2.AskEvent]:
    """One retrieval of one focus, then the answer."""
    question = types_pb2.Subquery(focus_id="", text=request.question)
    subquery = types_pb2.Subquery(focus_id="f1", text="A1 policies")
    values = [
        orchestrator_pb2.ActionValue(action=types_pb2.ACTION_RETRIEVE, fan_out=1, value=0.61),
        orchestrator_pb2.ActionValue(action=types_pb2.ACTION_REASON),
        orchestrator_pb2.ActionValue(action=types_pb2.ACTION_TERMINATE, value=0.0),
    ]
    bodies: list[dict[str, Any]] = [
        {
            "policy": orchestrator_pb2.PolicyEvent(
                strategy=request.strategy or "mdp",
                tracker="evidence",
                foci=[types_pb2.Focus(id="f1", text="What A1 carries")],
                budget_ms=1000,
                answer_mode=types_pb2.ANSWER_MODE_CHOICE if request.options else types_pb2.ANSWER_MODE_FREE,
            )
        },
        {
            "step_started": orchestrator_pb2.StepStarted(
                index=1,
                action=types_pb2.ACTION_RETRIEVE,
                focus_ids=["f1"],
                time_left_ms=998.0,
                action_values=values,
                reason="retrieve 1 is worth 0.61, terminate 0.00",
            )
        },
        {"subquery": orchestrator_pb2.SubqueryEvent(step=1, subquery=question)},
        {"subquery": orchestrator_pb2.SubqueryEvent(step=1, subquery=subquery)},
        {"passages": orchestrator_pb2.PassagesEvent(step=1, subquery=question, passages=[passage(2, 0.3)])},
        {
            "passages": orchestrator_pb2.PassagesEvent(
                step=1, subquery=subquery, passages=[passage(n, 0.9 / n) for n in range(1, 6)]
            )
        },
        {
            "step_finished": orchestrator_pb2.StepFinished(
                index=1,
                action=types_pb2.ACTION_RETRIEVE,
                focus_ids=["f1"],
                closed_focus_ids=["f1"],
                progress_before=0.0,
                progress_after=1.0,
                action_values=values,
                reason="retrieve 1 is worth 0.61, terminate 0.00",
                duration_s=0.0081,
                searches=2,
                new_passages=5,
                time_left_ms=998.0,
            )
        },
        {"answer_delta": "A1 carries policies from the Non-RT RIC "},
        {"answer_delta": "to the Near-RT RIC [1]."},
        {"answer": answer_message(request)},
    ]
    return [
        orchestrator_pb2.AskEvent(
            session_id=request.session_id, sequence=index, at_s=index / 1000, trace_id=TRACE_ID, **body
        )
        for index, body in enumerate(bodies, start=1)
    ]


@dataclass
class FakeOrchestrator(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """Answers every question alike, keeps sessions, and records what it was sent."""

    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    deadlines_s: list[float | None] = field(default_factory=list)
    raises: Exception | None = None
    raises_after: int = 0
    """Events sent before it raises."""
    fails: bool = False
    """What it raises is the end of the session, not an interruption."""
    hangs: bool = False
    """Send the first event and no more."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    abstains: bool = False
    sessions: dict[str, orchestrator_pb2.Session] = field(default_factory=dict)
    peers: list[orchestrator_pb2.PeerInfo] = field(default_factory=list)
    info_error: Exception | None = None
    extra: list[orchestrator_pb2.AskEvent] = field(default_factory=list)

    def _record(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        self.deadlines_s.append(context.time_remaining())

    async def Ask(self, request: Any, context: Any) -> AsyncIterator[orchestrator_pb2.AskEvent]:
        self._record(request, context)
        check_text("question", request.question, 2000)
        check_options(list(request.options))
        check_budget_ms(request.budget_ms)
        if request.session_id in self.sessions:
            raise AlreadyExistsError(f"session {request.session_id} is in use")
        async for event in self._events(request):
            yield event

    async def _events(self, request: Any) -> AsyncIterator[orchestrator_pb2.AskEvent]:
        session = orchestrator_pb2.Session(
            session_id=request.session_id,
            status=orchestrator_pb2.SESSION_STATUS_INTERRUPTED,
            request=request,
            foci=[types_pb2.Focus(id="f1", text="What A1 carries")],
            created_at_s=1_700_000_000.0 + len(self.sessions),
        )
        self.sessions[request.session_id] = session
        for sent, event in enumerate([*self.extra, *events(request)]):
            if self.raises is not None and sent >= self.raises_after:
                if self.fails:
                    session.status = orchestrator_pb2.SESSION_STATUS_FAILED
                raise self.raises
            if event.WhichOneof("event") == "answer":
                event.answer.abstained = self.abstains
                session.status = orchestrator_pb2.SESSION_STATUS_FINISHED
                session.answer.CopyFrom(event)
            if event.WhichOneof("event") == "step_finished":
                session.steps.append(event.step_finished)
            try:
                yield event
                if self.hangs:
                    await asyncio.Event().wait()
            except (asyncio.CancelledError, GeneratorExit):
                # The second where the caller left while the event was still being written.
                self.cancelled.set()
                raise

    def _find(self, session_id: str) -> orchestrator_pb2.Session:
        if session_id not in self.sessions:
            raise NotFoundError(f"session_id must name a recorded session, got {session_id!r}")
        return self.sessions[session_id]

    async def GetSession(self, request: Any, context: Any) -> orchestrator_pb2.Session:
        return self._find(request.session_id)

    async def ListSessions(self, request: Any, context: Any) -> orchestrator_pb2.ListSessionsResponse:
        self._record(request, context)
        found = [s for s in reversed(self.sessions.values()) if not request.status or s.status == request.status]
        start = int(request.page_token or 0)
        end = start + request.page_size
        return orchestrator_pb2.ListSessionsResponse(
            sessions=[
                orchestrator_pb2.SessionSummary(
                    session_id=s.session_id,
                    status=s.status,
                    question=s.request.question,
                    steps=len(s.steps),
                    created_at_s=s.created_at_s,
                )
                for s in found[start:end]
            ],
            next_page_token=str(end) if end < len(found) else "",
        )

    async def ResumeSession(self, request: Any, context: Any) -> AsyncIterator[orchestrator_pb2.AskEvent]:
        self._record(request, context)
        session = self._find(request.session_id)
        for event in events(session.request)[-3:]:
            yield event

    async def DeleteSession(self, request: Any, context: Any) -> orchestrator_pb2.DeleteSessionResponse:
        del self.sessions[self._find(request.session_id).session_id]
        return orchestrator_pb2.DeleteSessionResponse()

    async def GetPolicy(self, request: Any, context: Any) -> orchestrator_pb2.Policy:
        self._record(request, context)
        return orchestrator_pb2.Policy(
            tracker=request.tracker or "evidence",
            foci=request.foci or 3,
            answer_mode=request.answer_mode or types_pb2.ANSWER_MODE_FREE,
            time_left_ms=1000.0,
            theta_cont=0.667,
            theta_star=0.667,
            verdict=orchestrator_pb2.POLICY_VERDICT_ONE_ACTION,
            bands=[
                orchestrator_pb2.ActionBand(to_progress=0.6, action=types_pb2.ACTION_RETRIEVE, fan_out=3),
                orchestrator_pb2.ActionBand(from_progress=0.667, to_progress=1, action=types_pb2.ACTION_TERMINATE),
            ],
            searched_bands=[orchestrator_pb2.ActionBand(to_progress=1, action=types_pb2.ACTION_TERMINATE)],
            parameters={"cost_weight": 0.6, "discount": 0.98},
            quality="linear",
            action_time_s={"retrieve_1": 0.01, "answer_free": 0.02},
            action_time_origin={"retrieve_1": "builtin", "answer_free": "measured"},
            origin="defaults",
            states=[
                orchestrator_pb2.StateValue(
                    state=state,
                    value=0.5,
                    action=types_pb2.ACTION_TERMINATE,
                    action_values=[
                        orchestrator_pb2.ActionValue(action=types_pb2.ACTION_RETRIEVE, fan_out=1),
                        orchestrator_pb2.ActionValue(action=types_pb2.ACTION_TERMINATE, value=0.5),
                    ],
                )
                for state in request.states
            ],
        )

    async def ReloadPolicy(self, request: Any, context: Any) -> orchestrator_pb2.ReloadPolicyResponse:
        return orchestrator_pb2.ReloadPolicyResponse(origin="policy.json", solve_s=0.012)

    async def GetInfo(self, request: Any, context: Any) -> orchestrator_pb2.OrchestratorInfo:
        if self.info_error is not None:
            raise self.info_error
        return orchestrator_pb2.OrchestratorInfo(
            info=types_pb2.ServiceInfo(service="orchestrator", version="0.1.0", settings={"strategy": "mdp"}),
            peers=self.peers,
            strategies=["mdp", "single_shot"],
            limits={"top_k_max": 20},
        )


@dataclass
class FakeRetriever(retriever_pb2_grpc.RetrieverServiceServicer):
    """Keeps documents in memory; one that holds b"broken" fails, one that holds b"bomb" takes its call with it."""

    documents: dict[str, retriever_pb2.Document] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    batches: list[list[str]] = field(default_factory=list)
    largest_frame: int = 0
    deletions: list[list[str]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)

    async def Search(self, request: Any, context: Any) -> retriever_pb2.SearchResponse:
        self.requests.append(request)
        if not self.documents:
            raise NotReadyError("the collection is empty: ingest documents first")
        passages = [passage(number, 0.9 / number) for number in range(1, (request.top_k or 5) + 1)]
        return retriever_pb2.SearchResponse(
            results=[retriever_pb2.SearchResult(text=text, passages=passages) for text in request.texts]
        )

    async def Ingest(self, frames: AsyncIterator[Any], context: Any) -> retriever_pb2.IngestResponse:
        received: list[tuple[retriever_pb2.DocumentHeader, bytearray]] = []
        async for frame in frames:
            if frame.WhichOneof("frame") == "header":
                received.append((frame.header, bytearray()))
            else:
                self.largest_frame = max(self.largest_frame, len(frame.data))
                received[-1][1].extend(frame.data)
        if any(b"bomb" in data for _, data in received):
            raise InternalError("internal error, reference 12345678")
        self.batches.append([header.source for header, _ in received])
        return retriever_pb2.IngestResponse(outcomes=[self._take(header, bytes(data)) for header, data in received])

    def _take(self, header: Any, data: bytes) -> retriever_pb2.DocumentOutcome:
        assert len(data) == header.size_bytes
        assert hashlib.sha256(data).hexdigest() == header.content_hash
        if b"broken" in data:
            return retriever_pb2.DocumentOutcome(
                source=header.source, status=retriever_pb2.DOCUMENT_STATUS_FAILED, message="it is no PDF"
            )
        there = header.source in self.documents
        self.contents[header.source] = data
        self.documents[header.source] = retriever_pb2.Document(
            source=header.source, content_hash=header.content_hash, media_type=header.media_type, passages=2
        )
        status = retriever_pb2.DOCUMENT_STATUS_REPLACED if there else retriever_pb2.DOCUMENT_STATUS_INDEXED
        return retriever_pb2.DocumentOutcome(source=header.source, status=status, passages=2)

    async def ListDocuments(self, request: Any, context: Any) -> AsyncIterator[retriever_pb2.Document]:
        for source in sorted(self.documents):
            if source.startswith(request.source_prefix):
                yield self.documents[source]

    async def DeleteDocuments(self, request: Any, context: Any) -> retriever_pb2.DeleteDocumentsResponse:
        self.deletions.append(list(request.sources))
        gone = [source for source in request.sources if self.documents.pop(source, None)]
        return retriever_pb2.DeleteDocumentsResponse(deleted_documents=len(gone), deleted_passages=2 * len(gone))

    async def GetCollection(self, request: Any, context: Any) -> retriever_pb2.GetCollectionResponse:
        return retriever_pb2.GetCollectionResponse(
            collection=types_pb2.CollectionInfo(
                name="argo", embedder="hashing", dimension=256, documents=len(self.documents), store="embedded"
            )
        )


@asynccontextmanager
async def serving(add: Iterable[tuple[Any, Any]], default_deadline_s: float = 65.0) -> AsyncIterator[str]:
    """Serve servicers, given as (servicer, the function that adds it), on a free port; gives the address."""
    server = grpc.aio.server(interceptors=[ErrorInterceptor(default_deadline_s)], options=server_options())
    for servicer, add_to_server in add:
        add_to_server(servicer, server)
    healths = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    await healths.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@dataclass
class FakeStack:
    """A served orchestrator and retriever."""

    orchestrator: FakeOrchestrator
    retriever: FakeRetriever
    target: str = ""
    retriever_target: str = ""

    def connect_arguments(self) -> dict[str, str]:
        return {"target": self.target, "retriever_target": self.retriever_target}


@asynccontextmanager
async def fake_stack() -> AsyncIterator[FakeStack]:
    """Serve a fake stack on this event loop."""
    made = FakeStack(FakeOrchestrator(), FakeRetriever())
    async with (
        serving([(made.orchestrator, orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server)]) as target,
        serving([(made.retriever, retriever_pb2_grpc.add_RetrieverServiceServicer_to_server)]) as retriever_target,
    ):
        made.target, made.retriever_target = target, retriever_target
        yield made
