from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from argo.errors import InvalidArgumentError, NotFoundError
from services.engine.byte_size import parse_bytes
from services.engine.profile import load_profile
from services.engine.shape import KNOWN, ModelShape, load_shape, shape_of
from services.engine.size import CannotFitError, Demand, checked_size, size_of, what_would_fit

_GIB = 2**30
_SMALL = load_shape("Qwen2.5-0.5B-Instruct")
_MIDDLE = load_shape("Qwen2.5-1.5B-Instruct")
_LARGE = load_shape("Qwen2.5-7B-Instruct")

# As published with Qwen2.5-0.5B-Instruct, the fields that nothing here reads left out.
_CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}


def test_parameters_by_hand() -> None:
    # Attention 2 x 896 x 896 + 2 x 896 x 128, feed-forward 3 x 896 x 4864, in 24 layers.
    assert _SMALL.linear == 24 * (1_605_632 + 229_376 + 13_074_432) == 357_826_560
    assert _SMALL.embedding == 151_936 * 896 == 136_134_656
    # Biases of 896 + 2 x 128 and two norms of 896 a layer, one norm at the end.
    assert _SMALL.other == 24 * (1_152 + 1_792) + 896 == 71_552
    assert _SMALL.parameters == 494_032_768


@pytest.mark.parametrize(
    ("name", "published"),
    # As the hub counts the tensors of each checkpoint.
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
    ],
)
def test_parameters_are_those_of_the_published_checkpoints(name: str, published: int) -> None:
    assert load_shape(name).parameters == published


@pytest.mark.parametrize("profile", ["baseline", "default", "half_b", "seven_b", "cpu"])
def test_the_profiles_models_are_known(profile: str) -> None:
    assert load_shape(load_profile(profile).model).name == load_profile(profile).model


@pytest.mark.parametrize(
    ("shape", "bytes_per_token"),
    # 2 x layers x KV heads x head size x 2 bytes.
    [(_SMALL, 2 * 24 * 2 * 64 * 2), (_MIDDLE, 2 * 28 * 2 * 128 * 2), (_LARGE, 2 * 28 * 4 * 128 * 2)],
)
def test_kv_bytes_of_a_token(shape: ModelShape, bytes_per_token: int) -> None:
    assert size_of(Demand(shape, 24 * _GIB)).kv_bytes_per_token == bytes_per_token
    assert size_of(Demand(shape, 24 * _GIB, kv_dtype="fp8")).kv_bytes_per_token == bytes_per_token // 2


def test_what_is_left_after_weights_and_overhead_is_the_kv_cache() -> None:
    demand = Demand(_MIDDLE, 12 * _GIB, max_len=2_048, concurrency=16)
    size = size_of(demand)
    assert size.weight_bytes == 2 * 1_543_714_304
    assert size.kv_cache_bytes == size.budget_bytes - size.weight_bytes - size.overhead_bytes
    assert size.budget_bytes == pytest.approx(0.9 * 12 * _GIB, abs=1)
    assert size.kv_cache_tokens == size.kv_cache_bytes // (28_672 * 16) * 16
    assert size.largest_concurrency == size.kv_cache_tokens // 2_048


def test_the_largest_length_and_concurrency_fit_and_one_more_does_not() -> None:
    demand = Demand(_MIDDLE, 12 * _GIB, max_len=4_096, concurrency=32)
    longest = size_of(demand).largest_max_len
    assert checked_size(dataclasses.replace(demand, max_len=longest))
    with pytest.raises(CannotFitError):
        checked_size(dataclasses.replace(demand, max_len=longest + 1))
    most = size_of(demand).largest_concurrency
    assert checked_size(dataclasses.replace(demand, concurrency=most))
    with pytest.raises(CannotFitError):
        checked_size(dataclasses.replace(demand, concurrency=most + 1))


def test_a_request_takes_whole_blocks() -> None:
    exact = size_of(Demand(_MIDDLE, 12 * _GIB, max_len=4_096)).largest_concurrency
    assert size_of(Demand(_MIDDLE, 12 * _GIB, max_len=4_081)).largest_concurrency == exact
    assert size_of(Demand(_MIDDLE, 12 * _GIB, max_len=2_048)).largest_concurrency in (2 * exact, 2 * exact + 1)


