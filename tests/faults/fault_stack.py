"""The four services as processes of the test's own, and what must hold of them after whatever was done to them.

Nothing restarts a process here but the test, so that each stage of a death can be looked at; the launcher, which does,
has its tests in tests/deploy. Speeds come from the scripted engine where a fault must meet a question at a known stage.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_process import PATIENCE_S, Process, bare_environ
from fault_span import read_since, untraced, without_parent

from argo.client import Client
from argo.errors import ArgoError, NotFoundError
from argo.result import Answer, Event, QuestionEvent, Session
from argo.rpc import Caller, channel
from argo.v1 import decomposer_pb2_grpc, synthesizer_pb2_grpc, types_pb2
from deploy.layout import Layout
from deploy.plan import make_plan, take_metrics_ports, take_ports
from deploy.roster import DECOMPOSER, ORCHESTRATOR, RETRIEVER, SERVICES, SYNTHESIZER, Roster
from deploy.settings import DeploySettings

PRIMER = Path(__file__).parents[2] / "examples" / "oran"
QUESTIONS = (
    "What is the A1 interface for?",
    "What is the difference between an xApp and an rApp?",
    "Which split does the open fronthaul use?",
)
_ENDED = frozenset({"finished", "failed", "interrupted"})
_DESCRIPTORS = 8
"""More than at the start that connections to what came back may hold."""
_POOLED = 128
"""The same of a server that is not ours: two orchestrators keep up to 64 connections each, once used at once."""
_TASKS = 6
"""More than at the start that may run at the moment: a scrape, a channel that connects again."""
_MOMENTS = 3
_SPAN_DIR = "ARGO_TELEMETRY_SPAN_DIR"
_SAMPLED = "ARGO_TELEMETRY_SAMPLE_RATIO"
_ENGINES: Mapping[str, Any] = {
    DECOMPOSER: ("argo.v1.DecomposerService", decomposer_pb2_grpc.DecomposerServiceStub),
    SYNTHESIZER: ("argo.v1.SynthesizerService", synthesizer_pb2_grpc.SynthesizerServiceStub),
}


async def until(condition: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S, why: str = "") -> None:
    """Poll until it holds."""
    try:
        async with asyncio.timeout(patience_s):
            while not await condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"did not come to hold within {patience_s:g} s: {why or condition}") from None


def script(ttft_s: float, tpot_s: float, *, max_num_seqs: int = 64, **more: Any) -> dict[str, Any]:
    """A scripted engine of one speed, whatever its batch; `more` are fields of :mod:`services.engine.script`."""
    origin = {
        "model": "scripted",
        "hardware": "none",
        "engine": "none",
        "command": "tests/faults",
        "recorded_on": "2026-11-29",
        "prompt_tokens": 1,
        "completion_tokens": 1,
    }
    points = [{"batch": batch, "ttft_s": ttft_s, "tpot_s": tpot_s} for batch in sorted({1, max_num_seqs})]
    return {"origin": origin, "points": points, "max_num_seqs": max_num_seqs, **more}


@dataclass
class Asked:
    """One question, as its caller saw it."""

    session_id: str
    question: str
    events: list[Event] = field(default_factory=list)
    error: ArgoError | None = None
    seconds: float = 0.0

    @property
    def answer(self) -> Answer | None:
        return self.events[-1] if self.events and isinstance(self.events[-1], Answer) else None

    @property
    def accepted(self) -> bool:
        """Whether anything was heard of it before an error."""
        return bool(self.events)

    @property
    def used(self) -> set[str]:
        """The services that its answer came from for certain; what was lost on the way may have left no span."""
        if self.answer is None or self.outcome != "answered":
            return {ORCHESTRATOR}
        return {ORCHESTRATOR, SYNTHESIZER} | ({RETRIEVER} if self.answer.searches else set())

    @property
    def outcome(self) -> str:
        """How it ended: "answered", "degraded: retriever", "UnavailableError"."""
        if self.answer is None:
            return type(self.error).__name__ if self.error else "nothing"
        kinds = sorted({str(degradation.kind) for degradation in self.answer.degradations})
        return "degraded: " + ", ".join(kinds) if kinds else "answered"


@dataclass(frozen=True)
class Held:
    """What a process holds at one moment."""

    descriptors: int
    tasks: int = 0
    spans: int = 0
    """Started, and not ended."""

    def least(self, other: Held) -> Held:
        """The least of both, each by itself."""
        return Held(
            min(self.descriptors, other.descriptors), min(self.tasks, other.tasks), min(self.spans, other.spans)
        )


@dataclass
class Checked:
    """What the invariant's check found, for the report."""

    text: str = ""

    def __str__(self) -> str:
        """Its text."""
        return self.text


