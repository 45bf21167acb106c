"""Declared names, served and made calls over real gRPC, and the endpoint that a scraper reads."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from argo.edge import ErrorInterceptor
from argo.errors import ArgoError, InvalidArgumentError
from argo.metric import BUILD, DECLARED, QUESTION_DURATION, RPC_SERVER_DURATION, Metrics
from argo.metric_endpoint import Endpoint, EndpointError
from argo.metric_endpoint import oom_kills as read_oom_kills
from argo.rpc import Caller, channel
from argo.server import Service, start
from argo.settings import ServerSettings
from argo.telemetry import Telemetry
from argo.v1 import retriever_pb2, retriever_pb2_grpc

_BOUNDED = {
    *("service", "version", "rpc_method", "rpc_response_status_code", "strategy", "outcome", "ended_by", "mode"),
    *("kind", "action", "foci", "gpu", "reason"),
}
"""Labels whose values are words of the code or numbers of a machine's parts, never of a question or a caller."""


class _Servicer(retriever_pb2_grpc.RetrieverServiceServicer):
    def __init__(self) -> None:
        self.waiting = asyncio.Event()

    async def GetCollection(self, request: Any, context: Any) -> retriever_pb2.GetCollectionResponse:
        return retriever_pb2.GetCollectionResponse()

    async def Search(self, request: Any, context: Any) -> retriever_pb2.SearchResponse:
        raise InvalidArgumentError("top_k must be in 1..20, got 0")

    async def DeleteDocuments(self, request: Any, context: Any) -> retriever_pb2.DeleteDocumentsResponse:
        raise ValueError("a bug")

    async def ListDocuments(self, request: Any, context: Any) -> AsyncIterator[retriever_pb2.Document]:
        yield retriever_pb2.Document(source="a")
        if request.HasField("source_prefix"):
            self.waiting.set()
            await asyncio.Event().wait()


