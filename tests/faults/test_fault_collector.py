"""An OTLP collector that is not there, hangs or dies: answers and drains are as with one that works."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from fault_process import Process, bare_environ
from fault_report import Observed
from fault_stack import QUESTIONS, Stack, running, until
from faulting_proxy import FaultingProxy, Way
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from argo.client import Client
from deploy.plan import ROOT
from deploy.roster import DECOMPOSER, ORCHESTRATOR

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUP = "OTLP collector"
BATCH_S = 2.0
FULL, MORE = 18_000, 36_000
SLACK = 5
LINE_CHARACTERS = 200
"""Of a line of the log: one that a terminal shows at a glance."""


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans, and counts them by the service that sent them."""

    def __init__(self) -> None:
        self.spans: Counter[str] = Counter()

    async def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.spans[named["service.name"]] += sum(len(scope.spans) for scope in resource.scope_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


@dataclass
class Collected:
    """A stack whose spans go through a proxy to a collector, and to files."""

    stack: Stack
    proxy: FaultingProxy
    collector: Collector
    texts: dict[str, str]
    """Answers while the collector works."""


async def answers(stack: Stack, client: Client) -> dict[str, str]:
    found = {}
    for question in QUESTIONS:
        asked = await stack.ask(client, question, budget_ms=0)
        assert asked.answer is not None and asked.outcome == "answered", asked
        found[question] = asked.answer.text
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collected(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Collected]:
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with contextlib.AsyncExitStack() as held:
        held.push_async_callback(server.stop, 0)
        proxy = await held.enter_async_context(FaultingProxy.before(f"127.0.0.1:{port}"))
        settings = {"ARGO_TELEMETRY_OTLP_ENDPOINT": f"http://{proxy.target}"}
        stack = await held.enter_async_context(running(tmp_path_factory.mktemp("collector"), settings=settings))
        async with stack.client() as client:
            yield Collected(stack, proxy, collector, await answers(stack, client))


async def drained(process: Process) -> float:
    """End a process by SIGTERM and start it again; seconds that its end took."""
    began = time.perf_counter()
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0, process.log()[-3000:]
    took_s = time.perf_counter() - began
    await process.restart()
    return took_s


def shown(stack: Stack, trace_id: str) -> str:
    """What `argo trace` makes of a question, from the span files."""
    command = [sys.executable, "-m", "argo.cli", "trace", "show", trace_id, "--dir", str(stack.span_dir)]
    ended = subprocess.run(command, cwd=ROOT, env=bare_environ(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("fault", "injected"),
    [
        ("absent", "nothing listens"),
        ("hung", "it takes connections and is silent"),
        ("dying in mid-export", "its connection is reset in the middle of each batch"),
    ],
    ids=["absent", "hung", "dying"],
)
@pytest.mark.case(
    GROUP,
    "collector {fault}",
    injected="{injected}; questions, then SIGTERM",
    expected="the same answers; exit 0, held up by one batch of 2 s at most; a short line in the log; `argo trace` as"
    " ever; spans go out again afterwards",
)
async def test_no_answer_hangs_on_a_collector(
    collected: Collected, fault: str, injected: str, observed: Observed
) -> None:
    stack, proxy = collected.stack, collected.proxy
    ending = [stack[ORCHESTRATOR], stack[DECOMPOSER]]
    logged = {process.name: len(process.log()) for process in ending}
    async with stack.invariant() as checked, stack.client() as client:
        await inject(proxy, fault)
        assert await answers(stack, client) == collected.texts
        await until(lambda: told(ending[0], logged[ORCHESTRATOR]), why="the log does not name the collector")
        took_s = max(await asyncio.gather(*(drained(process) for process in ending)))
        await proxy.heal()
        last = stack.asked[-1].answer
        assert last is not None and "retriever Search" in shown(stack, last.trace_id)
        lines = [line for one in ending for line in one.log()[logged[one.name] :].splitlines() if "WARNING" in line]
        longest = max(map(len, lines))
        observed(f"the same {len(QUESTIONS)} answers; exit 0 in {took_s:.1f} s")
        observed(f"{len(lines)} lines in two logs, the longest of {longest} characters")
        assert took_s < SLACK * BATCH_S
        # One for each process, and one for each that says so again at its end.
        assert len(lines) <= 2 * len(ending) and longest < LINE_CHARACTERS, lines
        before = collected.collector.spans["argo-orchestrator"]
        await stack.until_answered(client)

        async def taken() -> bool:
            return collected.collector.spans["argo-orchestrator"] > before

        await until(taken, why="no span came after the fault")
    observed(checked)


async def inject(proxy: FaultingProxy, fault: str) -> None:
    """Begin a fault of the way to the collector."""
    if fault == "absent":
        await proxy.refuse()
    elif fault == "hung":
        proxy.partition()
    else:
        # What opens a connection and a call is shorter, and a batch is longer.
        proxy.reset_each_after(400, Way.TO_SERVICE)


async def told(process: Process, logged: int) -> bool:
    return "takes no spans" in process.log()[logged:]


@pytest.mark.case(
    GROUP,
    "spans that wait for a hung collector",
    injected=f"{FULL + MORE:,} spans in a process whose collector takes connections and is silent",
    expected="memory stays as it is once the queue of 16,384 is full; the oldest are dropped",
)
async def test_spans_that_wait_are_bounded(observed: Observed) -> None:
    async with FaultingProxy.before() as proxy:
        proxy.partition()
        program = [sys.executable, str(Path(__file__).with_name("span_source.py"))]
        source = await asyncio.create_subprocess_exec(
            *program,
            f"http://{proxy.target}",
            str(FULL),
            str(MORE),
            cwd=ROOT,
            env=bare_environ() | {"PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await source.communicate()
    assert source.returncode == 0
    full, grown = map(int, said.split())
    observed(f"{full / 2**20:.0f} MiB for the first {FULL:,}, {grown / 2**20:.1f} MiB more for {MORE:,} more")
    # Without a bound they would take as much for each again.
    assert grown < full * MORE / FULL / SLACK
