from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from argo.rpc import channel
from argo.server import start
from argo.settings import TelemetrySettings
from argo.telemetry import configure
from argo.v1 import synthesizer_pb2, synthesizer_pb2_grpc, types_pb2
from services.synthesizer.servicer import Synthesizer
from services.synthesizer.settings import SynthesizerSettings

_PASSAGE = types_pb2.Passage(
    id="p1", text="The O-DU hosts the RLC and MAC layers.", source="units.md", section="Units", relevance=0.9
)
_TTFT_S = 0.01
_SCRIPT = {
    "origin": {
        "model": "made-up",
        "hardware": "none",
        "engine": "none",
        "command": "none",
        "recorded_on": "2026-01-31",
        "prompt_tokens": 1,
        "completion_tokens": 1,
    },
    "points": [{"batch": 1, "ttft_s": _TTFT_S, "tpot_s": 0.001}, {"batch": 8, "ttft_s": _TTFT_S, "tpot_s": 0.001}],
    "max_num_seqs": 8,
    "rules": [
        {"kind": "answer", "match": "price", "text": "NOT FOUND"},
        {"kind": "answer", "match": "at length", "text": "word " * 200},
        {"kind": "answer", "text": "The O-DU hosts RLC and MAC [1] and more [5]."},
        {"kind": "note", "text": "RLC and MAC [1]."},
    ],
}


@pytest.fixture
def settings(tmp_path: Path) -> SynthesizerSettings:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(_SCRIPT), encoding="utf-8")
    return SynthesizerSettings(port=0, engine="scripted", script=script, expected_batch=2, max_running=1, max_queued=1)


@pytest.fixture
async def stub(settings: SynthesizerSettings) -> AsyncIterator[synthesizer_pb2_grpc.SynthesizerServiceStub]:
    telemetry = configure("synthesizer", TelemetrySettings())
    running = await start(Synthesizer(settings, telemetry), settings, telemetry)
    async with channel(f"127.0.0.1:{running.port}") as open_channel:
        yield synthesizer_pb2_grpc.SynthesizerServiceStub(open_channel)
    await running.stop(0)


async def _answer(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub, request: synthesizer_pb2.SynthesizeRequest
) -> synthesizer_pb2.SynthesizedAnswer:
    events = [event async for event in stub.Synthesize(request)]
    assert "".join(event.delta for event in events[:-1]) == events[-1].answer.text
    return events[-1].answer


async def test_an_answer_comes_with_citations_tokens_and_the_engines_times(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub,
) -> None:
    answer = await _answer(
        stub, synthesizer_pb2.SynthesizeRequest(question="Which layers does the O-DU host?", evidence=[_PASSAGE])
    )
    assert answer.text == "The O-DU hosts RLC and MAC [1] and more."
    assert [citation.passage_id for citation in answer.citations] == ["p1"]
    assert answer.usage.prompt_tokens > 50 and answer.usage.completion_tokens == 10
    assert answer.timing.ttft_s >= _TTFT_S * 0.9 and answer.timing.decode_s > 0
    assert answer.timing.work_s >= answer.timing.prefill_s + answer.timing.decode_s
    assert not answer.HasField("degradation")


async def test_a_refusal_abstains(stub: synthesizer_pb2_grpc.SynthesizerServiceStub) -> None:
    answer = await _answer(stub, synthesizer_pb2.SynthesizeRequest(question="What is its price?", evidence=[_PASSAGE]))
    assert answer.abstained and answer.text.startswith("Not found in these documents.")


async def test_a_choice_has_probabilities_that_sum_to_one(stub: synthesizer_pb2_grpc.SynthesizerServiceStub) -> None:
    answer = await _answer(
        stub, synthesizer_pb2.SynthesizeRequest(question="Which?", options=["a", "b", "c"], evidence=[_PASSAGE])
    )
    assert sum(answer.option_probabilities) == pytest.approx(1.0) and len(answer.option_probabilities) == 3
    assert answer.usage.completion_tokens == 1