@asynccontextmanager
async def _calls(server_metrics: Metrics, client_metrics: Metrics) -> AsyncIterator[tuple[Caller, Any, _Servicer]]:
    servicer = _Servicer()
    server = grpc.aio.server(interceptors=[ErrorInterceptor(5.0, Telemetry(None, metrics=server_metrics))])
    retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(servicer, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    caller = Caller(channel(target), target, Telemetry(None, metrics=client_metrics))
    try:
        yield caller, retriever_pb2_grpc.RetrieverServiceStub(caller.channel), servicer
    finally:
        await caller.close()
        await server.stop(5.0)


def _counts(metrics: Metrics, name: str) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["rpc_method"].rpartition("/")[2], sample.labels["rpc_response_status_code"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"{name}_count"
    }


async def test_calls_are_counted_by_method_and_status_on_both_sides() -> None:
    served, made = Metrics("retriever"), Metrics("orchestrator")
    async with _calls(served, made) as (caller, stub, servicer):
        service = "argo.v1.RetrieverService"
        for _ in range(3):
            await caller.unary(f"{service}/GetCollection", stub.GetCollection, retriever_pb2.GetCollectionRequest(), 5)
        for name, request in (
            ("Search", retriever_pb2.SearchRequest()),
            ("DeleteDocuments", retriever_pb2.DeleteDocumentsRequest()),
        ):
            with pytest.raises(ArgoError):
                await caller.unary(f"{service}/{name}", getattr(stub, name), request, 5)
        whole = caller.stream(f"{service}/ListDocuments", stub.ListDocuments, retriever_pb2.ListDocumentsRequest(), 5)
        assert [reply.source async for reply in whole] == ["a"]
        request = retriever_pb2.ListDocumentsRequest(source_prefix="b")
        left = caller.stream(f"{service}/ListDocuments", stub.ListDocuments, request, 5)
        await anext(left)
        await servicer.waiting.wait()
        await left.aclose()
    expected = {
        ("GetCollection", "OK"): 3,
        ("Search", "INVALID_ARGUMENT"): 1,
        ("DeleteDocuments", "INTERNAL"): 1,
        ("ListDocuments", "OK"): 1,
        ("ListDocuments", "CANCELLED"): 1,
    }
    assert _counts(served, "rpc_server_call_duration_seconds") == expected
    assert _counts(made, "rpc_client_call_duration_seconds") == expected


def test_every_name_is_declared_once_with_help_and_a_unit_that_prometheus_knows() -> None:
    names = [declared.name for declared in DECLARED]
    assert len(set(names)) == len(names) > 40
    for declared in DECLARED:
        assert re.fullmatch(r"(argo|rpc|gen_ai)_[a-z_]+", declared.name), declared.name
        assert declared.help.endswith(".") or declared.help.endswith("what runs."), declared.name
        assert list(declared.buckets) == sorted(set(declared.buckets)), declared.name
        # Prometheus has no milliseconds, and a counter without its ending is renamed by the library.
        assert not re.search(r"_(ms|milliseconds|count|sum|bucket)$", declared.name), declared.name


def test_no_label_can_take_as_many_values_as_there_are_questions_or_callers() -> None:
    labels = {label for declared in DECLARED for label in declared.labels}
    # "outcome" of a document, "ended_by" of a generation: as bounded as those of a question.
    assert labels == _BOUNDED


@pytest.mark.parametrize("bound_s", [0.95, 1.0, 1.05, 4.0])
def test_the_share_of_questions_inside_a_budget_of_1_s_and_the_alert_of_4_s_needs_no_interpolation(
    bound_s: float,
) -> None:
    assert bound_s in QUESTION_DURATION.buckets


def test_the_endpoint_serves_what_was_counted_and_the_process_itself() -> None:
    metrics = Metrics("retriever")
    metrics.histogram(RPC_SERVER_DURATION).labels("argo.v1.RetrieverService/Search", "OK").observe(0.003)
    endpoint = Endpoint(metrics, "127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=10) as reply:
            families = {family.name: family for family in text_string_to_metric_families(reply.read().decode())}
    finally:
        endpoint.close()
    assert families[BUILD.name].samples[0].labels["service"] == "retriever"
    assert families["process_start_time_seconds"].samples[0].value > 0
    below = {
        float(sample.labels["le"]): sample.value
        for sample in families[RPC_SERVER_DURATION.name].samples
        if sample.name.endswith("_bucket")
    }
    assert (below[0.002], below[0.005], below[float("inf")]) == (0, 1, 1)
    assert not any(name.endswith("_created") for name in families)


def test_an_address_of_metrics_that_is_in_use_is_named_with_what_to_do() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(EndpointError, match=rf"127\.0\.0\.1:{port}.*metrics_port"):
            Endpoint(Metrics("retriever"), "127.0.0.1", port)


class _Slow(Service):
    name = "slow"
    full_name = "argo.v1.RetrieverService"

    def __init__(self) -> None:
        super().__init__()
        self.warming, self.warm = asyncio.Event(), asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(_Servicer(), server)

    async def warm_up(self) -> None:
        self.warming.set()
        await self.warm.wait()

    async def close(self) -> None: ...


async def test_a_service_without_a_metrics_port_serves_none() -> None:
    service = _Slow()
    service.warm.set()
    running = await start(service, ServerSettings(), Telemetry(None, metrics=Metrics("slow")))
    assert running.metrics_port is None
    await running.stop(0)


async def test_metrics_are_served_while_a_service_still_warms_up_and_gone_when_it_has_stopped() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = _Slow()
    settings = ServerSettings(metrics_port=port)
    starting = asyncio.create_task(start(service, settings, Telemetry(None, metrics=Metrics("slow"))))
    await service.warming.wait()

    def scrape() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            body: bytes = reply.read()
            return body

    assert b'argo_build_info{service="slow"' in await asyncio.to_thread(scrape)
    service.warm.set()
    running = await starting
    assert running.metrics_port == port
    await running.stop(0)
    with pytest.raises(OSError):
        await asyncio.to_thread(scrape)


def test_kills_by_the_kernel_are_those_of_the_own_control_group(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("12:cpu:/elsewhere\n0::/system.slice/argo.service\n")
    group = tmp_path / "fs" / "system.slice" / "argo.service"
    group.mkdir(parents=True)
    (group / "memory.events").write_text("low 0\nhigh 7\noom 4\noom_kill 3\n")
    [family] = read_oom_kills(own, tmp_path / "fs")
    assert [(sample.name, sample.value) for sample in family.samples] == [("argo_cgroup_oom_kills_total", 3)]
    assert list(read_oom_kills(tmp_path / "none", tmp_path / "fs")) == []
