"""Random and mutated messages to every method of the services behind the orchestrator: no fault of ours."""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from message_mutator import damaged, random_message

from argo.server import Service, start
from argo.settings import ServerSettings
from argo.telemetry import Telemetry
from argo.v1 import decomposer_pb2, retriever_pb2, synthesizer_pb2, synthesizer_pb2_grpc, types_pb2
from services.decomposer.servicer import Decomposer
from services.decomposer.settings import DecomposerSettings
from services.retriever.servicer import RetrieverProcess
from services.retriever.settings import RetrieverSettings
from services.synthesizer.servicer import Synthesizer
from services.synthesizer.settings import SynthesizerSettings

# Chroma leaves its SQLite connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

_MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "500"))
_AT_ONCE = 16
_OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
_FILES = {"decomposer": decomposer_pb2, "retriever": retriever_pb2, "synthesizer": synthesizer_pb2}
_METHODS = [
    (name, method)
    for name, file in _FILES.items()
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def _made(name: str, folder: Path) -> tuple[Service, ServerSettings]:
    if name == "retriever":
        retriever = RetrieverSettings(port=0, index_path=folder / "index", collection="test")
        return RetrieverProcess(retriever), retriever
    if name == "decomposer":
        decomposer = DecomposerSettings(port=0)
        return Decomposer(decomposer), decomposer
    synthesizer = SynthesizerSettings(port=0)
    return Synthesizer(synthesizer), synthesizer


def _messages(method: Any) -> list[bytes]:
    """From a seed of its own for each method, so that each can be run again alone."""
    rng = random.Random(method.full_name)
    whole = [random_message(method.input_type, rng).SerializeToString() for _ in range(_MESSAGES)]
    return [damaged(data, rng) if at % 2 else data for at, data in enumerate(whole)]


def _calls(channel: grpc.aio.Channel, method: Any) -> Callable[[bytes], Any]:
    """A call of raw bytes; a stream of requests is its one message, twice."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.client_streaming:
        stream = channel.stream_unary(path)
        return lambda data: stream(iter((data, data)), timeout=60)
    return lambda data: (channel.unary_stream if method.server_streaming else channel.unary_unary)(path)(
        data, timeout=60
    )


async def _status(call: Any, *, streams: bool) -> grpc.StatusCode:
    try:
        if streams:
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.fixture
async def channel(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    service, settings = _made(request.param, tmp_path)
    server = await start(service, settings, Telemetry(None))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened
    await server.stop(0)


@pytest.mark.timeout(max(120, _MESSAGES // 5))
@pytest.mark.parametrize(
    ("channel", "method"), _METHODS, indirect=["channel"], ids=[method.full_name for _, method in _METHODS]
)
async def test_no_message_is_a_fault_of_ours_and_the_next_call_is_answered(
    channel: grpc.aio.Channel, method: Any
) -> None:
    call, limit = _calls(channel, method), asyncio.Semaphore(_AT_ONCE)

    async def sent(data: bytes) -> tuple[grpc.StatusCode, bytes]:
        async with limit:
            return await _status(call(data), streams=method.server_streaming), data

    outcomes = await asyncio.gather(*(sent(data) for data in _messages(method)))
    assert [(code.name, data.hex()) for code, data in outcomes if code in _OURS] == []
    info = channel.unary_unary(f"/{method.containing_service.full_name}/GetInfo")
    assert await _status(info(b"", timeout=60), streams=False) is grpc.StatusCode.OK


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.1, 1.5])
@pytest.mark.parametrize("channel", ["synthesizer"], indirect=True)
async def test_a_relevance_that_is_no_probability_is_refused_by_name(channel: grpc.aio.Channel, wrong: float) -> None:
    # Found by the messages above: the logarithm of such odds was an error of ours.
    passage = types_pb2.Passage(id="p", text="The O-DU hosts RLC.", relevance=wrong)
    asked = synthesizer_pb2.SynthesizeRequest(question="What does the O-DU host?", evidence=[passage])
    call = synthesizer_pb2_grpc.SynthesizerServiceStub(channel).Synthesize(asked, timeout=60)
    with pytest.raises(grpc.aio.AioRpcError, match=r"evidence\[0\].relevance must be in 0..1, got") as refused:
        async for _ in call:
            pass
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
