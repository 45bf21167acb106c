"""Settings that are wrong say what, and never a key."""

from __future__ import annotations

import pytest
from pydantic_settings import SettingsConfigDict

from argo.errors import InvalidArgumentError
from argo.settings import SettingsError, load
from services.engine.settings import EngineSettings, engine_settings

_KEY = "sk-not-to-be-shown"


class _Settings(EngineSettings):
    model_config = SettingsConfigDict(env_prefix="ARGO_SYNTHESIZER_", frozen=True, extra="forbid")


def test_settings_that_lack_each_other_are_told_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_SYNTHESIZER_ENGINE", "openai")
    monkeypatch.setenv("ARGO_SYNTHESIZER_API_KEY", _KEY)
    with pytest.raises(SettingsError, match=r"ARGO_SYNTHESIZER_\*: engine openai needs base_url and model") as refused:
        load(_Settings)
    assert _KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"engine": "abacus"}, "engine must be one of builtin, vllm, openai, scripted, got 'abacus'"),
        ({"engine": "openai", "api_key": _KEY}, "engine openai needs base_url and model"),
        ({"expected_batch": 0}, "expected_batch should be greater than or equal to 1, got 0"),
        ({"gpus": "0,0", "gpu_memory_share": 2}, "gpus must name each GPU once, got '0,0'; gpu_memory_share should"),
    ],
)
def test_each_wrong_field_is_named_with_its_bound_and_value(fields: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        engine_settings(**fields)
    assert str(refused.value).startswith(said) and _KEY not in str(refused.value)
