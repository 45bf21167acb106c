from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from argo.errors import InvalidArgumentError
from services.engine.option import installed_options, known_options, options_of
from services.engine.port import EngineOptionError
from services.engine.profile import Profile, changes, check_options, load_profile, profile_names

_FOLDER = Path(__file__).resolve().parents[3] / "services/engine/profiles"
_LADDER = (
    "cuda_graphs memory_share model_len bf16 prefix_caching chunked_prefill async_scheduling seqs_64 seqs_96 seqs_128 "
    "seqs_256 batched_tokens greedy"
).split()
_ALTERNATIVES = (
    "awq block_32 capture_358 combo_kernels epilogue_fusion every_token flash_attention flashinfer fp8_kv_cache "
    "fp8_weights gptq_int8 half_b int8_weights interactivity max_autotune ngram no_compile priority seven_b "
    "tensor_parallel throughput triton_attention"
).split()


def _base(profile: Profile) -> Profile:
    assert profile.base is not None
    return load_profile(profile.base)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_loads_under_its_own_name_and_says_what_it_is(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.label == f"{name}@{profile.version}"
    assert profile.summary and profile.avoid_when and profile.source


@pytest.mark.parametrize("name", profile_names())
def test_every_option_is_one_of_each_checked_vllm_unless_its_entry_says_that_it_is_gone(name: str) -> None:
    profile = load_profile(name)
    missing = {version: set(profile.engine) - options for version, options in known_options().items()}
    if profile.status.startswith("removed"):
        assert all(missing.values())
    else:
        assert not any(missing.values()), missing


@pytest.mark.parametrize("name", profile_names())
def test_what_is_inherited_is_not_said_again(name: str) -> None:
    profile = load_profile(name)
    if profile.base is None:
        return
    own = json.loads((_FOLDER / f"{name}.json").read_text())
    base = _base(profile)
    assert [option for option, value in own["engine"].items() if base.engine.get(option) == value] == []
    for role in ("decomposer", "synthesizer"):
        before = getattr(base, role).model_dump()
        assert [field for field, value in own.get(role, {}).items() if before[field] == value] == []


@pytest.mark.parametrize(
    ("name", "model", "tokens", "temperatures"),
    [
        # As the issue of these engines lists them.
        ("baseline", "Qwen/Qwen2.5-3B-Instruct", (128, 512), (0.7, 0.3)),
        ("params", "Qwen/Qwen2.5-3B-Instruct", (50, 200), (0.7, 0.3)),
        ("model_params", "Qwen/Qwen2.5-1.5B-Instruct", (50, 200), (0.5, 0.2)),
        ("half_b", "Qwen/Qwen2.5-0.5B-Instruct", (50, 200), (0.0, 0.0)),
        ("seven_b", "Qwen/Qwen2.5-7B-Instruct", (50, 200), (0.0, 0.0)),
        ("default", "Qwen/Qwen2.5-1.5B-Instruct", (50, 200), (0.0, 0.0)),
    ],
)
def test_models_lengths_and_temperatures(
    name: str, model: str, tokens: tuple[int, int], temperatures: tuple[float, float]
) -> None:
    profile = load_profile(name)
    assert profile.model == model
    assert (profile.decomposer.max_tokens, profile.synthesizer.max_tokens) == tokens
    assert (profile.decomposer.temperature, profile.synthesizer.temperature) == temperatures


def test_the_baseline_has_every_acceleration_off() -> None:
    engine = load_profile("baseline").engine
    assert engine["enforce_eager"] is True
    assert not any(engine[option] for option in ("enable_prefix_caching", "enable_chunked_prefill", "async_scheduling"))


def test_the_ladder_goes_from_the_baseline_to_the_default_one_change_a_rung() -> None:
    previous = "model_params"
    for name in _LADDER:
        profile = load_profile(name)
        assert profile.base == previous
        changed = {change.setting.rpartition(".")[2] for change in changes(_base(profile), profile)}
        assert len(changed) == 1, (name, changed)
        previous = name
    last, default = load_profile(_LADDER[-1]), load_profile("default")
    # What is left is streaming, and options that the ladder turns on and the default leaves to vLLM, which does too.
    assert {change.setting for change in changes(last, default)} == {
        "stream_interval",
        "enforce_eager",
        "enable_chunked_prefill",
        "async_scheduling",
    }


@pytest.mark.parametrize("name", _ALTERNATIVES)
def test_each_alternative_is_one_change_to_the_default(name: str) -> None:
    profile = load_profile(name)
    assert profile.base == "default"
    # A capture size needs as many sequences; the level of compilation comes with its kernels; the throughput mode
    # changes only what is not set.
    allowed = {"capture_358": 2, "combo_kernels": 2, "throughput": 3}.get(name, 1)
    assert len(changes(_base(profile), profile)) == allowed


def test_the_throughput_mode_has_something_to_change() -> None:
    assert not {"max_num_seqs", "max_num_batched_tokens"} & set(load_profile("throughput").engine)


def test_capture_sizes_reach_the_expected_batch_and_rise() -> None:
    engine = load_profile("capture_358").engine
    sizes = engine["cudagraph_capture_sizes"]
    assert sizes[-1] == engine["max_num_seqs"] == 358
    assert sizes == sorted(set(sizes))


def test_a_number_in_an_effect_names_the_hardware() -> None:
    told = [profile for profile in map(load_profile, profile_names()) if profile.effect]
    assert len(told) >= 4
    assert [profile.name for profile in told if not re.match(r"One [A-Z0-9]+", profile.effect)] == []


def test_changes_say_what_was_and_what_is() -> None:
    said = [str(change) for change in changes(load_profile("baseline"), load_profile("params"))]
    assert said == ["decomposer.max_tokens 128 -> 50", "synthesizer.max_tokens 512 -> 200"]
    assert [str(change) for change in changes(load_profile("default"), load_profile("block_32"))] == ["block_size=32"]
    assert [str(change) for change in changes(load_profile("block_32"), load_profile("default"))] == [
        "block_size 32 -> unset"
    ]
    assert changes(load_profile("default"), load_profile("default")) == ()


def test_an_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"baseline.*default.*got 'fastest'"):
        load_profile("fastest")


def test_an_option_that_the_installed_engine_lacks_is_refused_by_name() -> None:
    removed = load_profile("swap_space")
    for version, options in known_options().items():
        with pytest.raises(EngineOptionError, match=rf"vLLM {version} has no option swap_space"):
            check_options(removed.engine, options, f"vLLM {version}")
    check_options(load_profile("default").engine, known_options()["0.26.0"], "vLLM 0.26.0")


def test_options_are_read_from_the_source_with_those_inherited(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "arg_utils.py").write_text(
        "from typing import ClassVar\n"
        "class Other:\n    nothing: int = 0\n"
        "class EngineArgs:\n    model: str = ''\n    limit: ClassVar[int] = 3\n    seed = 1\n"
        "class AsyncEngineArgs(EngineArgs):\n    enable_log_requests: bool = False\n"
    )
    assert options_of(tmp_path) == {"model", "enable_log_requests"}


def test_the_checked_versions_are_those_of_the_gpu_and_of_the_cpu_build() -> None:
    assert list(known_options()) == ["0.26.0", "0.32.0"]
    assert all({"model", "dtype", "max_num_seqs"} <= options for options in known_options().values())


def test_without_vllm_there_are_no_installed_options() -> None:
    installed = installed_options()
    assert installed is None or "max_num_seqs" in installed
