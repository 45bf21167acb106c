"""compose.yaml without containers: its processes, with its environment, under the launcher, through a question.

Only what a container's network and mounts would do is done otherwise: names of services become addresses on the
loopback, ports become free ones, and the places of volumes become folders.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from compose_project import BIN, Container, containers, merged

from argo.trace import read_traces
from deploy import certificates
from deploy.layout import Layout
from deploy.plan import ROOT, ServicePlan, StackPlan, take_ports
from deploy.settings import DeploySettings
from deploy.stack import Stack
from deploy.terminal import Terminal

pytestmark = pytest.mark.deploy

_START_S = 100.0
_DOCUMENTS = ROOT / "examples" / "oran"


@dataclass(frozen=True)
class Place:
    """Where the project runs instead of in containers."""

    containers: Mapping[str, Container]
    ports: Mapping[str, int]
    folder: Path

    def target(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def here(self, container: Container, value: str) -> str:
        """A value of a container as it is said here."""
        for name in self.ports:
            value = value.replace(f"{name}:{self.containers[name].port}", self.target(name))
        for source, place in container.mounts:
            folder = self.folder / source if not source.startswith("../") else _DOCUMENTS
            value = value.replace(place, str(folder))
        if container.is_service:
            value = value.replace(f"127.0.0.1:{container.port}", self.target(container.name))
            value = value if value != str(container.port) else str(self.ports[container.name])
        return value if value != "0.0.0.0" else "127.0.0.1"

    def environment(self, container: Container) -> dict[str, str]:
        own = {name: self.here(container, value) for name, value in container.environment.items()}
        # Jaeger is not here; the same spans go to a folder.
        own.pop("ARGO_TELEMETRY_OTLP_ENDPOINT", None)
        # Each container has the whole of the ports; here the metrics take free ones.
        own |= {name: "0" for name in own if name.endswith("_METRICS_PORT")}
        return own | {"ARGO_TELEMETRY_SPAN_DIR": str(self.folder / "span")}

    def command(self, container: Container) -> list[str]:
        words = [self.here(container, word) for word in container.command]
        return [str(BIN / "python" if words[0] == "python" else BIN / words[0]), *words[1:]]


@pytest.fixture(params=[(), ("compose.tls.yaml",)], ids=["clear", "tls"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, Stack]]:
    """The services of compose.yaml, without and with TLS laid over it, each healthy by its own check."""
    settings = DeploySettings(state_dir=tmp_path)
    project = {one.name: one for one in containers(merged(("compose.yaml", *request.param)))}
    certificates.write(tmp_path / "certificates", (), 2, Terminal())
    services = {name: one for name, one in project.items() if one.is_service}
    here = Place(project, take_ports(settings, ephemeral=True), tmp_path)
    layout = Layout(settings.state_dir, _DOCUMENTS)
    plan = StackPlan(
        layout,
        tuple(
            ServicePlan(name, one.module, here.target(name), here.environment(one), layout.log_dir / f"{name}.log")
            for name, one in services.items()
        ),
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARGO_")}
    for source in ("sessions", "index"):
        (tmp_path / source).mkdir()
    with Stack(plan, settings, environ, Terminal()) as stack:
        stack.start()
        _healthy(here)
        yield here, stack


def _run(place: Place, name: str, *command: str) -> subprocess.CompletedProcess[str]:
    container = place.containers[name]
    environ = {"PATH": os.environ["PATH"], **place.environment(container)}
    words = list(command) or place.command(container)
    return subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=100)


def _healthy(place: Place) -> None:
    """What `condition: service_healthy` waits for: each container's own check."""
    for name in place.ports:
        container = place.containers[name]
        check = [place.here(container, word) for word in container.spec["healthcheck"]["test"][1:]]
        until = time.monotonic() + _START_S
        # The engine asks again and again, until a container is healthy or has had its time to start.
        while True:
            done = _run(place, name, sys.executable, *check[1:])
            if done.returncode == 0 or time.monotonic() > until:
                break
        assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.mark.timeout(200)
def test_the_processes_of_compose_index_the_documents_and_answer_a_question_in_one_trace(
    running: tuple[Place, Stack],
) -> None:
    place, stack = running
    indexed = _run(place, "documents")
    assert indexed.returncode == 0, indexed.stderr
    ask = [str(BIN / "argo"), "ask", "What is the A1 interface for?", "--budget-ms", "0", "--json"]
    asked = _run(place, "argo", *ask)
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout.splitlines()[-1])
    assert "A1" in answer["text"]
    assert answer["degradations"] == []
    assert {one["source"] for one in answer["citations"]} <= {path.name for path in _DOCUMENTS.iterdir()}
    health = _run(place, "argo")
    assert health.returncode == 0, health.stdout
    # A service that stops writes what it still holds.
    stack.stop()
    trace = next(one for one in read_traces(place.folder / "span") if one.trace_id == answer["trace_id"])
    assert {span.service for span in trace.spans} == {"cli", *place.ports}
    assert trace.tree.root.service == "cli"