def test_quantisation_shrinks_the_linear_layers_alone() -> None:
    whole = size_of(Demand(_LARGE, 24 * _GIB))
    halved = size_of(Demand(_LARGE, 24 * _GIB, quantization="fp8_per_tensor"))
    assert whole.weight_bytes - halved.weight_bytes == _LARGE.linear
    awq = size_of(Demand(dataclasses.replace(_LARGE, quantization="awq_int4"), 24 * _GIB))
    # 4 bits and, for each group of 128, a scale of 16 bits and a zero of 4.
    assert whole.weight_bytes - awq.weight_bytes == pytest.approx(_LARGE.linear * (2 - 0.5 - 20 / 8 / 128), abs=1)


def test_two_gpus_hold_half_each_but_for_what_is_copied() -> None:
    one, two = (size_of(Demand(_LARGE, 24 * _GIB, tensor_parallel=gpus)) for gpus in (1, 2))
    assert two.weight_bytes == pytest.approx(one.weight_bytes / 2, rel=0.001)
    assert two.kv_bytes_per_token * 2 == one.kv_bytes_per_token
    # Qwen2.5-1.5B has two KV heads; with four GPUs each still keeps one.
    assert size_of(Demand(_MIDDLE, 24 * _GIB, tensor_parallel=4)).kv_bytes_per_token == 28_672 // 2


@pytest.mark.parametrize(
    ("shape", "gpus", "splits"),
    [
        (_LARGE, 4, True),  # 28 heads, 4 KV heads, width 18,944
        (_LARGE, 28, False),  # the heads and the KV heads split, the width does not
        (_MIDDLE, 3, False),  # 12 heads and width 8,960: 8,960 is no multiple of 3
        (dataclasses.replace(_MIDDLE, intermediate=9_000), 3, False),  # 2 KV heads are not copied evenly over 3
        (dataclasses.replace(_MIDDLE, intermediate=9_000), 6, True),
    ],
)
def test_a_model_is_split_over_so_many_gpus_as_its_parts_allow(shape: ModelShape, gpus: int, splits: bool) -> None:
    assert shape.splits_over(gpus) is splits
    if splits:
        assert Demand(shape, 24 * _GIB, tensor_parallel=gpus)
    else:
        with pytest.raises(InvalidArgumentError, match=f"tensor_parallel must divide .* got {gpus}"):
            Demand(shape, 24 * _GIB, tensor_parallel=gpus)


def test_with_more_gpus_than_kv_heads_each_holds_a_copy_of_theirs() -> None:
    # Two KV heads on four GPUs: each holds one, twice a quarter of keys' and values' weights.
    copied = _MIDDLE.layers * _MIDDLE.hidden * 2 * (1 - 2 / 4) * _MIDDLE.head_size
    assert _MIDDLE.linear_of_each(4) == _MIDDLE.linear / 4 + copied


def test_more_sequences_take_more_of_the_memory_for_one_step() -> None:
    few, many = (size_of(Demand(_SMALL, 12 * _GIB, max_num_seqs=seqs)) for seqs in (256, 512))
    # Logits of 151,936 words, in 2 bytes as they come and twice in 4.
    assert many.overhead_bytes - few.overhead_bytes == 256 * 151_936 * 10
    assert size_of(Demand(_SMALL, 12 * _GIB, concurrency=512)).overhead_bytes == many.overhead_bytes


def test_far_too_many_requests_are_told_the_number_that_fits() -> None:
    demand = Demand(_LARGE, 24 * _GIB, max_len=4_096, concurrency=100_000)
    assert f"--concurrency {size_of(demand).largest_concurrency}" in what_would_fit(demand)


def test_what_cannot_fit_is_refused_with_what_would() -> None:
    demand = Demand(_LARGE, 16 * _GIB, max_len=4_096, concurrency=4)
    with pytest.raises(CannotFitError, match=r"weights 14\.2 GiB .*--quantization fp8_per_tensor"):
        checked_size(demand)
    assert "--tensor-parallel 2" in what_would_fit(demand)
    assert "--model Qwen/Qwen2.5-3B-Instruct" in what_would_fit(demand)
    assert checked_size(dataclasses.replace(demand, quantization="fp8_per_tensor")).largest_concurrency >= 4