async def test_reason_returns_a_note_with_tokens_of_note_and_verdict(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub,
) -> None:
    reply = await stub.Reason(
        synthesizer_pb2.ReasonRequest(question="Which layers?", focus=types_pb2.Focus(id="f1", text="layers"))
    )
    assert (reply.note.focus_id, reply.note.text) == ("f1", "RLC and MAC.")
    assert 0.0 <= reply.note.confidence <= 1.0
    # Four words of note and one of verdict.
    assert reply.usage.completion_tokens == 5 and reply.timing.ttft_s > 0


async def test_too_short_a_time_limit_is_flagged_as_extractive(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub,
) -> None:
    answer = await _answer(
        stub,
        synthesizer_pb2.SynthesizeRequest(
            question="Which layers does the O-DU host?", evidence=[_PASSAGE], time_limit_ms=25
        ),
    )
    assert answer.degradation.kind == types_pb2.DEGRADATION_KIND_EXTRACTIVE
    assert "left for a model" in answer.degradation.detail
    assert answer.citations[0].passage_id == "p1"


async def test_a_full_engine_refuses_at_once_with_a_hint(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub,
) -> None:
    asked = synthesizer_pb2.SynthesizeRequest(question="Say at length: what does the O-DU host?", evidence=[_PASSAGE])
    ended = await asyncio.gather(*[_answer(stub, asked) for _ in range(5)], return_exceptions=True)
    # One runs and one waits. An answer of 200 words takes 209 ms, far longer than the five calls take to arrive.
    refused = [each for each in ended if isinstance(each, grpc.aio.AioRpcError)]
    assert len(refused) == 3
    for each in refused:
        assert each.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(each.trailing_metadata() or ())["argo-retry-after-ms"]) > 0
    info = await stub.GetInfo(types_pb2.GetInfoRequest())
    assert (info.engine.max_running, info.engine.max_queued, info.engine.unfinished) == (1, 1, 0)


async def test_info_tells_engine_profile_pace_and_switches(stub: synthesizer_pb2_grpc.SynthesizerServiceStub) -> None:
    info = await stub.GetInfo(types_pb2.GetInfoRequest())
    assert info.engine.name == "scripted" and info.engine.language_model and info.engine.profile == "default@1"
    # A first token that is late leaves the others on schedule, so that only their sum is bounded from below.
    assert info.engine.ttft_s >= _TTFT_S * 0.9 and info.engine.ttft_s + 23 * info.engine.tpot_s >= _TTFT_S + 23 * 0.0009
    # The default profile's.
    assert info.settings["max_tokens"] == "200"
    assert (info.settings["fit_answer_length"], info.settings["draft_tokens"]) == ("true", "0")


async def test_question_and_passages_stand_in_no_log(
    stub: synthesizer_pb2_grpc.SynthesizerServiceStub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    passage = types_pb2.Passage(id="p1", text="Zweierlei steht hier.", relevance=0.9)
    for limit in (20, 30_000):
        await _answer(
            stub,
            synthesizer_pb2.SynthesizeRequest(question="Einerlei?", evidence=[passage], time_limit_ms=limit),
        )
    assert "Einerlei" not in caplog.text and "Zweierlei" not in caplog.text


def test_length_comes_from_the_profile_unless_it_is_set() -> None:
    assert SynthesizerSettings(engine="scripted").answer_tokens() == 200
    assert SynthesizerSettings(engine="scripted", max_tokens=64).answer_tokens() == 64
    assert SynthesizerSettings().answer_tokens() == 256


def test_builtin_loads_no_library_of_an_engine() -> None:
    code = (
        "import sys, services.synthesizer.__main__ as main; from argo.telemetry import Telemetry; "
        "main._make(main.SynthesizerSettings(), Telemetry(None)); print(*sys.modules)"
    )
    # In a process of its own: other tests load these.
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"vllm", "torch", "openai", "pynvml"} & set(done.stdout.split())
