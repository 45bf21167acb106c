"""How much of a GPU a model needs, and how many requests of which length then fit.

    budget        = GPU memory x share                                      what vLLM may take of each GPU
    weights       = parameters x bytes each, over the GPUs
    KV per token  = 2 x layers x KV heads of a GPU x head size x bytes      keys and values
    KV cache      = budget - weights - overhead
    concurrency   = KV cache // (blocks of one request of max_len x block size x KV per token)

Overhead is an estimate: activations of one step (the logits of every sequence and the widest layer of every batched
token), captured CUDA graphs (0.4 GiB) and what CUDA and its libraries hold (0.6 GiB). Those two are assumptions, not
taken from a measurement; the rest is arithmetic. What vLLM itself finds at its start is in GetInfo (`kv_cache_tokens`).

Source: vLLM 0.26 and 0.32, vllm/v1: kv_cache_interface.py (bytes of a page), core/kv_cache_utils.py (concurrency),
worker/gpu_worker.py (determine_available_memory).
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from argo.errors import InvalidArgumentError
from services.engine.byte_size import GIB, gib
from services.engine.shape import KNOWN, ModelShape

__all__ = ["CannotFitError", "Demand", "Size", "checked_size", "fits", "size_of", "what_would_fit"]

_BYTES: Final = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "half": 2.0, "float": 4.0}
_KV_BYTES: Final = {"fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "bfloat16": 2, "float16": 2}
_WEIGHT_BYTES: Final = {
    # Bytes of one weight of a linear layer; the last two with a scale and a zero for each group of 128.
    "fp8_per_tensor": 1.0,
    "fp8_per_block": 1.0 + 4 / 128**2,
    "fp8": 1.0,
    "int8_per_channel_weight_only": 1.0,
    "gptq_int8": 1.0 + 3 / 128,
    "gptq_int4": 0.5 + 2.5 / 128,
    "awq_int4": 0.5 + 2.5 / 128,
}
_CUDA_BYTES: Final = int(0.6 * GIB)
"""Assumed: CUDA's context, its libraries and their workspaces, on each GPU."""
_GRAPH_BYTES: Final = int(0.4 * GIB)
"""Assumed: captured CUDA graphs, on each GPU."""
_SHARES: Final = (0.9, 0.95)
_COUNTS: Final = (
    "gpu_memory",
    "max_len",
    "concurrency",
    "tensor_parallel",
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
)
_TENSOR_PARALLEL: Final = (2, 4, 8)


