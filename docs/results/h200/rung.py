"""Rungs: what is measured, each one change to the default profile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

__all__ = ["RUNGS", "Layout", "Rung", "parse_rung"]


class Layout(StrEnum):
    """Where the two roles run."""

    TWO = "two"
    """An engine each, both on GPU 0."""
    SHARED = "shared"
    """One engine for both roles, on GPU 0."""
    SPLIT = "split"
    """An engine each, the decomposer's on GPU 0 and the synthesizer's on GPU 1."""


@dataclass(frozen=True)
class Rung:
    """One setting of the engines."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """AsyncEngineArgs options on top of the profile's."""
    shape: str = "1.5B"
    layout: Layout = Layout.TWO
    temperature: tuple[float, float] = (0.0, 0.0)
    """Of subqueries and of answers."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the engines' processes."""


_COMPILED = {
    "compilation_config": {
        "inductor_compile_config": {
            "max_autotune": True,
            "coordinate_descent_tuning": True,
            "combo_kernels": True,
            "benchmark_combo_kernel": True,
            "epilogue_fusion": True,
        }
    }
}
_FP8 = {"quantization": "fp8_per_tensor"}

_ALL = (
    Rung("default"),
    Rung("eager", {"enforce_eager": True}),
    Rung("no_async", {"async_scheduling": False}),
    Rung("no_prefix", {"enable_prefix_caching": False}),
    Rung("seqs_64", {"max_num_seqs": 64}),
    Rung("seqs_128", {"max_num_seqs": 128}),
    Rung("seqs_512", {"max_num_seqs": 512}),
    Rung("seqs_1024", {"max_num_seqs": 1024}),
    Rung("tokens_2048", {"max_num_batched_tokens": 2048}),
    Rung("tokens_16384", {"max_num_batched_tokens": 16384}),
    Rung("stream_1", {"stream_interval": 1}),
    Rung("stream_50", {"stream_interval": 50}),
    Rung("fp8", _FP8),
    Rung("fp8_kv", {"kv_cache_dtype": "fp8"}),
    Rung("fp8_both", {**_FP8, "kv_cache_dtype": "fp8"}),
    Rung("triton", {"attention_backend": "TRITON_ATTN"}),
    Rung("flashinfer", {"attention_backend": "FLASHINFER"}),
    Rung("flash", {"attention_backend": "FLASH_ATTN"}),
    Rung("interactivity", {"performance_mode": "interactivity"}),
    Rung("throughput", {"performance_mode": "throughput"}),
    Rung("compiled", _COMPILED),
    Rung("runner_1", environment={"VLLM_USE_V2_MODEL_RUNNER": "0"}),
    Rung("runner_2", environment={"VLLM_USE_V2_MODEL_RUNNER": "1"}),
    Rung("sampled", temperature=(0.5, 0.2)),
    Rung("half_b", shape="0.5B"),
    Rung("half_b_fp8", _FP8, shape="0.5B"),
    Rung("three_b", shape="3B"),
    Rung("three_b_fp8", _FP8, shape="3B"),
    Rung("seven_b", shape="7B"),
    Rung("shared", layout=Layout.SHARED),
    Rung("shared_fp8", _FP8, layout=Layout.SHARED),
    Rung("shared_eager", {"enforce_eager": True}, layout=Layout.SHARED),
    Rung("split", layout=Layout.SPLIT),
    Rung("split_fp8", _FP8, layout=Layout.SPLIT),
)
RUNGS: Mapping[str, Rung] = {rung.name: rung for rung in _ALL}


def parse_rung(text: str) -> Rung:
    """A rung by name, or name={...}: its options on top of those of the rung that "on" names, "default" otherwise.

    "shape" and "layout" are read as what they are: fast={"on": "fp8", "layout": "shared", "max_num_seqs": 64}.
    """
    name, equals, more = text.partition("=")
    if not equals:
        return RUNGS[name]
    options = json.loads(more)
    base = RUNGS[options.pop("on", "default")]
    return replace(
        base,
        name=name,
        shape=options.pop("shape", base.shape),
        layout=Layout(options.pop("layout", base.layout)),
        temperature=tuple(options.pop("temperature", base.temperature)),
        environment={**base.environment, **options.pop("environment", {})},
        options={**base.options, **options},
    )
