"""Sizing and the trace against real vLLM: what was computed is what it finds."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from argo.v1 import types_pb2
from services.engine.profile import load_profile
from services.engine.settings import EngineSettings
from services.engine.shape import load_shape
from services.engine.size import Demand, size_of
from services.engine.torch_trace import write_trace
from services.engine.vllm_engine import VllmModel

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(300),
    # What these say of themselves and of each other; our own warnings stay errors.
    pytest.mark.filterwarnings("ignore:::(torch|transformers|vllm)"),
]

_MAX_LEN = 1024
_KV_BYTES = 2**30  # VLLM_CPU_KVCACHE_SPACE, in GiB, as `make test-vllm` sets it


def _settings(folder: Path) -> EngineSettings:
    return EngineSettings(
        engine="vllm", model=str(folder), profile="cpu", engine_options={"max_model_len": _MAX_LEN, "block_size": 32}
    )


async def _described(folder: Path) -> types_pb2.EngineInfo:
    model = VllmModel(_settings(folder), load_profile("cpu").engine, "")
    try:
        await model.start()
        return model.describe()
    finally:
        await model.close()


def test_parameters_are_those_of_the_checkpoint(tiny_qwen2: Path) -> None:
    from safetensors import safe_open

    with safe_open(tiny_qwen2 / "model.safetensors", framework="pt") as file:
        counted = sum(file.get_tensor(name).numel() for name in file.keys())  # no mapping
    assert load_shape(str(tiny_qwen2)).parameters == counted


def test_kv_cache_tokens_are_those_that_vllm_reports(tiny_qwen2: Path) -> None:
    shape = load_shape(str(tiny_qwen2))
    found = asyncio.run(_described(tiny_qwen2))
    demand = Demand(shape, _KV_BYTES, max_len=_MAX_LEN, dtype="float32", block_size=32, share=1.0)
    per_token = size_of(demand).kv_bytes_per_token
    assert per_token == 2 * 2 * 2 * 32 * 4  # keys and values, layers, KV heads, head size, bytes
    # vLLM keeps whole blocks, and sets one of them aside.
    assert _KV_BYTES // per_token - 2 * 32 <= found.kv_cache_tokens <= _KV_BYTES // per_token
    assert found.kv_cache_bytes == found.kv_cache_tokens * per_token


def test_a_trace_of_one_question_has_the_models_operators(tiny_qwen2: Path, tmp_path: Path) -> None:
    settings = _settings(tiny_qwen2).model_copy(update={"engine_options": {"max_model_len": 2048}})
    written = asyncio.run(write_trace(settings, tmp_path / "trace"))
    traces = [path for path in written if path.name.endswith((".json", ".json.gz"))]
    assert traces, written
    names: set[str] = set()
    for path in traces:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        names |= {str(event.get("name")) for event in json.loads(raw)["traceEvents"]}
    assert any("mm" in name for name in names), sorted(names)[:50]
