"""The shape of a model: what its config.json says, and how many numbers that makes.

Source of the counts: the layers of Qwen2 and Llama as vLLM builds them (vllm/model_executor/models/qwen2.py, llama.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from argo.errors import InvalidArgumentError, NotFoundError

__all__ = ["KNOWN", "ModelShape", "load_shape", "shape_of"]

_UNSIZED: Final = {
    "kv_lora_rank": "latent attention",
    "num_experts": "experts",
    "num_local_experts": "experts",
    "n_routed_experts": "experts",
    "ssm_cfg": "state-space layers",
}
"""What changes the arithmetic of weights or cache, by the field of config.json that tells of it."""
_QKV_BIAS: Final = ("qwen2",)
_QK_NORM: Final = ("qwen3",)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A dense decoder with grouped-query attention and a gated feed-forward layer."""

    name: str
    hidden: int
    """Width of the residual stream."""
    intermediate: int
    """Width of the feed-forward layer."""
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    positions: int
    """Longest prompt and answer together that the model was made for."""
    tied: bool = False
    """Whether the output layer is the embedding."""
    qkv_bias: bool = False
    """Whether queries, keys and values have a bias, as in Qwen2."""
    qk_norm: bool = False
    """Whether queries and keys are normalised, as in Qwen3."""
    dtype: str = "bfloat16"
    """Number type of the checkpoint."""
    quantization: str = ""
    """How the checkpoint is quantised; empty for not at all."""

    @property
    def linear(self) -> int:
        """Weights of the linear layers, biases left out: what quantisation shrinks."""
        return self.linear_of_each(1)

    def linear_of_each(self, gpus: int) -> int:
        """The same on each of several GPUs; keys and values are copied where there are more GPUs than their heads."""
        queries, keys = self.heads // gpus * self.head_size, self.kv_heads_of_each(gpus) * self.head_size
        attention = self.hidden * (queries + 2 * keys) + queries * self.hidden
        return self.layers * (attention + 3 * self.hidden * (self.intermediate // gpus))

    def kv_heads_of_each(self, gpus: int) -> int:
        """KV heads on each of several GPUs."""
        return max(1, self.kv_heads // gpus)

    def splits_over(self, gpus: int) -> bool:
        """Whether vLLM can split it: attention heads and feed-forward width evenly, KV heads evenly or copied evenly.

        Source: vLLM 0.26 and 0.32, vllm/model_executor/models/qwen2.py (Qwen2Attention), vllm/distributed/utils.py
        (divide).
        """
        heads = self.kv_heads % gpus == 0 if self.kv_heads >= gpus else gpus % self.kv_heads == 0
        return heads and self.heads % gpus == 0 and self.intermediate % gpus == 0

    @property
    def embedding(self) -> int:
        """Weights of embedding and output layer, which stay as they are."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def other(self) -> int:
        """Biases and norms."""
        biases = (self.heads + 2 * self.kv_heads) * self.head_size if self.qkv_bias else 0
        norms = 2 * self.hidden + (2 * self.head_size if self.qk_norm else 0)
        return self.layers * (biases + norms) + self.hidden

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.linear + self.embedding + self.other


def _qwen(size: str, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, **more: Any) -> ModelShape:
    return ModelShape(
        name=f"Qwen/Qwen2.5-{size}-Instruct",
        hidden=hidden,
        intermediate=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_size=hidden // heads,
        vocabulary=more.get("vocabulary", 151_936),
        positions=32_768,
        tied=more.get("tied", True),
        qkv_bias=True,
    )


KNOWN: Final[Mapping[str, ModelShape]] = {
    shape.name: shape
    for shape in (
        # As in the config.json that each model is published with.
        _qwen("0.5B", 896, 4_864, 24, 14, 2),
        _qwen("1.5B", 1_536, 8_960, 28, 12, 2),
        _qwen("3B", 2_048, 11_008, 36, 16, 2),
        _qwen("7B", 3_584, 18_944, 28, 28, 4, vocabulary=152_064, tied=False),
    )
}
"""Shapes of the profiles' models, by their names; nothing is fetched for them."""


def load_shape(model: str) -> ModelShape:
    """The shape of a model by name, or of a folder that holds one.

    Raises:
        NotFoundError: Neither a folder with config.json nor a known name.
        InvalidArgumentError: The folder's model is of a kind that is not sized here.
    """
    folder = Path(model)
    if (folder / "config.json").is_file():
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(f"model: cannot read {folder / 'config.json'}: {error}") from None
        return shape_of(config, str(model))
    for name, shape in KNOWN.items():
        short = name.partition("/")[2]
        if model.lower() in (name.lower(), short.lower(), short.lower().removesuffix("-instruct")):
            return shape
    raise NotFoundError(
        f"model must be a folder with config.json or one of {', '.join(KNOWN)}, got {model!r}; "
        "`python -m services.engine fetch` makes the folder"
    )


def shape_of(config: Mapping[str, Any], name: str = "") -> ModelShape:
    """The shape that a config.json describes.

    Raises:
        InvalidArgumentError: A field is missing, or the model is of a kind that is not sized here.
    """
    config = {**config, **(config.get("text_config") or {})}
    _check_dense(config)
    try:
        heads = int(config["num_attention_heads"])
        kind = str(config.get("model_type", ""))
        return ModelShape(
            name=name or str(config.get("_name_or_path", "")),
            hidden=int(config["hidden_size"]),
            intermediate=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
            vocabulary=int(config["vocab_size"]),
            positions=int(config["max_position_embeddings"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=kind in _QKV_BIAS or bool(config.get("attention_bias", False)),
            qk_norm=kind in _QK_NORM,
            # Renamed in transformers 5.
            dtype=str(config.get("dtype") or config.get("torch_dtype") or "bfloat16"),
            quantization=_quantization(config.get("quantization_config") or {}),
        )
    except KeyError as error:
        raise InvalidArgumentError(f"model: config.json must have {error.args[0]}") from None


def _check_dense(config: Mapping[str, Any]) -> None:
    for field, kind in _UNSIZED.items():
        if config.get(field):
            raise InvalidArgumentError(f"model: config.json has {field}: a model with {kind} is not sized here")
    unlike = set(config.get("layer_types") or ()) - {"full_attention", "sliding_attention"}
    if unlike:
        raise InvalidArgumentError(f"model: layers of type {', '.join(sorted(unlike))} are not sized here")


def _quantization(config: Mapping[str, Any]) -> str:
    method = str(config.get("quant_method", ""))
    bits = config.get("bits")
    return f"{method}_int{bits}" if method in ("awq", "gptq") and bits else method
