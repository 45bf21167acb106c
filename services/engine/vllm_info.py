"""What vLLM's configuration says of a running engine, in the words of GetInfo."""

from __future__ import annotations

from typing import Any

from argo.v1 import types_pb2

__all__ = ["fill"]


def fill(info: types_pb2.EngineInfo, config: Any) -> None:
    """Write what an engine was started with, and what it found room for.

    Args:
        info: To fill.
        config: The engine's VllmConfig, of which vLLM ships no types that hold across its versions.
    """
    cache, parallel, compilation = config.cache_config, config.parallel_config, config.compilation_config
    info.dtype = str(config.model_config.dtype).removeprefix("torch.")
    info.quantization = str(config.model_config.quantization or "")
    info.max_model_len = int(config.model_config.max_model_len)
    # Each copy of the model has a scheduler of its own.
    copies = int(getattr(parallel, "data_parallel_size", 1))
    info.max_num_seqs = copies * int(config.scheduler_config.max_num_seqs)
    info.tensor_parallel = int(parallel.tensor_parallel_size)
    blocks = int(cache.num_gpu_blocks or 0)
    info.kv_cache_tokens = int(getattr(cache, "kv_cache_size_tokens", None) or blocks * int(cache.block_size or 0))
    info.kv_cache_bytes = info.kv_cache_tokens * _kv_bytes_per_token(config)
    info.capture_sizes.extend(int(size) for size in compilation.cudagraph_capture_sizes or ())
    info.gpu_memory_share = float(cache.gpu_memory_utilization)


def _kv_bytes_per_token(config: Any) -> int:
    """Keys and values of one token over all layers and GPUs."""
    model, parallel = config.model_config, config.parallel_config
    heads = int(model.get_num_kv_heads(parallel)) * int(parallel.tensor_parallel_size)
    layers = int(model.get_num_layers(parallel))
    stored = str(config.cache_config.cache_dtype)
    width = 1 if stored.startswith("fp8") else int(getattr(model.dtype, "itemsize", 2))
    return 2 * layers * heads * int(model.get_head_size()) * width
