"""Which session store the settings ask for, and what is said of a wrong one; no server is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from argo.errors import InvalidArgumentError, UnavailableError
from argo.settings import SettingsError, load
from orchestrator.session_factory import make_store
from orchestrator.session_redis import RedisSessionStore
from orchestrator.session_sqlite import SqliteSessionStore
from orchestrator.settings import OrchestratorSettings


def _settings(url: str) -> OrchestratorSettings:
    return OrchestratorSettings(session_url=SecretStr(url))


async def test_without_a_url_sessions_are_kept_in_a_file(tmp_path: Path) -> None:
    assert isinstance(make_store(OrchestratorSettings(session_path=tmp_path / "s.db")), SqliteSessionStore)


async def test_with_a_url_they_are_kept_in_redis() -> None:
    assert isinstance(make_store(_settings("redis://127.0.0.1:6379/0")), RedisSessionStore)


@pytest.mark.parametrize("url", ["http://:hush@host", "redis://", "host:6379", "redis://:hush@", "unix://"])
async def test_another_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="session_url must be redis://host:port/db") as refused:
        make_store(_settings(url))
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["redis://me:hush@127.0.0.1:99999/0", "redis://me:hush@h:1/0?socket_timeout=x", "redis://:hush@h/?nosuch=1"]
)
async def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"session_url .* cannot be used") as refused:
        await make_store(_settings(url)).open()
    assert "hush" not in str(refused.value)


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    store = RedisSessionStore("redis://me:hush@127.0.0.1:1/0", 60.0, patience_s=0)
    with pytest.raises(UnavailableError, match=r"^session store redis://127\.0\.0\.1:1/0 cannot be reached") as refused:
        await store.open()
    assert "hush" not in str(refused.value)
    await store.close()


def test_a_password_is_in_no_text_of_the_settings() -> None:
    settings = _settings("redis://:hush@host:6379/0")
    assert "hush" not in f"{settings!r} {settings}"


def test_a_lease_out_of_its_bounds_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_ORCHESTRATOR_SESSION_LEASE_S", "0.1")
    with pytest.raises(SettingsError, match=r"ARGO_ORCHESTRATOR_SESSION_LEASE_S: .* 0.5, got '0.1'"):
        load(OrchestratorSettings)
