"""The SDK without asyncio, for scripts and notebooks.

A :class:`BlockingClient` runs a :class:`argo.client.Client` on an event loop in a thread of its own, so that it also
works where a loop is already running, as in Jupyter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, TypeVar

from argo.client import Client
from argo.document import CollectionInfo, Deletion, Document, IngestProgress, IngestReport, SearchResult
from argo.ingest import OnProgress
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
from argo.telemetry import Telemetry
from argo.tls import TlsFiles

__all__ = ["BlockingClient"]

_T = TypeVar("_T")
_STOP_TIMEOUT_S: Final = 5.0


class _LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="argo-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def submit(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        if not self._thread.is_alive():
            work.close()
            raise RuntimeError("this client is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C comes here, in the caller's thread; the call itself has to be told.
            future.cancel()
            raise

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_TIMEOUT_S)


def _shut(loop: _LoopThread, client: Client) -> None:
    try:
        with contextlib.suppress(RuntimeError, TimeoutError):
            loop.submit(client.close()).result(_STOP_TIMEOUT_S)
    finally:
        loop.stop()


class BlockingClient:
    """The methods of :class:`argo.client.Client`, each of which returns when it is done.

    Example:
        >>> import argo
        >>> with argo.BlockingClient.connect("127.0.0.1:50051") as client:  # doctest: +SKIP
        ...     for event in client.stream("Compare A1 and E2."):
        ...         print(event.event, event.at_s)
    """

    def __init__(self, loop: _LoopThread, client: Client) -> None:
        self._loop = loop
        self._client = client
        # Notebooks seldom close anything; this also runs when the interpreter ends.
        self._finalizer = weakref.finalize(self, _shut, loop, client)

    @classmethod
    def connect(
        cls,
        target: str | None = None,
        *,
        retriever_target: str | None = None,
        token: str | None = None,
        tls: TlsFiles | None = None,
        telemetry: Telemetry | None = None,
    ) -> BlockingClient:
        """Open a client; arguments and errors as of :meth:`argo.client.Client.connect`."""

        async def open_client() -> Client:
            return await Client.connect(
                target, retriever_target=retriever_target, token=token, tls=tls, telemetry=telemetry
            )

        loop = _LoopThread()
        try:
            return cls(loop, loop.call(open_client()))
        except BaseException:
            loop.stop()
            raise

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channels and end the thread; running calls are cancelled."""
        self._finalizer()

    def ask(
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
        """Answer a question; see :meth:`argo.client.Client.ask`."""
        return self._loop.call(
            self._client.ask(
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

    def stream(
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
    ) -> Iterator[Event]:
        """Yield every event as it happens, the answer last; leaving the iteration cancels the question."""
        return self._iterate(
            self._client.stream(
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

    def resume(self, session_id: str, *, budget_ms: int | None = None) -> Answer:
        """Go on with an interrupted question; see :meth:`argo.client.Client.resume`."""
        return self._loop.call(self._client.resume(session_id, budget_ms=budget_ms))

    def resume_stream(self, session_id: str, *, budget_ms: int | None = None) -> Iterator[Event]:
        """As :meth:`resume`, but yields every event as it happens."""
        return self._iterate(self._client.resume_stream(session_id, budget_ms=budget_ms))

    def _iterate(self, events: AsyncGenerator[Event, None]) -> Iterator[Event]:
        async def following() -> Event | None:
            return await anext(events, None)

        try:
            while (event := self._loop.call(following())) is not None:
                yield event
        finally:
            self._loop.call(_close(events))

    def session(self, session_id: str) -> Session:
        """The recorded state of a question."""
        return self._loop.call(self._client.session(session_id))

    def sessions(self, *, limit: int = 20, status: SessionStatus | None = None) -> list[SessionSummary]:
        """The newest recorded questions."""
        return self._loop.call(self._client.sessions(limit=limit, status=status))

    def delete_session(self, session_id: str) -> None:
        """Forget a question."""
        self._loop.call(self._client.delete_session(session_id))

    def policy(
        self,
        *,
        tracker: str | None = None,
        foci: int | None = None,
        answer_mode: AnswerMode | None = None,
        time_left_ms: int | None = None,
        states: Iterable[PolicyState] = (),
    ) -> Policy:
        """The policy in force; see :meth:`argo.client.Client.policy`."""
        return self._loop.call(
            self._client.policy(
                tracker=tracker, foci=foci, answer_mode=answer_mode, time_left_ms=time_left_ms, states=states
            )
        )

    def reload_policy(self) -> PolicyReload:
        """Have the policy file read again, solved and served."""
        return self._loop.call(self._client.reload_policy())

    def info(self) -> OrchestratorInfo:
        """What the orchestrator and the services behind it are."""
        return self._loop.call(self._client.info())

    def ingest(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        sync: bool = False,
        on_progress: OnProgress | None = None,
    ) -> IngestReport:
        """Index documents; see :meth:`argo.client.Client.ingest`. on_progress runs in the caller's thread."""
        if on_progress is None:
            return self._loop.call(self._client.ingest(paths, sync=sync))
        told: queue.SimpleQueue[IngestProgress | None] = queue.SimpleQueue()
        future = self._loop.submit(self._client.ingest(paths, sync=sync, on_progress=told.put))
        future.add_done_callback(lambda _: told.put(None))
        try:
            while (progress := told.get()) is not None:
                on_progress(progress)
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def documents(self, *, source_prefix: str | None = None) -> list[Document]:
        """Every indexed document, by source."""
        return self._loop.call(self._client.documents(source_prefix=source_prefix))

    def delete_documents(self, sources: Sequence[str]) -> Deletion:
        """Take documents out, named exactly as listed."""
        return self._loop.call(self._client.delete_documents(sources))

    def search(
        self,
        text: str,
        *,
        top_k: int | None = None,
        source_prefixes: Sequence[str] = (),
        working_groups: Sequence[str] = (),
    ) -> SearchResult:
        """Search the documents directly; see :meth:`argo.client.Client.search`."""
        return self._loop.call(
            self._client.search(text, top_k=top_k, source_prefixes=source_prefixes, working_groups=working_groups)
        )

    def collection(self) -> CollectionInfo:
        """The collection that the retriever serves."""
        return self._loop.call(self._client.collection())

    def health(self) -> HealthReport:
        """How every service is; never raises for a service that is down."""
        return self._loop.call(self._client.health())

    def wait_until_serving(self, timeout_s: float) -> HealthReport:
        """Wait until every service is serving; DeadlineExceededError after timeout_s seconds."""
        return self._loop.call(self._client.wait_until_serving(timeout_s))


async def _close(events: AsyncGenerator[Event, None]) -> None:
    await events.aclose()
