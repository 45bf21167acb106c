"""Settings from the environment."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from argo.settings import ClientSettings, SettingsError, TelemetrySettings, load


def test_an_unknown_name_under_the_prefix_stops_with_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_CLIENT_TARGT", "127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"unknown setting ARGO_CLIENT_TARGT; did you mean ARGO_CLIENT_TARGET?"):
        load(ClientSettings)


def test_an_unknown_name_that_resembles_none_lists_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_CLIENT_XXXXXXXXXXXXXXXXXXXXXXXX", "1")
    with pytest.raises(SettingsError, match=r"known: ARGO_CLIENT_.*CLIENT_RETRIEVER_TARGET, .*CLIENT_TOKEN"):
        load(ClientSettings)


def test_names_of_another_prefix_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_OTHER_THING", "1")
    assert load(ClientSettings).target == "127.0.0.1:50051"


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_CLIENT_TARGET", "ric.example:50051")
    assert load(ClientSettings).target == "ric.example:50051"


def test_a_value_out_of_bounds_names_variable_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_TELEMETRY_SAMPLE_RATIO", "1.5")
    with pytest.raises(SettingsError, match=r"ARGO_TELEMETRY_SAMPLE_RATIO: .*less than or equal to 1.*got '1.5'"):
        load(TelemetrySettings)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(ClientSettings).target = "elsewhere:1"  # type: ignore[misc]
