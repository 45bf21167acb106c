"""One trace a question: four real processes and the SDK, received as OTLP over gRPC."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from argo import Client
from argo.settings import TelemetrySettings
from argo.telemetry import configure
from argo.trace import Span, SpanTree

ROOT = Path(__file__).parents[2]
QUESTION = "What is the difference between the near-RT RIC and the non-RT RIC?"
OTHERS = ("What is the A1 interface for?", "What does E2 connect?", "What is an xApp?")
PATIENCE_S = 60.0
_SERVING = re.compile(r" serving on 127\.0\.0\.1:(\d+)")


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span that it is sent, with the service that it came from."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, trace_pb2.Span]] = []

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            [service] = [
                entry.value.string_value for entry in resource.resource.attributes if entry.key == "service.name"
            ]
            for scope in resource.scope_spans:
                self.spans.extend((service, span) for span in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()


@dataclass(frozen=True)
class Received:
    """The spans of one question, by id, and the names of all spans that came."""

    spans: dict[str, trace_pb2.Span]
    service: dict[str, str]
    everything: list[str]
    others: dict[str, list[trace_pb2.Span]]
    """Spans of the questions that were asked side by side after it, by trace."""

    def named(self, name: str, kind: int | None = None) -> list[trace_pb2.Span]:
        return [
            span for span in self.spans.values() if span.name.endswith(name) and (kind is None or span.kind == kind)
        ]

    def children(self, parent: trace_pb2.Span) -> list[trace_pb2.Span]:
        return [span for span in self.spans.values() if span.parent_span_id == parent.span_id]


async def _port_of(log: Path, process: subprocess.Popen[bytes]) -> int:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = _SERVING.search(log.read_text())
            if found:
                return int(found[1])
            assert process.poll() is None, log.read_text()
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def received(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Received]:
    """Ask one question through the whole stack, stop the stack, and return what the collector received."""
    tmp_path = tmp_path_factory.mktemp("stack")
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    own = {name: value for name, value in os.environ.items() if not name.startswith("ARGO_")}
    processes: list[subprocess.Popen[bytes]] = []

    async def start(module: str, **environment: str) -> str:
        log = tmp_path / f"{module}.log"
        name = module.rpartition(".")[2].upper()
        given = {f"ARGO_{name}_PORT": "0", "ARGO_TELEMETRY_OTLP_ENDPOINT": endpoint, **environment}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module], cwd=ROOT, env={**own, **given}, stdout=output, stderr=output
            )
        processes.append(process)
        return f"127.0.0.1:{await _port_of(log, process)}"

    try:
        decomposer, retriever, synthesizer = await asyncio.gather(
            start("services.decomposer"),
            start("services.retriever", ARGO_RETRIEVER_INDEX_PATH=str(tmp_path / "index")),
            start("services.synthesizer"),
        )
        orchestrator = await start(
            "orchestrator",
            ARGO_ORCHESTRATOR_DECOMPOSER_TARGET=decomposer,
            ARGO_ORCHESTRATOR_RETRIEVER_TARGET=retriever,
            ARGO_ORCHESTRATOR_SYNTHESIZER_TARGET=synthesizer,
            ARGO_ORCHESTRATOR_SESSION_PATH=str(tmp_path / "sessions.db"),
        )
        telemetry = configure("sdk", TelemetrySettings(otlp_endpoint=endpoint))
        async with Client.connect(orchestrator, retriever_target=retriever, telemetry=telemetry) as client:
            await client.ingest(ROOT / "examples" / "oran")
            answer = await client.ask(QUESTION, budget_ms=0)
            others = await asyncio.gather(*(client.ask(question, budget_ms=0) for question in OTHERS))
        assert not any(each.degraded for each in (answer, *others)), (answer, others)
        await asyncio.to_thread(telemetry.shutdown)
        # A drain exports what is waiting, so after it nothing more can come.
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            assert await asyncio.to_thread(process.wait, PATIENCE_S) == 0
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        server.stop(None).wait()
    root, *asides = sorted(
        (span for _, span in collector.spans if span.name == "argo.ask"), key=lambda span: span.start_time_unix_nano
    )
    mine = [(service, span) for service, span in collector.spans if span.trace_id == root.trace_id]
    assert len({span.span_id for _, span in mine}) == len(mine), "a span came twice"
    yield Received(
        {span.span_id.hex(): span for _, span in mine},
        {span.span_id.hex(): service for service, span in mine},
        [span.name for _, span in collector.spans],
        {
            aside.trace_id.hex(): [span for _, span in collector.spans if span.trace_id == aside.trace_id]
            for aside in asides
        },
    )


def _tree(received: Received) -> SpanTree:
    return SpanTree(
        Span(
            span_id=identity,
            parent_id=span.parent_span_id.hex() or None,
            name=span.name,
            service=received.service[identity],
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
        )
        for identity, span in received.spans.items()
    )


def test_the_spans_of_a_question_form_one_tree_with_its_fan_out_under_its_step(received: Received) -> None:
    client, server = trace_pb2.Span.SPAN_KIND_CLIENT, trace_pb2.Span.SPAN_KIND_SERVER
    tops = [span for span in received.spans.values() if not span.parent_span_id]
    assert [span.name for span in tops] == ["argo.ask"]
    assert all(span.parent_span_id.hex() in received.spans for span in received.spans.values() if span not in tops)
    assert set(received.service.values()) == {
        "argo-sdk",
        "argo-orchestrator",
        "argo-decomposer",
        "argo-retriever",
        "argo-synthesizer",
    }

    first = min(received.named("argo.step"), key=lambda span: span.start_time_unix_nano)
    generated = [span for span in received.children(first) if span.name.endswith("/GenerateSubquery")]
    searched = [span for span in received.children(first) if span.name.endswith("/Search")]
    # A comparison has a focus for each side, and the question itself is searched beside them; subqueries that are
    # worded together share a call, and those of foci that the question's own search has closed are not searched.
    [made] = [entry.value.int_value for entry in first.attributes if entry.key == "argo.searches"]
    assert len(generated) >= 2
    assert 1 <= len(searched) <= made <= len(generated) + 1
    assert {span.kind for span in (*generated, *searched)} == {client}
    # Parallel: each subquery began before any was finished, and the question's search before all of them were.
    assert max(span.start_time_unix_nano for span in generated) < min(span.end_time_unix_nano for span in generated)
    assert min(span.start_time_unix_nano for span in searched) < max(span.end_time_unix_nano for span in generated)

    # Every call crosses into its service's process and is answered there, once.
    calls = [span for span in received.spans.values() if span.kind == client]
    assert {span.name.rpartition("/")[2] for span in calls} == {
        "Ask",
        "PlanFoci",
        "GenerateSubquery",
        "Search",
        "Synthesize",
    }
    for call in calls:
        [answered] = [span for span in received.children(call) if span.kind == server]
        assert answered.name.lstrip("/") == call.name.lstrip("/")
        assert received.service[answered.span_id.hex()] != received.service[call.span_id.hex()]
    names = Counter(span.name for span in received.spans.values())
    assert names["argo.answer"] == 1

    for span in received.spans.values():
        assert "near-RT" not in str(span), f"{span.name} holds text of the question"


def test_each_of_several_questions_at_once_has_one_connected_trace_of_its_own(received: Received) -> None:
    assert len(received.others) == len(OTHERS)
    for spans in received.others.values():
        by_id = {span.span_id: span for span in spans}
        assert len(by_id) == len(spans)
        [root] = [span for span in spans if not span.parent_span_id]
        assert root.name == "argo.ask"
        assert all(span.parent_span_id in by_id for span in spans if span is not root)
        # It went through every service and came back: an answer was written, once.
        answered = {span.name for span in spans if span.kind == trace_pb2.Span.SPAN_KIND_SERVER}
        assert {name.rpartition("/")[2] for name in answered} >= {"Ask", "PlanFoci", "Search", "Synthesize"}
        assert [span.name for span in spans].count("argo.answer") == 1


def test_exclusive_times_of_a_real_question_are_never_negative_and_add_up_to_its_root(
    received: Received,
) -> None:
    tree = _tree(received)
    shares = tree.exclusive_s()
    assert set(shares) == set(received.spans)
    assert all(share >= 0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(tree.root.duration_s, abs=1e-9)
    assert tree.root.name == "argo.ask"
    # Time is seen in every process, so a share that lands on one span only would show.
    by_service = dict.fromkeys(received.service.values(), 0.0)
    for identity, share in shares.items():
        by_service[received.service[identity]] += share
    assert all(share > 0 for share in by_service.values()), by_service


def test_what_the_orchestrator_asks_for_itself_leaves_no_trace(received: Received) -> None:
    assert not [name for name in received.everything if name.endswith("/GetInfo")]
