"""The profiles' options against the installed vLLM: it has them, and reads each value."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from services.engine.option import installed_options, installed_version, known_options
from services.engine.port import EngineOptionError
from services.engine.profile import check_options, load_profile, profile_names

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore:::(torch|transformers|vllm)"),
]

_GONE = [name for name in profile_names() if load_profile(name).status.startswith("removed")]
_RUNS = [name for name in profile_names() if name not in _GONE]


def _arguments() -> Any:
    from vllm.engine.arg_utils import AsyncEngineArgs

    return AsyncEngineArgs


def test_options_read_from_the_source_are_the_fields_of_the_class() -> None:
    assert installed_options() == {field.name for field in dataclasses.fields(_arguments())}


def test_the_committed_options_of_this_version_are_the_installed_ones() -> None:
    version = str(installed_version())
    assert version in known_options()
    assert known_options()[version] == installed_options()


@pytest.mark.parametrize("name", _RUNS)
def test_vllm_takes_every_option_of_a_profile_with_its_value(name: str, tiny_qwen2: Path) -> None:
    profile = load_profile(name)
    # A folder, since a name would be looked for at the hub.
    arguments = _arguments()(model=str(tiny_qwen2), **profile.engine)
    for option, value in profile.engine.items():
        if not isinstance(value, dict):
            assert getattr(arguments, option) == value


@pytest.mark.parametrize("name", _GONE)
def test_vllm_lacks_what_an_entry_says_is_gone(name: str) -> None:
    with pytest.raises(EngineOptionError, match="has no option"):
        check_options(load_profile(name).engine, installed_options() or (), f"vLLM {installed_version()}")
    with pytest.raises(TypeError):
        _arguments()(**load_profile(name).engine)


def test_the_values_of_the_profiles_are_among_those_that_vllm_knows() -> None:
    from typing import get_args

    from vllm.config.cache import CacheDType
    from vllm.config.scheduler import SchedulerPolicy
    from vllm.config.vllm import PerformanceMode
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    known = {
        "kv_cache_dtype": get_args(CacheDType),
        "scheduling_policy": get_args(SchedulerPolicy),
        "performance_mode": get_args(PerformanceMode),
        "quantization": QUANTIZATION_METHODS,
        "attention_backend": AttentionBackendEnum.__members__,
    }
    for name in _RUNS:
        for option, value in load_profile(name).engine.items():
            assert option not in known or value in known[option], (name, option, value)


def test_nested_options_are_ones_that_vllm_knows() -> None:
    from vllm.config.compilation import CompilationConfig, PassConfig
    from vllm.config.speculative import SpeculativeConfig

    compilation, passes, speculative = (
        {field.name for field in dataclasses.fields(config)}
        for config in (CompilationConfig, PassConfig, SpeculativeConfig)
    )
    for name in _RUNS:
        engine = load_profile(name).engine
        nested = engine.get("compilation_config", {})
        assert set(nested) <= compilation
        assert set(nested.get("pass_config", {})) <= passes
        assert set(engine.get("speculative_config", {})) <= speculative


def test_inductor_options_are_ones_that_pytorch_knows() -> None:
    import torch._inductor.config as inductor

    for name in _RUNS:
        nested = load_profile(name).engine.get("compilation_config", {})
        for option in nested.get("inductor_compile_config", {}):
            assert hasattr(inductor, option), (name, option)
