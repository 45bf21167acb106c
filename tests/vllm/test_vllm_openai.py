"""The openai engine against vLLM's own server: the CPU build, a tiny model with random weights."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from argo.errors import InvalidArgumentError, NotReadyError, UnavailableError
from services.engine.openai_engine import OpenAiModel
from services.engine.port import Generated, GenerationRequest, Message, Sampling
from services.engine.settings import EngineSettings

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]

_MAX_MODEL_LEN = 2048
_LONG = 1900
_PATIENCE_S = 200.0


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[bytes]
    root: str

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.root + path, timeout=5) as reply:
            text: str = reply.read().decode()
        return text

    def count(self, metric: str) -> float:
        """One of its own counts."""
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith(f"vllm:{metric}{{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def until(self, wanted: float, metric: str) -> None:
        """Wait for it to be a value."""
        async with asyncio.timeout(5):
            while await asyncio.to_thread(self.count, metric) != wanted:
                await asyncio.sleep(0.01)

    def stop(self) -> None:
        """Its engine core runs in the same process group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "--model": str(tiny_qwen2),
        "--served-model-name": "tiny",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--max-model-len": str(_MAX_MODEL_LEN),
        "--max-num-seqs": "4",
    }
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            # A core of its own: on two, its busy threads can keep this process from reading until the answer is whole.
            [
                "taskset",
                "-c",
                str(min(os.sched_getaffinity(0))),
                sys.executable,
                "-m",
                "vllm.entrypoints.openai.api_server",
                *(x for pair in options.items() for x in pair),
            ],
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    made = _Server(process, f"http://127.0.0.1:{port}")
    try:
        until = time.monotonic() + _PATIENCE_S
        while True:
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-4000:]
            try:
                made.get("/health")
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.2)
        yield made
    finally:
        made.stop()


def _settings(server: _Server, model: str = "tiny") -> EngineSettings:
    return EngineSettings(engine="openai", model=model, base_url=f"{server.root}/v1")


@pytest.fixture
async def model(server: _Server) -> AsyncIterator[OpenAiModel]:
    made = OpenAiModel(_settings(server))
    await made.start()
    yield made
    await made.close()


def _request(text: str = "What does E2 connect?", max_tokens: int = 12, **fields: Any) -> GenerationRequest:
    sampling = Sampling(max_tokens=max_tokens, min_tokens=max_tokens, ignore_eos=True)
    return GenerationRequest([Message("user", text)], sampling, **fields)


async def _whole(model: OpenAiModel, request: GenerationRequest) -> Generated:
    parts = [part async for part in model.generate(request)]
    last = parts.pop()
    assert isinstance(last, Generated)
    assert "".join(str(part) for part in parts) == last.text
    assert model.unfinished == 0
    return last


async def test_tokens_are_the_servers_own_count(model: OpenAiModel) -> None:
    generated = await _whole(model, _request())
    assert (generated.completion_tokens, generated.finish_reason) == (12, "length")
    assert generated.prompt_tokens > 4
    assert generated.timing.prefill_s > 0


_PROSE = (
    "A radio unit that misses its reception window discards the message and counts it as late.",
    "The xApp subscribes with RIC_SUB_REQ (E2AP v2.0, clause 8.2.1); KPM reports PRB use and RRC.ConnMax.",
    "Fronthaul budget: 100 us one way over 20 km of fibre, of which 25 us are left for 3 bridges.",
)


@pytest.mark.parametrize("text", _PROSE)
async def test_estimated_tokens_are_not_below_the_servers_own_and_not_twice_them(
    model: OpenAiModel, tiny_qwen2: Path, text: str
) -> None:
    from transformers import AutoTokenizer

    counted = len(AutoTokenizer.from_pretrained(tiny_qwen2).encode(text, add_special_tokens=False))
    assert counted <= model.count_tokens(text) <= 2 * counted


async def test_the_same_greedy_request_gives_the_same_text(model: OpenAiModel) -> None:
    assert (await _whole(model, _request())).text == (await _whole(model, _request())).text


@pytest.mark.parametrize("question", ["Which one?", "Which of these is right?", "And which now?"])
async def test_a_choice_of_one_token_labels_has_every_labels_probability(model: OpenAiModel, question: str) -> None:
    labels = ("A", "B", "C", "D")
    generated = await _whole(model, _request(question, choices=labels))
    assert generated.completion_tokens == 1
    assert sum(generated.probabilities) == pytest.approx(1.0)
    assert min(generated.probabilities) > 0
    assert generated.text == labels[generated.probabilities.index(max(generated.probabilities))]


async def test_a_choice_of_longer_labels_is_one_of_them(model: OpenAiModel) -> None:
    labels = ("the near-RT RIC", "the non-RT RIC")
    sampling = Sampling(max_tokens=32)
    generated = await _whole(model, GenerationRequest([Message("user", "Which?")], sampling, choices=labels))
    assert generated.text in labels


async def test_leaving_aborts_the_request_on_the_server(model: OpenAiModel, server: _Server) -> None:
    before = server.count("generation_tokens_total")
    async with aclosing(model.generate(_request(max_tokens=_LONG))) as parts:
        await anext(parts)
        assert model.unfinished == 1
        await server.until(1, "num_requests_running")
    assert model.unfinished == 0
    await server.until(0, "num_requests_running")
    assert server.count("generation_tokens_total") < before + _LONG


async def test_the_time_limit_ends_with_what_there_is(model: OpenAiModel) -> None:
    generated = await _whole(model, _request(max_tokens=_LONG, time_limit_s=0.1))
    assert generated.finish_reason == "time"
    assert generated.completion_tokens < _LONG


async def test_a_prompt_too_long_names_the_models_bound(model: OpenAiModel) -> None:
    with pytest.raises(InvalidArgumentError, match=f"at most {_MAX_MODEL_LEN} tokens together"):
        await _whole(model, _request("word " * 3000))


async def test_another_model_is_refused_with_the_one_there_is(server: _Server) -> None:
    other = OpenAiModel(_settings(server, "gpt"))
    with pytest.raises(NotReadyError, match="has no gpt; it has: tiny"):
        await other.start()
    await other.close()


async def test_a_server_killed_in_mid_answer_is_unavailable(model: OpenAiModel, server: _Server) -> None:
    """The last of the file: nobody can use the server after it."""
    parts = model.generate(_request(max_tokens=_LONG))
    await anext(parts)
    await asyncio.to_thread(server.stop)
    with pytest.raises(UnavailableError):
        async for _ in parts:
            pass
    assert model.unfinished == 0
    with pytest.raises(UnavailableError):
        await _whole(model, _request())
