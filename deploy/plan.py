"""Which processes make a stack, at which addresses, and with which environment each."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argo.errors import InvalidArgumentError
from argo.target import check_target
from deploy.error import PortInUseError
from deploy.layout import Layout
from deploy.roster import CHROMA, DECOMPOSER, ONE_EACH, ORCHESTRATOR, REDIS, RETRIEVER, SERVICES, SYNTHESIZER, Roster
from deploy.server import chroma_program, chroma_url, redis_program, redis_url
from deploy.settings import DeploySettings

__all__ = [
    "ServicePlan",
    "StackPlan",
    "embedder_of",
    "make_plan",
    "metrics_ports",
    "set_ports",
    "take_metrics_ports",
    "take_ports",
]

ROOT: Final = Path(__file__).resolve().parent.parent
"""The checkout, where the services' packages are."""

_FREE_PORTS: Final = range(20_000, 30_000)
_FREE_TRIES: Final = 200
_LAST_PORT: Final = 65_535


@dataclass(frozen=True)
class ServicePlan:
    """One process: what it runs, where it listens, and the variables that it gets besides the user's own."""

    name: str
    module: str
    target: str
    environment: Mapping[str, str]
    log_path: Path
    metrics_target: str | None = None
    """Where Prometheus reads its metrics; None where it serves none."""
    replica_of: str = ""
    """The service of which it is a replica; empty where it is the only one."""
    program: tuple[str, ...] = ()
    """The program and its arguments of a server that is no module of ours, and is found by its URL, the target."""

    @property
    def service(self) -> str:
        """The service, or the server, that it is or is one of."""
        return self.replica_of or self.name


@dataclass(frozen=True)
class StackPlan:
    """The processes over one documents folder."""

    layout: Layout
    services: tuple[ServicePlan, ...]

    @property
    def targets(self) -> dict[str, str]:
        """Address of each service; of several replicas all, as one target."""
        found: dict[str, list[str]] = {}
        for process in self.services:
            if not process.program:
                found.setdefault(process.service, []).append(process.target)
        return {service: ",".join(targets) for service, targets in found.items()}


def embedder_of(environ: Mapping[str, str]) -> str:
    """The embedder that the user chose; empty for the retriever's default."""
    return environ.get("ARGO_RETRIEVER_EMBEDDER", "")


def set_ports(settings: DeploySettings, roster: Roster = ONE_EACH) -> dict[str, int]:
    """The port of each process as it is set, taken or not; 0 where it is to be a free one.

    Raises:
        InvalidArgumentError: One would be above the last port.
    """
    ports: dict[str, int] = {}
    for name, (service, number) in roster.processes.items():
        first = int(getattr(settings, f"{service}_port"))
        ports[name] = first + number * settings.replica_offset if first else 0
        if ports[name] > _LAST_PORT:
            raise InvalidArgumentError(
                f"ARGO_DEPLOY_REPLICA_OFFSET must leave the port of {name} in 1..{_LAST_PORT}, got {ports[name]}"
            )
    return ports


def take_ports(settings: DeploySettings, *, ephemeral: bool, roster: Roster = ONE_EACH) -> dict[str, int]:
    """The port of each process, found to be free.

    Args:
        settings: Host and ports.
        ephemeral: Take free ports instead of the set ones, so that stacks can run side by side.
        roster: The processes.

    Raises:
        PortInUseError: Another process listens on a set port.
    """
    wanted = dict.fromkeys(roster.processes, 0) if ephemeral else set_ports(settings, roster)
    with contextlib.ExitStack() as stack:
        # All are bound before any is let go, so that no two services are given the same one.
        return {
            name: _take(stack, settings.host, port, name) if port else _take_free(stack, settings.host, name)
            for name, port in wanted.items()
        }


def metrics_ports(settings: DeploySettings, roster: Roster = ONE_EACH) -> dict[str, int]:
    """The metrics port of each service's process as it is set, taken or not; 0 for a free one, empty when off.

    Raises:
        InvalidArgumentError: One would be above the last port.
    """
    if not settings.metrics_offset:
        return {}
    ports = {
        name: port + settings.metrics_offset if port else 0
        for name, port in set_ports(settings, roster).items()
        if name not in roster.servers
    }
    for name, port in ports.items():
        if port > _LAST_PORT:
            raise InvalidArgumentError(
                f"ARGO_DEPLOY_METRICS_OFFSET must leave the metrics port of {name} in 1..{_LAST_PORT}, got {port}"
            )
    return ports


def take_metrics_ports(settings: DeploySettings, taken: Mapping[str, int], roster: Roster = ONE_EACH) -> dict[str, int]:
    """The metrics port of each service's process, found to be free; empty when off.

    Args:
        settings: Host, ports and offset.
        taken: The processes' own ports.
        roster: The processes.

    Raises:
        PortInUseError: Another process listens on one, or one is a process's own.
    """
    with contextlib.ExitStack() as stack:
        # Held meanwhile, so that none of them is given out again.
        for port in taken.values():
            _bind(stack, settings.host, port)
        return {
            name: _take(stack, settings.host, port, name, "METRICS_OFFSET")
            if port
            else _take_free(stack, settings.host, name)
            for name, port in metrics_ports(settings, roster).items()
        }


