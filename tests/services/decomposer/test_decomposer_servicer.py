from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from argo.rpc import channel
from argo.server import start
from argo.settings import SettingsError, TelemetrySettings, load
from argo.telemetry import configure
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, types_pb2
from services.decomposer.servicer import Decomposer
from services.decomposer.settings import DecomposerSettings


@pytest.fixture
async def stub() -> AsyncIterator[decomposer_pb2_grpc.DecomposerServiceStub]:
    settings = DecomposerSettings(port=0)
    running = await start(Decomposer(settings), settings, configure("decomposer", TelemetrySettings()))
    async with channel(f"127.0.0.1:{running.port}") as open_channel:
        yield decomposer_pb2_grpc.DecomposerServiceStub(open_channel)
    await running.stop(0)


async def test_plan_goes_over_the_wire(stub: decomposer_pb2_grpc.DecomposerServiceStub) -> None:
    reply = await stub.PlanFoci(decomposer_pb2.PlanFociRequest(question="Compare xApps and rApps."))
    assert [(focus.id, focus.text) for focus in reply.foci] == [("f1", "xApps"), ("f2", "rApps")]
    assert reply.timing.work_s > 0


async def test_history_reaches_the_rules(stub: decomposer_pb2_grpc.DecomposerServiceStub) -> None:
    question = "How does the O-DU report a lost fronthaul link?"
    focus = types_pb2.Focus(id="f1", text=question)
    first = await stub.GenerateSubquery(decomposer_pb2.GenerateSubqueryRequest(question=question, focus=focus))
    step = types_pb2.HistoryStep(index=1, subqueries=[types_pb2.Subquery(focus_id="f1", text=first.subquery)])
    second = await stub.GenerateSubquery(
        decomposer_pb2.GenerateSubqueryRequest(question=question, focus=focus, history=[step])
    )
    assert first.subquery and second.subquery
    assert first.subquery != second.subquery
    assert (second.usage.prompt_tokens, second.usage.completion_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (decomposer_pb2.PlanFociRequest(question=" "), "question must not be empty or blank"),
        (decomposer_pb2.PlanFociRequest(question="x" * 2001), "question must have at most 2000 characters, got 2001"),
        (decomposer_pb2.PlanFociRequest(question="Which?", options=["one"]), "options must be empty or hold 2..10"),
    ],
)
async def test_bad_plan_request_names_field_value_and_bound(
    stub: decomposer_pb2_grpc.DecomposerServiceStub, request_: decomposer_pb2.PlanFociRequest, words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.PlanFoci(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in (caught.value.details() or "")


async def test_missing_focus_is_refused(stub: decomposer_pb2_grpc.DecomposerServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GenerateSubquery(decomposer_pb2.GenerateSubqueryRequest(question="Which unit?"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_info_names_the_engine(stub: decomposer_pb2_grpc.DecomposerServiceStub) -> None:
    info = await stub.GetInfo(types_pb2.GetInfoRequest())
    assert (info.service, info.engine.name, info.engine.language_model) == ("decomposer", "builtin", False)


def test_unknown_engine_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_DECOMPOSER_ENGINE", "oracle")
    with pytest.raises(
        SettingsError, match=r"ARGO_DECOMPOSER_ENGINE: .*one of builtin, vllm, openai, scripted, got 'oracle'"
    ):
        load(DecomposerSettings)
