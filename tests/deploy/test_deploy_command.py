"""`python -m deploy` as a user runs it, up to the point where services are needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from argo.identity import Role
from argo.token import create
from deploy.layout import Layout
from deploy.plan import ROOT
from deploy.record import StackRecord, process_start, publish
from deploy.roster import SERVICES

Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ARGO_")}
        return subprocess.run(
            [sys.executable, "-m", "deploy", *arguments],
            cwd=ROOT,
            env=environ | {"ARGO_DEPLOY_STATE_DIR": str(tmp_path / "state")} | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return run


@pytest.mark.parametrize("command", [("up",), ("ask", "--", "What is A1?")])
def test_a_missing_documents_folder_is_a_usage_error_that_names_it(command: tuple[str, ...], deploy: Deploy) -> None:
    done = deploy(command[0], "--docs", "/no/such/folder", *command[1:])
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: docs must be a folder of documents, got /no/such/folder, which does not exist"
    ]


def test_an_unknown_setting_is_refused_with_the_one_that_was_meant(deploy: Deploy) -> None:
    done = deploy("env", ARGO_DEPLOY_STATE_DIRS="x")
    assert done.returncode == 2
    assert "unknown setting ARGO_DEPLOY_STATE_DIRS; did you mean ARGO_DEPLOY_STATE_DIR?" in done.stderr


def test_a_setting_out_of_its_bounds_is_named(deploy: Deploy) -> None:
    done = deploy("env", ARGO_DEPLOY_RETRIEVER_PORT="70000")
    assert done.returncode == 2
    assert "ARGO_DEPLOY_RETRIEVER_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_env_prints_names_and_values_for_every_service(deploy: Deploy) -> None:
    shown = json.loads(deploy("env", "--json", ARGO_DEPLOY_ORCHESTRATOR_PORT="40001").stdout)
    assert set(shown) == set(SERVICES)
    assert shown["orchestrator"]["ARGO_ORCHESTRATOR_PORT"] == "40001"
    lines = deploy("env", ARGO_DEPLOY_ORCHESTRATOR_PORT="40001").stdout.splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [
        f"{name}={value}" for service in shown.values() for name, value in service.items()
    ]


def test_a_second_stack_in_one_state_folder_is_refused_with_how_to_stop_the_first(
    deploy: Deploy, tmp_path: Path
) -> None:
    own = StackRecord(
        pid=os.getpid(),
        started=process_start(os.getpid()) or "",
        docs="/some/documents",
        index="/i",
        targets={"orchestrator": "127.0.0.1:50051"},
    )
    with publish(tmp_path / "state", own, pytest.fail):
        done = deploy("up")
    assert done.returncode == 1
    assert f"kill {os.getpid()}" in done.stderr
    assert "/some/documents" in done.stderr


def test_an_index_that_another_launcher_holds_is_refused(deploy: Deploy, tmp_path: Path, documents: Path) -> None:
    zeros = {f"ARGO_DEPLOY_{name.upper()}_PORT": "0" for name in SERVICES}
    with Layout(tmp_path / "state", documents).hold():
        done = deploy("up", "--docs", str(documents), **zeros)
    assert done.returncode == 1
    assert f"another launcher holds the index of {documents}" in done.stderr


def test_a_service_that_cannot_start_ends_the_launcher_with_its_last_words(deploy: Deploy, documents: Path) -> None:
    zeros = {f"ARGO_DEPLOY_{name.upper()}_PORT": "0" for name in SERVICES}
    useless = {"ARGO_ORCHESTRATOR_SESSION_PATH": "/tmp/s", "ARGO_SYNTHESISER_MAX_QUEUED": "8"}
    done = deploy("up", "--docs", str(documents), **zeros, **useless, ARGO_DECOMPOSER_NO_SUCH_SETTING="1")
    assert done.returncode == 1
    assert [line.partition(" has no effect: ")[0] for line in done.stderr.splitlines()[:2]] == [
        "ARGO_ORCHESTRATOR_SESSION_PATH=/tmp/s",
        "ARGO_SYNTHESISER_MAX_QUEUED",
    ]
    assert "decomposer died while starting (exit code 2)" in done.stderr
    assert "  | decomposer: unknown setting ARGO_DECOMPOSER_NO_SUCH_SETTING" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("up",), ("ask", "--", "What is A1?")])
def test_a_mistake_in_the_clients_settings_is_told_before_any_service_starts(
    command: tuple[str, ...], deploy: Deploy, documents: Path, tmp_path: Path
) -> None:
    done = deploy(command[0], "--docs", str(documents), *command[1:], ARGO_CLIENT_TOKENS="x")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: unknown setting ARGO_CLIENT_TOKENS; did you mean ARGO_CLIENT_TOKEN?"]
    assert not (tmp_path / "state").exists()


def test_services_that_ask_for_a_token_which_the_launcher_lacks_end_it_with_one_line_that_says_what_to_set(
    deploy: Deploy, documents: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.jsonl"
    create(tokens, "ci", "radio", [Role.INGEST], None)
    zeros = {f"ARGO_DEPLOY_{name.upper()}_PORT": "0" for name in SERVICES}
    done = deploy("up", "--docs", str(documents), **zeros, ARGO_RETRIEVER_TOKEN_FILE=str(tokens))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: the documents cannot be indexed: ")
    assert last.endswith("; set ARGO_CLIENT_TOKEN to a token with the role ingest")