def _take(stack: contextlib.ExitStack, host: str, port: int, name: str, setting: str = "") -> int:
    try:
        return _bind(stack, host, port)
    except OSError as error:
        raise PortInUseError(
            f"{name} needs port {port} on {host}: {os.strerror(error.errno or 0)}. Stop what listens there "
            f"(ss -ltnp 'sport = :{port}' names it), or set "
            + (
                f"ARGO_DEPLOY_{setting} to another number (0 serves no metrics)"
                if setting
                else f"ARGO_DEPLOY_{name.partition('-')[0].upper()}_PORT to another port (0 takes a free one)"
            )
        ) from None


def _take_free(stack: contextlib.ExitStack, host: str, name: str) -> int:
    # Not the kernel's choice: it gives out the ports of outgoing connections, of which the services make some before
    # the last of them listens. No seed: two launchers must not try the same ports.
    for port in random.sample(_FREE_PORTS, _FREE_TRIES):
        with contextlib.suppress(OSError):
            return _bind(stack, host, port)
    raise PortInUseError(
        f"{name} found no free port on {host} in {_FREE_TRIES} tries within "
        f"{_FREE_PORTS.start}..{_FREE_PORTS.stop - 1}; is {host} an address of this machine?"
    )


def _bind(stack: contextlib.ExitStack, host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    # As the services do it: a port whose last connections are still closing is free.
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((host, port))
    taken.listen()
    return port


def make_plan(
    settings: DeploySettings,
    layout: Layout,
    ports: Mapping[str, int],
    metrics: Mapping[str, int] | None = None,
    roster: Roster = ONE_EACH,
) -> StackPlan:
    """Give every process its address, its files and the addresses of those it calls.

    Args:
        settings: Host.
        layout: Files.
        ports: Of each process.
        metrics: Metrics port of each process that serves any.
        roster: The processes.

    Raises:
        InvalidArgumentError: The host is a name and a service has several replicas.
        StartError: A server that is needed is not installed.
    """
    metrics = metrics or {}
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    targets = {
        service: check_target("ARGO_DEPLOY_HOST", ",".join(f"{host}:{ports[name]}" for name in roster.names(service)))
        for service in SERVICES
    }
    own = _environments(layout, host, ports, targets, roster)
    processes = [_server(name, settings.host, host, ports[name], layout) for name in roster.servers]
    for name, (service, _) in roster.processes.items():
        if service not in SERVICES:
            continue
        prefix = f"ARGO_{service.upper()}"
        environment = {
            f"{prefix}_HOST": host,
            f"{prefix}_PORT": str(ports[name]),
            **own[service],
            "ARGO_TELEMETRY_SPAN_DIR": str(layout.span_dir),
        }
        metrics_target: str | None = None
        if name in metrics:
            metrics_target = f"{host}:{metrics[name]}"
            environment[f"{prefix}_METRICS_HOST"] = settings.host
            environment[f"{prefix}_METRICS_PORT"] = str(metrics[name])
        target, log_path = f"{host}:{ports[name]}", layout.log_dir / f"{name}.log"
        replica_of = "" if name == service else service
        processes.append(
            ServicePlan(name, SERVICES[service], target, environment, log_path, metrics_target, replica_of)
        )
    return StackPlan(layout, tuple(processes))


def _environments(
    layout: Layout, host: str, ports: Mapping[str, int], targets: Mapping[str, str], roster: Roster
) -> dict[str, dict[str, str]]:
    """What each service is told besides its own address."""
    sessions = {"ARGO_ORCHESTRATOR_SESSION_PATH": str(layout.session_path)}
    index = {"ARGO_RETRIEVER_INDEX_PATH": str(layout.index_dir)}
    if REDIS in roster.servers:
        sessions = {"ARGO_ORCHESTRATOR_SESSION_URL": redis_url(layout.redis_dir, host, ports[REDIS])}
    if CHROMA in roster.servers:
        index = {"ARGO_RETRIEVER_CHROMA_URL": chroma_url(host, ports[CHROMA])}
    callees = {
        f"ARGO_ORCHESTRATOR_{service.upper()}_TARGET": targets[service]
        for service in (DECOMPOSER, RETRIEVER, SYNTHESIZER)
    }
    return {ORCHESTRATOR: callees | sessions, DECOMPOSER: {}, RETRIEVER: index, SYNTHESIZER: {}}


def _server(name: str, address: str, host: str, port: int, layout: Layout) -> ServicePlan:
    log_path = layout.log_dir / f"{name}.log"
    if name == REDIS:
        program, target = redis_program(layout.redis_dir, address, port), redis_url(layout.redis_dir, host, port)
    else:
        program, target = chroma_program(layout.index_dir, address, port), chroma_url(host, port)
    # Chroma writes ten lines about each request otherwise, and retrievers look at it all the time.
    environment = {"RUST_LOG": "warn"} if name == CHROMA else {}
    return ServicePlan(name, "", target, environment, log_path, program=program)