class CannotFitError(InvalidArgumentError):
    """The model, or the requests asked for, need more memory than there is; the message says what would fit."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to run on which memory."""

    shape: ModelShape
    gpu_memory: int
    """Bytes of one GPU."""
    max_len: int = 4_096
    """Tokens of the longest prompt and answer together."""
    concurrency: int = 1
    """Requests of that length at once."""
    dtype: str = "auto"
    """Number type of what is not quantised; "auto" is the checkpoint's, with float32 halved as vLLM does."""
    quantization: str = ""
    """As vLLM names it; empty takes the checkpoint's."""
    kv_dtype: str = "auto"
    """Number type of keys and values; "auto" is the model's."""
    tensor_parallel: int = 1
    """GPUs that share one copy of the model."""
    share: float = 0.9
    """Share of each GPU's memory to take."""
    max_num_seqs: int = 256
    """Sequences that vLLM prepares a step for; more, where concurrency is more. As in the profile "default"."""
    max_num_batched_tokens: int = 8_192
    """Tokens of one step."""
    block_size: int = 16
    eager: bool = False
    """Without CUDA graphs."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 < self.share <= 1:
            raise InvalidArgumentError(f"share must be above 0 and at most 1, got {self.share:g}")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.shape.splits_over(self.tensor_parallel):
            raise InvalidArgumentError(
                f"tensor_parallel must divide the {self.shape.heads} attention heads and the feed-forward width of "
                f"{self.shape.intermediate:,}, and divide the {self.shape.kv_heads} KV heads or be a multiple of "
                f"them, got {self.tensor_parallel}"
            )
        for name, known in (("dtype", _BYTES), ("kv_dtype", _KV_BYTES)):
            if (value := getattr(self, name)) != "auto" and value not in known:
                raise InvalidArgumentError(f"{name} must be one of auto, {', '.join(known)}, got {value!r}")
        if self._quantization and self._quantization not in _WEIGHT_BYTES:
            raise InvalidArgumentError(
                f"quantization must be one of {', '.join(_WEIGHT_BYTES)}, got {self._quantization!r}"
            )

    @property
    def _quantization(self) -> str:
        return self.quantization or self.shape.quantization

    @property
    def width(self) -> float:
        """Bytes of one number that is not quantised."""
        if self.dtype != "auto":
            return _BYTES[self.dtype]
        return min(2.0, _BYTES.get(self.shape.dtype, 2.0))

    @property
    def linear_width(self) -> float:
        """Bytes of one weight of a linear layer."""
        return _WEIGHT_BYTES[self._quantization] if self._quantization else self.width

    @property
    def kv_width(self) -> int:
        """Bytes of one key or value number."""
        return int(self.width) if self.kv_dtype == "auto" else _KV_BYTES[self.kv_dtype]


@dataclass(frozen=True, slots=True)
class Size:
    """What a demand comes to. Bytes are of each GPU."""

    parameters: int
    weight_bytes: int
    kv_bytes_per_token: int
    overhead_bytes: int
    budget_bytes: int
    kv_cache_bytes: int
    """What is left for keys and values; negative where not even the weights fit."""
    kv_cache_tokens: int
    """Tokens that it holds."""
    largest_concurrency: int
    """Requests of max_len at once."""
    largest_max_len: int
    """Tokens of each request at the concurrency asked for, at most what the model was made for."""


def size_of(demand: Demand) -> Size:
    """Size a demand, whether it fits or not; the module says how."""
    shape, gpus = demand.shape, demand.tensor_parallel
    linear, embedding = shape.linear_of_each(gpus) * demand.linear_width, shape.embedding / gpus * demand.width
    weights = math.ceil(linear + embedding + shape.other * demand.width)
    per_token = 2 * shape.layers * shape.kv_heads_of_each(gpus) * shape.head_size * demand.kv_width
    budget = math.ceil(demand.gpu_memory * demand.share)
    # Blocks of one request, and of the whole cache with so many requests at once.
    wanted = math.ceil(demand.max_len / demand.block_size)
    overhead = _overhead(demand, demand.concurrency)

    def blocks(concurrency: int) -> int:
        return max(0, budget - weights - _overhead(demand, concurrency)) // (per_token * demand.block_size)

    # The overhead grows with the requests, so that the most that fit are looked for, not divided out.
    most = bisect.bisect_left(range(1, blocks(1) // wanted + 1), True, key=lambda n: n * wanted > blocks(n))
    return Size(
        parameters=shape.parameters,
        weight_bytes=weights,
        kv_bytes_per_token=per_token,
        overhead_bytes=overhead,
        budget_bytes=budget,
        kv_cache_bytes=budget - weights - overhead,
        kv_cache_tokens=blocks(demand.concurrency) * demand.block_size,
        largest_concurrency=most,
        largest_max_len=min(shape.positions, blocks(demand.concurrency) // demand.concurrency * demand.block_size),
    )


def _overhead(demand: Demand, concurrency: int) -> int:
    shape = demand.shape
    sequences = max(demand.max_num_seqs, concurrency)
    # Logits as they come and as float32, sorted for sampling; the widest layer's input, gate and result.
    logits = sequences * shape.vocabulary * (demand.width + 2 * 4)
    tokens = max(demand.max_num_batched_tokens, sequences)
    widest = tokens * (4 * shape.hidden + 3 * shape.intermediate / demand.tensor_parallel) * demand.width
    return int(logits + widest) + _CUDA_BYTES + (0 if demand.eager else _GRAPH_BYTES)


def checked_size(demand: Demand) -> Size:
    """Size a demand that must fit.

    Raises:
        CannotFitError: It does not; the message has the sizes, and what would fit.
    """
    size = size_of(demand)
    if fits(demand, size):
        return size
    if demand.max_len > demand.shape.positions:
        problem = f"max_len must be at most the model's {demand.shape.positions} tokens, got {demand.max_len}"
    elif size.largest_concurrency == 0 and size.kv_cache_bytes <= 0:
        problem = (
            f"{demand.shape.name} does not fit: weights {gib(size.weight_bytes)} and overhead "
            f"{gib(size.overhead_bytes)} are more than {demand.share:g} of {gib(demand.gpu_memory)}"
        )
    else:
        problem = (
            f"{demand.concurrency} requests of {demand.max_len} tokens need "
            f"{gib(_wanted(demand, size))} of KV cache, and {gib(max(0, size.kv_cache_bytes))} are left"
        )
    found = what_would_fit(demand)
    raise CannotFitError(f"{problem}. What would fit: {'; '.join(found) if found else 'none of what was tried'}")


def what_would_fit(demand: Demand) -> list[str]:
    """Single changes to a demand with which it fits, the gentlest first."""
    return [said for said, changed in _alternatives(demand) if fits(changed, size_of(changed))]


def _alternatives(demand: Demand) -> Iterator[tuple[str, Demand]]:
    size = size_of(demand)
    if 0 < size.largest_max_len < demand.max_len:
        yield (
            f"--max-len {size.largest_max_len}",
            dataclasses.replace(demand, max_len=size.largest_max_len),
        )
    if 0 < size.largest_concurrency < demand.concurrency:
        yield (
            f"--concurrency {size.largest_concurrency}",
            dataclasses.replace(demand, concurrency=size.largest_concurrency),
        )
    for share in _SHARES:
        if share > demand.share:
            yield f"--share {share:g}", dataclasses.replace(demand, share=share)
    if demand.kv_dtype == "auto":
        yield "--kv-dtype fp8", dataclasses.replace(demand, kv_dtype="fp8")
    if demand.linear_width >= 2:
        yield "--quantization fp8_per_tensor", dataclasses.replace(demand, quantization="fp8_per_tensor")
    for gpus in _TENSOR_PARALLEL:
        if gpus > demand.tensor_parallel and demand.shape.splits_over(gpus):
            yield f"--tensor-parallel {gpus}", dataclasses.replace(demand, tensor_parallel=gpus)
    for shape in sorted(KNOWN.values(), key=lambda one: -one.parameters):
        if shape.parameters < demand.shape.parameters and shape.splits_over(demand.tensor_parallel):
            yield f"--model {shape.name}", dataclasses.replace(demand, shape=shape)


def fits(demand: Demand, size: Size) -> bool:
    """Whether what a demand came to is enough for it."""
    return size.largest_concurrency >= demand.concurrency and demand.max_len <= demand.shape.positions


def _wanted(demand: Demand, size: Size) -> int:
    tokens = math.ceil(demand.max_len / demand.block_size) * demand.block_size
    return demand.concurrency * tokens * size.kv_bytes_per_token
