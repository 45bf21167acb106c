"""The health check of a container."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from argo.healthcheck import main, status

_STATUS = health_pb2.HealthCheckResponse


@pytest.fixture
def healths() -> Iterator[tuple[str, health.HealthServicer]]:
    """A server of the health protocol alone."""
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer
    server.stop(None).wait()


@pytest.mark.parametrize(("said", "code"), [(_STATUS.SERVING, 0), (_STATUS.NOT_SERVING, 1)])
def test_the_exit_code_is_the_health_of_the_service(
    healths: tuple[str, health.HealthServicer], said: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    target, servicer = healths
    servicer.set("", said)
    assert main([target]) == code
    assert capsys.readouterr().err == ("" if code == 0 else f"{target}: NOT_SERVING\n")


def test_no_answer_is_a_failure_within_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    # A port that takes connections and never answers, as a frozen service does.
    with socket.create_server(("127.0.0.1", 0)) as held:
        target = f"127.0.0.1:{held.getsockname()[1]}"
        assert status(target, 0.2) == "DEADLINE_EXCEEDED"
        assert main([target, "--timeout-s", "0.2"]) == 1
    assert "DEADLINE_EXCEEDED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["127.0.0.1:1", "--timeout-s", "0"], "--timeout-s must be over 0 and at most 60, got 0"),
        (["127.0.0.1:1", "--key", "k"], "--certificate and --key must be given together"),
        (["127.0.0.1:1", "--certificate", "c", "--key", "k"], "--key needs --ca"),
        (["127.0.0.1:1", "--ca", "/nowhere"], "cannot read /nowhere: No such file or directory"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_it_imports_nothing_that_is_slow_to_load() -> None:
    code = "import argo.healthcheck, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"pydantic", "opentelemetry.sdk", "typer", "argo.rpc"} & set(loaded) == set()
