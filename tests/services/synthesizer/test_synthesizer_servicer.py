from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from argo.rpc import channel
from argo.server import start
from argo.settings import SettingsError, TelemetrySettings, load
from argo.telemetry import configure
from argo.v1 import synthesizer_pb2, synthesizer_pb2_grpc, types_pb2
from services.synthesizer.servicer import Synthesizer
from services.synthesizer.settings import SynthesizerSettings

_PASSAGE = types_pb2.Passage(
    id="p1",
    text="The O-DU hosts the RLC and MAC layers. The O-RU hosts the low PHY.",
    source="units.md",
    section="Units",
    relevance=0.9,
)


@pytest.fixture
async def stub() -> AsyncIterator[synthesizer_pb2_grpc.SynthesizerServiceStub]:
    settings = SynthesizerSettings(port=0)
    running = await start(Synthesizer(settings), settings, configure("synthesizer", TelemetrySettings()))
    async with channel(f"127.0.0.1:{running.port}") as open_channel:
        yield synthesizer_pb2_grpc.SynthesizerServiceStub(open_channel)
    await running.stop(0)


async def _synthesize(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub, request: synthesizer_pb2.SynthesizeRequest
) -> tuple[list[str], synthesizer_pb2.SynthesizedAnswer]:
    events = [event async for event in stub.Synthesize(request)]
    assert [event.WhichOneof("event") for event in events] == ["delta"] * (len(events) - 1) + ["answer"]
    return [event.delta for event in events[:-1]], events[-1].answer


async def test_answer_is_its_deltas_joined_and_cites_the_passage(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub,
) -> None:
    request = synthesizer_pb2.SynthesizeRequest(question="Which layers does the O-DU host?", evidence=[_PASSAGE])
    deltas, answer = await _synthesize(stub, request)
    assert answer.text == "".join(deltas)
    assert answer.citations[0].passage_id == "p1" and answer.citations[0].source == "units.md"
    assert not answer.HasField("choice")


async def test_choice_comes_with_the_probability_of_each_option(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub,
) -> None:
    request = synthesizer_pb2.SynthesizeRequest(
        question="Which unit hosts the RLC and MAC layers?", options=["O-RU", "O-DU", "SMO"], evidence=[_PASSAGE]
    )
    _, answer = await _synthesize(stub, request)
    assert answer.choice == 1
    assert len(answer.option_probabilities) == 3


async def test_abstention_has_no_choice_but_probabilities(stub: synthesizer_pb2_grpc.SynthesizerServiceStub) -> None:
    request = synthesizer_pb2.SynthesizeRequest(question="Which colour is it?", options=["red", "green"])
    _, answer = await _synthesize(stub, request)
    assert answer.abstained and not answer.HasField("choice")
    assert list(answer.option_probabilities) == pytest.approx([0.5, 0.5])


async def test_reason_needs_a_model(stub: synthesizer_pb2_grpc.SynthesizerServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Reason(synthesizer_pb2.ReasonRequest(question="Why?", focus=types_pb2.Focus(id="f1", text="Why?")))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "Reason needs a language model; the builtin engine has none"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (synthesizer_pb2.SynthesizeRequest(question=""), "question must not be empty or blank"),
        (synthesizer_pb2.SynthesizeRequest(question="Why?", max_tokens=7), "max_tokens must be in 8..2048, got 7"),
        (
            synthesizer_pb2.SynthesizeRequest(question="Why?", evidence=[_PASSAGE] * 41),
            "evidence must hold at most 40 passages, got 41",
        ),
        (synthesizer_pb2.SynthesizeRequest(question="Why?", options=["a", "A "]), "options must differ"),
    ],
)
async def test_bad_request_names_field_value_and_bound(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub, request_: synthesizer_pb2.SynthesizeRequest, words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _synthesize(stub, request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in (caught.value.details() or "")


async def test_info_says_that_no_language_model_runs(stub: synthesizer_pb2_grpc.SynthesizerServiceStub) -> None:
    info = await stub.GetInfo(types_pb2.GetInfoRequest())
    assert (info.service, info.engine.name, info.engine.language_model) == ("synthesizer", "builtin", False)
    assert info.settings["engine"] == "builtin"


def test_unknown_engine_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_SYNTHESIZER_ENGINE", "oracle")
    with pytest.raises(
        SettingsError, match=r"ARGO_SYNTHESIZER_ENGINE: .*one of builtin, vllm, openai, scripted, got 'oracle'"
    ):
        load(SynthesizerSettings)