class Stack:
    """Processes over the primer; made by :func:`running`."""

    def __init__(
        self, folder: Path, processes: Mapping[str, Process], span_dir: Path, entry: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self._entry = dict(entry)
        self.processes = dict(processes)
        self.span_dir = span_dir
        self.asked: list[Asked] = []

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def of(self, service: str) -> list[Process]:
        """All replicas of a service."""
        return [process for process in self.processes.values() if process.service == service]

    def target(self, service: str) -> str:
        """Address of a service; of several replicas all."""
        return ",".join(process.target for process in self.of(service))

    @contextlib.asynccontextmanager
    async def client(self, orchestrator: str | None = None, **more: Any) -> AsyncIterator[Client]:
        """The SDK's client; `more` as :meth:`Client.connect` takes it."""
        target = orchestrator or self.target(ORCHESTRATOR)
        async with Client.connect(
            target, **{"retriever_target": self.target(RETRIEVER)} | self._entry | more
        ) as client:
            yield client

    async def ask(
        self,
        client: Client,
        question: str = QUESTIONS[0],
        *,
        session_id: str | None = None,
        on_event: Callable[[QuestionEvent], Awaitable[None]] | None = None,
        **fields: Any,
    ) -> Asked:
        """Ask as a user does, and keep what was seen for the invariant; an error is part of that.

        Args:
            client: Of :meth:`client`.
            question: The text.
            session_id: None takes a fresh one.
            on_event: Awaited at each event, so that a fault meets the question at a known stage.
            fields: Of :meth:`Client.stream`.
        """
        asked = Asked(session_id or f"fault-{secrets.token_hex(6)}", question)
        self.asked.append(asked)
        started = time.perf_counter()
        try:
            async with contextlib.aclosing(client.stream(question, session_id=asked.session_id, **fields)) as events:
                async for event in events:
                    asked.events.append(event)
                    if on_event is not None:
                        await on_event(event)
        except ArgoError as error:
            asked.error = error
        finally:
            asked.seconds = time.perf_counter() - started
        return asked

    async def until_answered(self, client: Client, **fields: Any) -> float:
        """Seconds until a question has its full answer again, once a fault is over."""
        started = time.perf_counter()

        async def full() -> bool:
            return (await self.ask(client, **{"budget_ms": 0, **fields})).outcome == "answered"

        await until(full, why="no full answer came again")
        return time.perf_counter() - started

    async def unfinished(self, process: Process) -> int:
        """Generations that wait or run in a process's engine."""
        name, make = _ENGINES[process.service]
        async with channel(process.target, process.tls) as opened:
            caller = Caller(opened, process.target)
            info = await caller.unary(f"{name}/GetInfo", make(opened).GetInfo, types_pb2.GetInfoRequest(), 10.0)
        return int(info.engine.unfinished)

    @contextlib.asynccontextmanager
    async def invariant(
        self,
        patience_s: float = PATIENCE_S,
        *,
        spans: bool = True,
        descriptors: int = _DESCRIPTORS,
        tasks: int = _TASKS,
    ) -> AsyncIterator[Checked]:
        """Around a fault; when it is over, what must hold does, or comes to hold within patience_s.

        Every accepted question is recorded as its caller saw it, and is not left running; no engine has a request of
        it; no process that lived through it has more descriptors or tasks than before, but for the slack, and not one
        span that was begun and has not ended. Where all are sampled, every question that was answered has its trace,
        with the spans of each service that worked for it; no span names a parent that is not there, unless a process
        died with it. All processes must serve again at the end.

        What leaks less than the slack for each question is seen only where more questions than that are asked inside.

        Args:
            patience_s: For each of these.
            spans: Whether the span files are looked at.
            descriptors: How many more a process may hold than before.
            tasks: The same of tasks.

        Yields:
            What will be said of the check, once it has been made.
        """
        checked = Checked()
        from_here, began_s = len(self.asked), time.time()
        before = {name: (process.starts, await self._at_rest(process)) for name, process in self.processes.items()}
        yield checked
        asked = self.asked[from_here:]
        recorded = await self._recorded(asked, patience_s)
        for process in (*self.of(DECOMPOSER), *self.of(SYNTHESIZER)):
            await until(lambda one=process: self._idle(one), patience_s, f"{process.name} still generates")
        survivors = {name: held for name, (starts, held) in before.items() if self.processes[name].starts == starts}
        for name, held in survivors.items():
            most = Held(held.descriptors + descriptors, held.tasks + tasks, held.spans)
            if self[name].service not in SERVICES:
                most = Held(held.descriptors + _POOLED)
            await self._until_released(self[name], held, most, patience_s)
        parts = [recorded, "engines idle", "descriptors and tasks as before"]
        if spans:
            parts.append(await self._traced(asked, self.asked[:from_here], began_s, set(survivors), patience_s))
        checked.text = "; ".join(parts)

    async def _idle(self, process: Process) -> bool:
        return await self.unfinished(process) == 0

    async def _held(self, process: Process) -> Held:
        if process.service not in SERVICES:
            return Held(process.descriptors())
        found = await asyncio.to_thread(process.samples)
        # Of Redis and Chroma, as many as ever were wanted at once; their clients bound and keep them.
        pooled = process.connections([one.port for one in self.processes.values() if one.service not in SERVICES])
        return Held(
            process.descriptors() - pooled, int(found["argo_event_loop_tasks"]), int(found.get("argo_spans_open", 0))
        )

    async def _at_rest(self, process: Process) -> Held:
        """The least of several moments: what is there for a moment only would hide as much that stays."""
        held = await self._held(process)
        for _ in range(_MOMENTS):
            await asyncio.sleep(0.02)
            held = held.least(await self._held(process))
        return held

    async def _until_released(self, process: Process, before: Held, most: Held, patience_s: float) -> None:
        after = await self._held(process)

        async def released() -> bool:
            nonlocal after
            after = after.least(await self._held(process))
            return after.least(most) == after

        try:
            await until(released, patience_s)
        except AssertionError:
            raise AssertionError(f"{process.name} held {before} before the fault and {after} after") from None

    async def _traced(
        self, asked: list[Asked], earlier: list[Asked], since_s: float, survivors: set[str], patience_s: float
    ) -> str:
        """Check the span files; returns what they showed."""
        # Some write theirs elsewhere, onto a disk that is to fill.
        written = {one.name for one in self.processes.values() if one.environ.get(_SPAN_DIR) == str(self.span_dir)}
        alive = {service for service in SERVICES if all(one.name in survivors & written for one in self.of(service))}
        all_alive = len(survivors) == len(self.processes)
        # What is asked again is answered from the record, and was traced when it was first asked.
        known = {one.session_id for one in earlier}
        used = {one.session_id: one.used for one in asked if one.answer is not None and one.session_id not in known}
        sampled = any(float(one.environ.get(_SAMPLED, 1)) < 1 for one in self.processes.values())
        # Without the orchestrator's spans nobody knows which trace is whose.
        if sampled or ORCHESTRATOR not in alive:
            used = {}
        lacking: list[str] = []

        async def all_there() -> bool:
            traces = await asyncio.to_thread(read_since, self.span_dir, since_s)
            lacking[:] = untraced(traces, used, alive) + (without_parent(traces) if all_alive else [])
            return not lacking

        try:
            await until(all_there, patience_s)
        except AssertionError:
            raise AssertionError(f"{len(lacking)} things are in no span file: {lacking[:10]}") from None
        said = "spans whole" if all_alive else "spans of the dead aside"
        if sampled:
            return f"{said}, of those sampled"
        return f"{said}, every answer traced" if used else said

    async def spans_whole(self, since_s: float) -> bool:
        """Whether every parent that a span names has ended, in traces begun since a Unix time; there must be some."""
        traces = await asyncio.to_thread(read_since, self.span_dir, since_s)
        return bool(traces) and not without_parent(traces)

    async def _recorded(self, asked: list[Asked], patience_s: float) -> str:
        """Check the store against what callers saw; returns how many there are."""
        by_id: dict[str, list[Asked]] = {}
        for one in asked:
            by_id.setdefault(one.session_id, []).append(one)
        accepted = 0
        async with self.client() as client:
            listed = {summary.session_id for summary in await client.sessions(limit=10_000)}
            for session_id, times in by_id.items():
                session = await self._ended(client, session_id, patience_s)
                if not any(one.accepted for one in times):
                    assert session is None or session.status in _ENDED, f"{session_id}: {session}"
                    continue
                accepted += 1
                assert session is not None, f"{session_id} was accepted and is not recorded: {times}"
                # That none is there twice is the store's primary key; what it held at all times, the soak's history.
                assert session_id in listed, f"{session_id} was accepted and is not listed"
                numbers = [step.index for step in session.steps]
                assert numbers == list(range(1, len(numbers) + 1)), f"{session_id} has steps {numbers}"
                for one in times:
                    if one.answer is not None:
                        assert session.answer is not None, f"{session_id} was answered and is {session.status}"
                        assert session.answer.text == one.answer.text, session_id
        if not accepted:
            return "nothing was accepted"
        return f"{accepted} accepted questions recorded as the caller saw it"

    async def _ended(self, client: Client, session_id: str, patience_s: float) -> Session | None:
        found: list[Session] = []

        async def ended() -> bool:
            found[:] = [await client.session(session_id)]
            return found[0].status in _ENDED

        try:
            await until(ended, patience_s, f"{session_id} is left running")
        except NotFoundError:
            return None
        return found[0]


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    *,
    replicas: Mapping[str, int] | None = None,
    scripts: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, str] | None = None,
    wrap: Callable[[Process], None] | None = None,
    documents: Path = PRIMER,
    entry: Mapping[str, Any] | None = None,
) -> AsyncIterator[Stack]:
    """A stack that serves and has its documents, and is gone afterwards.

    Args:
        folder: For all that it writes.
        replicas: Of each service that has several; two retrievers bring a Chroma server, two orchestrators Redis.
        scripts: Of the services that run the scripted engine, such as :func:`script` makes them.
        settings: Variables for every process, on top of the plan's own: ARGO_ORCHESTRATOR_RETRIEVER_TARGET puts a
            proxy in between.
        wrap: Changes a process before it is first started.
        documents: What is ingested.
        entry: What :meth:`Client.connect` is given by default: `tls`, `token`.
    """
    settings = dict(settings or {})
    for service, played in (scripts or {}).items():
        path = folder / f"{service}.script.json"
        path.write_text(json.dumps(played))
        settings[f"ARGO_{service.upper()}_ENGINE"] = "scripted"
        settings[f"ARGO_{service.upper()}_SCRIPT"] = str(path)
    processes, span_dir = _processes(folder, dict.fromkeys(SERVICES, 1) | dict(replicas or {}), settings)
    try:
        for process in processes.values():
            if wrap is not None:
                wrap(process)
            process.start()
            if process.service not in SERVICES:
                await until(lambda one=process: _listens(one), why=f"{process.name} does not listen: {process.log()}")
        for process in processes.values():
            if process.service in SERVICES:
                await process.until_serving()
        stack = Stack(folder, processes, span_dir, entry or {})
        async with stack.client() as client:
            await client.ingest(documents)
            await stack.until_answered(client)
        yield stack
    finally:
        for process in processes.values():
            process.close()


def _processes(folder: Path, counts: Mapping[str, int], settings: Mapping[str, str]) -> tuple[dict[str, Process], Path]:
    deploy = DeploySettings(state_dir=folder / "state")
    roster = Roster(counts, settings)
    layout = Layout(deploy.state_dir, PRIMER)
    layout.make()
    layout.redis_dir.mkdir(parents=True, exist_ok=True)
    ports = take_ports(deploy, ephemeral=True, roster=roster)
    free = deploy.model_copy(update={f"{service}_port": 0 for service in SERVICES})
    metrics = take_metrics_ports(free, ports, roster)
    plan = make_plan(deploy, layout, ports, metrics, roster)
    processes = {
        one.name: Process(
            one.name,
            one.service,
            ports[one.name],
            metrics.get(one.name, 0),
            bare_environ() | one.environment | settings,
            one.log_path,
            one.program,
        )
        for one in plan.services
    }
    return processes, layout.span_dir


async def _listens(process: Process) -> bool:
    assert process.running, f"{process.name} ended with {process.wait()}:\n{process.log()[-3000:]}"
    host, _, port = process.target.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return await asyncio.to_thread(probe.connect_ex, (host, int(port))) == 0