def test_too_many_requests_are_refused_with_the_length_and_number_that_fit() -> None:
    demand = Demand(_MIDDLE, 12 * _GIB, max_len=4_096, concurrency=64)
    with pytest.raises(CannotFitError, match=r"64 requests of 4096 tokens need 7\.0 GiB of KV cache, and") as refused:
        checked_size(demand)
    size = size_of(demand)
    assert f"--max-len {size.largest_max_len}" in str(refused.value)
    assert f"--concurrency {size.largest_concurrency}" in str(refused.value)


@pytest.mark.parametrize("memory", [2, 6, 12, 16, 24, 80])
@pytest.mark.parametrize("shape", KNOWN.values(), ids=lambda shape: shape.name.rpartition("/")[2])
def test_whatever_is_said_to_fit_does(shape: ModelShape, memory: int) -> None:
    changed = {
        "--max-len": "max_len",
        "--concurrency": "concurrency",
        "--share": "share",
        "--kv-dtype": "kv_dtype",
        "--quantization": "quantization",
        "--tensor-parallel": "tensor_parallel",
    }
    demand = Demand(shape, memory * _GIB, max_len=8_192, concurrency=100, share=0.8)
    for said in what_would_fit(demand):
        option, value = said.split(" ")
        if option == "--model":
            changed_demand = dataclasses.replace(demand, shape=load_shape(value))
        else:
            field = changed[option]
            kind = type(getattr(demand, field))
            changed_demand = dataclasses.replace(demand, **{field: kind(value)})
        assert checked_size(changed_demand).largest_concurrency >= changed_demand.concurrency


def test_a_length_beyond_the_model_is_refused_however_much_memory_there_is() -> None:
    with pytest.raises(CannotFitError, match=r"max_len must be at most the model's 32768 tokens, got 40000"):
        checked_size(Demand(_SMALL, 80 * _GIB, max_len=40_000))


@pytest.mark.parametrize(
    ("text", "size"),
    [("12GiB", 12 * _GIB), ("24 GB", 24 * 10**9), ("0.5gib", _GIB // 2), ("80000MB", 80 * 10**9)],
)
def test_sizes_are_read_with_their_unit(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "12GiBs", "-1GiB", "1e3GB", "12 TB", "24"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="gpu_memory must be a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"share": 1.1}, r"share must be above 0 and at most 1, got 1\.1"),
        ({"share": 0.0}, r"share must be above 0 and at most 1, got 0"),
        ({"tensor_parallel": 3}, "must divide the 14 attention heads .* got 3"),
        ({"max_num_batched_tokens": 0}, "max_num_batched_tokens must be at least 1, got 0"),
        ({"quantization": "int3"}, "quantization must be one of .* got 'int3'"),
        ({"kv_dtype": "int8"}, "kv_dtype must be one of .* got 'int8'"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        Demand(_SMALL, 12 * _GIB, **fields)


def test_a_shape_is_read_from_a_published_config(tmp_path: Path) -> None:
    assert dataclasses.replace(shape_of(_CONFIG), name=_SMALL.name) == _SMALL
    (tmp_path / "config.json").write_text(json.dumps(_CONFIG))
    assert load_shape(str(tmp_path)).parameters == 494_032_768


def test_a_quantised_checkpoint_says_so_in_its_config() -> None:
    quantised = _CONFIG | {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
    assert shape_of(quantised).quantization == "awq_int4"
    assert size_of(Demand(shape_of(quantised), _GIB)).weight_bytes < size_of(Demand(_SMALL, _GIB)).weight_bytes


def test_qwen3_has_head_sizes_of_its_own_and_no_biases() -> None:
    # Published config of Qwen3-0.6B; the hub counts 596,049,920 tensors' numbers with the tied embedding once.
    config = {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "max_position_embeddings": 40960,
        "model_type": "qwen3",
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": True,
        "vocab_size": 151936,
    }
    assert shape_of(config).parameters == 596_049_920


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_experts": 128}, "num_experts: a model with experts"),
        ({"kv_lora_rank": 512}, "latent attention"),
        ({"layer_types": ["linear_attention"]}, "linear_attention"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_a_model_of_another_kind_is_refused(change: dict[str, Any], named: str) -> None:
    config = {name: value for name, value in (_CONFIG | change).items() if value is not None}
    with pytest.raises(InvalidArgumentError, match=named):
        shape_of(config)


def test_an_unknown_model_is_refused_with_those_known() -> None:
    with pytest.raises(NotFoundError, match=r"Qwen/Qwen2\.5-0\.5B-Instruct.*got 'gpt-5'"):
        load_shape("gpt-5")
