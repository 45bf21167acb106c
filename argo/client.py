"""The SDK: one class with a method for each thing that a user of ARGO does."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from argo import convert, request
from argo import telemetry as names
from argo.document import CollectionInfo, Deletion, Document, IngestReport, SearchResult
from argo.errors import (
    ArgoError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from argo.ingest import Ingester, OnProgress, delete_documents, list_documents
from argo.limits import check_budget_ms, check_range
from argo.probe import PROBE_TIMEOUT_S, check, peer_health, service_health
from argo.replica import Replicas
from argo.result import (
    Answer,
    AnswerMode,
    AskLimits,
    Event,
    Policy,
    PolicyReload,
    PolicyState,
    Session,
    SessionStatus,
    SessionSummary,
)
from argo.service import HealthReport, OrchestratorInfo
from argo.settings import ClientSettings, load
from argo.target import addresses, check_target, is_loopback
from argo.telemetry import Telemetry, tracer
from argo.tls import TlsFiles
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc, retriever_pb2, retriever_pb2_grpc, types_pb2

__all__ = ["Client", "Connecting"]

_ORCHESTRATOR: Final = "argo.v1.OrchestratorService"
_RETRIEVER: Final = "argo.v1.RetrieverService"
_CALL_TIMEOUT_S: Final = 10.0
_RELOAD_TIMEOUT_S: Final = 60.0
_HEALTH_INTERVAL_S: Final = 0.1
_SESSIONS_PAGE: Final = 100
_SESSION_ID_BYTES: Final = 8
"""Short enough to be typed, and with 2**64 values never met twice."""


class Client:
    """A connection to a running stack; open it with :meth:`connect`.

    Every method raises the public classes of :mod:`argo.errors`, and TypeError for a value of the wrong type.

    Example:
        >>> import argo, asyncio
        >>> async def main():
        ...     async with argo.Client.connect("127.0.0.1:50051") as client:
        ...         answer = await client.ask("What is the A1 interface for?", budget_ms=1000)
        ...         print(answer.text, [citation.source for citation in answer.citations])
        >>> asyncio.run(main())  # doctest: +SKIP
    """

    def __init__(self, orchestrators: Replicas, retrievers: Replicas, telemetry: Telemetry | None) -> None:
        self._orchestrators = orchestrators
        self._retrievers = retrievers
        self._orchestrator = orchestrators.together
        self._retriever = retrievers.together
        self._tracer = tracer(telemetry)
        # The generated stubs carry no annotations.
        self._questions: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(self._orchestrator.channel)
        self._documents: Any = retriever_pb2_grpc.RetrieverServiceStub(self._retriever.channel)

    @classmethod
    def connect(
        cls,
        target: str | None = None,
        *,
        retriever_target: str | None = None,
        token: str | None = None,
        tls: TlsFiles | None = None,
        telemetry: Telemetry | None = None,
    ) -> Connecting:
        """Open a client, as `async with Client.connect(...) as client` or `client = await Client.connect(...)`.

        Nothing is sent yet: the channels connect on first use and reconnect by themselves.

        Args:
            target: Address of the orchestrator, host:port; several as "10.0.0.1:50051,10.0.0.2:50051", or a name that
                resolves to all of them as "dns:///name:port". What is left out here comes from ARGO_CLIENT_*.
            retriever_target: Address of the retriever, or of several, for documents and searches.
            token: Bearer token to send; needs TLS unless both addresses are loopback.
            tls: PEM files; None for a connection in the clear.
            telemetry: Where the root span of each question goes; None for nowhere.

        Raises:
            InvalidArgumentError: When opened: an address, a file, or a token without TLS is refused.
        """
        return Connecting(cls, target, retriever_target, token, tls, telemetry)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every channel; running calls are cancelled."""
        await self._orchestrators.close()
        await self._retrievers.close()

    async def ask(
        self,
        question: str,
        *,
        options: Sequence[str] = (),
        strategy: str | None = None,
        budget_ms: int | None = None,
        limits: AskLimits | None = None,
        session_id: str | None = None,
        seed: int | None = None,
        allow_reduced: bool = False,
    ) -> Answer:
        """Answer a question.

        Args:
            question: 1 to 2,000 characters.
            options: For multiple choice, 2 to 10 of them.
            strategy: Such as "mdp" or "single_shot"; None for the service's.
            budget_ms: Soft time budget; 0 for none; None for the service's 1,000.
            limits: Bounds on the work.
            session_id: Idempotency key of this question; None makes a new one.
            seed: Of the "random" strategy.
            allow_reduced: Take a cheaper answer, flagged OVERLOAD, where the orchestrator is full, instead of
                ResourceExhaustedError.

        Returns:
            The answer. Where this raises instead, the error's `session_id` names the session to resume.

        Raises:
            DeadlineExceededError: Nothing came within budget + 1 s (65 s without a budget).
        """
        return await _last(
            self.stream(
                question,
                options=options,
                strategy=strategy,
                budget_ms=budget_ms,
                limits=limits,
                session_id=session_id,
                seed=seed,
                allow_reduced=allow_reduced,
            )
        )

    async def stream(
        self,
        question: str,
        *,
        options: Sequence[str] = (),
        strategy: str | None = None,
        budget_ms: int | None = None,
        limits: AskLimits | None = None,
        session_id: str | None = None,
        seed: int | None = None,
        allow_reduced: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """As :meth:`ask`, but yields every event as it happens; the answer is the last.

        Leaving the iteration cancels the question, whose session can then be resumed.
        """
        message = request.ask_request(
            question,
            options=options,
            strategy=strategy,
            budget_ms=budget_ms,
            limits=limits,
            session_id=secrets.token_hex(_SESSION_ID_BYTES) if session_id is None else session_id,
            seed=seed,
            allow_reduced=allow_reduced,
        )
        events = self._events("Ask", self._questions.Ask, message, request.deadline_s(budget_ms), strategy)
        async with aclosing(events):
            async for event in events:
                yield event

    async def resume(self, session_id: str, *, budget_ms: int | None = None) -> Answer:
        """Go on with an interrupted question from its last recorded step.

        Args:
            session_id: As every event, and every error of a question, carries it.
            budget_ms: Fresh soft budget; 0 for none; None for the recorded one, whole.
        """
        return await _last(self.resume_stream(session_id, budget_ms=budget_ms))

    async def resume_stream(self, session_id: str, *, budget_ms: int | None = None) -> AsyncGenerator[Event, None]:
        """As :meth:`resume`, but yields every event as it happens; the answer is the last."""
        message = orchestrator_pb2.ResumeSessionRequest(
            session_id=request.required_text("session_id", session_id),
            budget_ms=request.optional_uint("budget_ms", budget_ms, check_budget_ms),
        )
        # The recorded budget is not known here, so an unset one gets the widest deadline.
        deadline_s = request.deadline_s(0 if budget_ms is None else budget_ms)
        events = self._events("ResumeSession", self._questions.ResumeSession, message, deadline_s, None)
        async with aclosing(events):
            async for event in events:
                yield event

    async def _events(
        self, method: str, stub: Any, message: Any, deadline_s: float, strategy: str | None
    ) -> AsyncGenerator[Event, None]:
        root = self._tracer.start_span(names.SPAN_ASK, attributes={names.SESSION_ID: message.session_id})
        if strategy is not None:
            root.set_attribute(names.STRATEGY, strategy)
        if message.HasField("budget_ms"):
            root.set_attribute(names.BUDGET_MS, message.budget_ms)
        replies = self._orchestrator.stream(f"{_ORCHESTRATOR}/{method}", stub, message, deadline_s)
        try:
            async with aclosing(replies):
                # The call's span starts with the first reply. Only that is made under the root: a context that stays
                # attached between events would leak into the caller's own spans.
                with trace.use_span(root, record_exception=False, set_status_on_exception=False):
                    reply = await anext(replies, None)
                while reply is not None:
                    event = convert.event(reply)
                    if isinstance(event, Answer):
                        _describe(root, event)
                    if event is not None:
                        yield event
                    reply = await anext(replies, None)
        except ArgoError as error:
            error.session_id = message.session_id
            root.set_status(Status(StatusCode.ERROR, error.code.name))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            root.set_status(Status(StatusCode.ERROR, "CANCELLED"))
            raise
        finally:
            root.end()

    async def session(self, session_id: str) -> Session:
        """The recorded state of a question."""
        message = orchestrator_pb2.GetSessionRequest(session_id=request.required_text("session_id", session_id))
        return convert.session(await self._ask_one("GetSession", self._questions.GetSession, message))

    async def sessions(self, *, limit: int = 20, status: SessionStatus | None = None) -> list[SessionSummary]:
        """The newest recorded questions.

        Args:
            limit: Most of them.
            status: Only these.
        """
        if limit < 1:
            raise InvalidArgumentError(f"limit must be at least 1, got {limit}")
        number = None if status is None else f"SESSION_STATUS_{status.name}"
        found: list[SessionSummary] = []
        page_token: str | None = None
        while len(found) < limit:
            message = orchestrator_pb2.ListSessionsRequest(
                page_size=min(limit - len(found), _SESSIONS_PAGE), page_token=page_token, status=number
            )
            page = await self._ask_one("ListSessions", self._questions.ListSessions, message)
            found.extend(convert.session_summary(item) for item in page.sessions)
            page_token = page.next_page_token
            if not page_token:
                break
        return found[:limit]

    async def delete_session(self, session_id: str) -> None:
        """Forget a question; one that is running is refused with NotReadyError."""
        message = orchestrator_pb2.DeleteSessionRequest(session_id=request.required_text("session_id", session_id))
        await self._ask_one("DeleteSession", self._questions.DeleteSession, message)

    async def policy(
        self,
        *,
        tracker: str | None = None,
        foci: int | None = None,
        answer_mode: AnswerMode | None = None,
        time_left_ms: int | None = None,
        states: Iterable[PolicyState] = (),
    ) -> Policy:
        """The policy in force.

        Args:
            tracker: "evidence" or "constant"; None for the service's.
            foci: Number of foci, 1 to 8; None for 3.
            answer_mode: Form of the answer; None for free.
            time_left_ms: Time left at which it is shown; 0 for no budget; None for the default budget.
            states: States whose Q values are wanted, at most 1,000.
        """
        mode = None if answer_mode is None else f"ANSWER_MODE_{answer_mode.name}"
        message = orchestrator_pb2.GetPolicyRequest(
            tracker=tracker,
            foci=request.optional_uint("foci", foci, lambda value: check_range("foci", value, (1, 8))),
            answer_mode=mode,
            time_left_ms=request.optional_uint(
                "time_left_ms", time_left_ms, lambda value: check_range("time_left_ms", value, (0, 60_000))
            ),
            states=[
                orchestrator_pb2.PolicyState(progress=state.progress, time_left_ms=state.time_left_ms)
                for state in states
            ],
        )
        return convert.policy(await self._ask_one("GetPolicy", self._questions.GetPolicy, message))

    async def reload_policy(self) -> PolicyReload:
        """Have the policy file read again, solved and served."""
        message = orchestrator_pb2.ReloadPolicyRequest()
        reply = await self._ask_one("ReloadPolicy", self._questions.ReloadPolicy, message, _RELOAD_TIMEOUT_S)
        return convert.policy_reload(reply)

    async def info(self) -> OrchestratorInfo:
        """What the orchestrator and the services behind it are."""
        message = types_pb2.GetInfoRequest()
        return convert.orchestrator_info(await self._ask_one("GetInfo", self._questions.GetInfo, message))

    async def _ask_one(self, method: str, stub: Any, message: Any, timeout_s: float = _CALL_TIMEOUT_S) -> Any:
        return await self._orchestrator.unary(f"{_ORCHESTRATOR}/{method}", stub, message, timeout_s)

    async def ingest(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        sync: bool = False,
        on_progress: OnProgress | None = None,
    ) -> IngestReport:
        """Index the documents of folders, or single documents; what is unchanged is not sent.

        Args:
            paths: One path or several. A document's source is its path relative to its folder.
            sync: Also remove documents of the collection that are in none of the folders.
            on_progress: Called after each document.

        Returns:
            Each document's outcome. A broken document is FAILED there, and the others are indexed.

        Raises:
            InvalidArgumentError: A path is missing or holds no documents.
        """
        roots = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
        if not roots:
            raise InvalidArgumentError("paths must name at least one folder or document, got none")
        return await Ingester(self._retriever, self._documents, on_progress).run(roots, sync=sync)

    async def documents(self, *, source_prefix: str | None = None) -> list[Document]:
        """Every indexed document whose source starts with the prefix, by source."""
        found = await list_documents(self._retriever, self._documents, source_prefix)
        return [convert.document(item) for item in found]

    async def delete_documents(self, sources: Sequence[str]) -> Deletion:
        """Take documents out, named exactly as :meth:`documents` lists them."""
        if isinstance(sources, str):
            raise TypeError("sources must be a sequence of str, got one str")
        return convert.deletion(await delete_documents(self._retriever, self._documents, sources))

    async def search(
        self,
        text: str,
        *,
        top_k: int | None = None,
        source_prefixes: Sequence[str] = (),
        working_groups: Sequence[str] = (),
    ) -> SearchResult:
        """Search the documents directly, without a question around it.

        Args:
            text: What to search.
            top_k: Passages wanted, 1 to 20; None for the service's.
            source_prefixes: Keep passages whose source starts with one of these.
            working_groups: Keep passages of these, such as "WG4".
        """
        message = retriever_pb2.SearchRequest(
            texts=[request.required_text("texts[0]", text)],
            top_k=request.optional_uint("top_k", top_k, lambda value: check_range("top_k", value, (1, 20))),
            filter=retriever_pb2.SearchFilter(source_prefixes=source_prefixes, working_groups=working_groups),
        )
        reply = await self._retriever.unary(f"{_RETRIEVER}/Search", self._documents.Search, message, _CALL_TIMEOUT_S)
        if len(reply.results) != 1:
            raise InternalError(f"Search answered one text with {len(reply.results)} results")
        return convert.search_result(reply.results[0])

    async def collection(self) -> CollectionInfo:
        """The collection that the retriever serves."""
        reply = await self._retriever.unary(
            f"{_RETRIEVER}/GetCollection",
            self._documents.GetCollection,
            retriever_pb2.GetCollectionRequest(),
            _CALL_TIMEOUT_S,
        )
        return convert.collection_info(reply.collection)

    async def health(self) -> HealthReport:
        """How every service is, each replica of it; never raises for one that is down.

        What is behind the orchestrators is as the first of them sees it that serves.
        """
        asked = [("orchestrator", caller) for caller in self._orchestrators.each]
        asked += [("retriever", caller) for caller in self._retrievers.each]
        services = list(await asyncio.gather(*(check(name, caller) for name, caller in asked)))
        refused = ""
        for place, caller in enumerate(self._orchestrators.each):
            if not services[place].serving:
                continue
            questions: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(caller.channel)
            try:
                info = await caller.unary(
                    f"{_ORCHESTRATOR}/GetInfo", questions.GetInfo, types_pb2.GetInfoRequest(), PROBE_TIMEOUT_S
                )
            except (UnauthenticatedError, PermissionDeniedError) as error:
                # It serves those whom it knows; this caller is not told what is behind it.
                services[place] = service_health("orchestrator", caller, "SERVING", error.message)
                refused = error.message
            except ArgoError as error:
                services[place] = service_health("orchestrator", caller, "NOT_SERVING", error.message)
            else:
                services.extend(peer_health(convert.orchestrator_info(info)))
                refused = ""
                break
        return HealthReport(services=tuple(services), refused=refused)

    async def wait_until_serving(self, timeout_s: float) -> HealthReport:
        """Wait until every service is serving.

        Raises:
            DeadlineExceededError: One is not after timeout_s seconds; the message says which.
        """
        end = time.monotonic() + timeout_s
        while True:
            report = await self.health()
            if report.serving:
                return report
            left = end - time.monotonic()
            if left <= 0:
                waiting = ", ".join(
                    [
                        f"{service.service} at {service.target} is {service.health}"
                        for service in report.services
                        if not service.serving
                    ]
                    + ([f"what is behind the orchestrator is not told: {report.refused}"] if report.refused else [])
                )
                raise DeadlineExceededError(f"not every service was serving after {timeout_s:g} s: {waiting}")
            # An interval between probes: nothing announces the health of a service that is not there yet.
            await asyncio.sleep(min(left, _HEALTH_INTERVAL_S))


class Connecting:
    """What :meth:`Client.connect` returns: await it, or enter it, to get the client."""

    def __init__(
        self,
        make: type[Client],
        target: str | None,
        retriever_target: str | None,
        token: str | None,
        tls: TlsFiles | None,
        telemetry: Telemetry | None,
    ) -> None:
        self._make = make
        self._target = target
        self._retriever_target = retriever_target
        self._token = token
        self._tls = tls
        self._telemetry = telemetry
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        self._client = await self._open()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def _open(self) -> Client:
        settings = load(ClientSettings)
        target = check_target("target", self._target or settings.target)
        retriever_target = check_target("retriever_target", self._retriever_target or settings.retriever_target)
        token = self._token or settings.token
        tls = self._tls
        if tls is None and settings.tls_ca is not None:
            tls = TlsFiles(settings.tls_ca, settings.tls_certificate, settings.tls_key)
        every = [*addresses(target), *addresses(retriever_target)]
        exposed = [address for address in every if not is_loopback(address)]
        if token and tls is None and exposed:
            raise InvalidArgumentError(f"token needs TLS, or it would be sent in the clear to {exposed[0]}")
        return self._make(
            Replicas(target, self._telemetry, tls=tls, token=token),
            Replicas(retriever_target, self._telemetry, tls=tls, token=token),
            self._telemetry,
        )


async def _last(events: AsyncIterator[Event]) -> Answer:
    answer: Answer | None = None
    async for event in events:
        if isinstance(event, Answer):
            answer = event
    if answer is None:
        raise InternalError("the orchestrator ended the question without an answer")
    return answer


def _describe(span: trace.Span, answer: Answer) -> None:
    span.set_attribute(names.END_REASON, answer.end_reason.value)
    span.set_attribute(names.DEGRADED, answer.degraded)
    if answer.within_budget is not None:
        span.set_attribute(names.WITHIN_BUDGET, answer.within_budget)
