"""Which four processes make a stack, at which addresses, and with which environment each."""

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
from deploy.error import PortInUseError
from deploy.layout import Layout
from deploy.settings import DeploySettings

__all__ = [
    "SERVICES",
    "ServicePlan",
    "StackPlan",
    "embedder_of",
    "make_plan",
    "metrics_ports",
    "set_ports",
    "take_metrics_ports",
    "take_ports",
]

ORCHESTRATOR: Final = "orchestrator"
DECOMPOSER: Final = "decomposer"
RETRIEVER: Final = "retriever"
SYNTHESIZER: Final = "synthesizer"

SERVICES: Final = {
    # The slowest to start comes first.
    RETRIEVER: "services.retriever",
    ORCHESTRATOR: "orchestrator",
    SYNTHESIZER: "services.synthesizer",
    DECOMPOSER: "services.decomposer",
}
"""Module of each service, in the order of their start."""

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


@dataclass(frozen=True)
class StackPlan:
    """The four processes over one documents folder."""

    layout: Layout
    services: tuple[ServicePlan, ...]

    @property
    def targets(self) -> dict[str, str]:
        """Address of each service by name."""
        return {service.name: service.target for service in self.services}


def embedder_of(environ: Mapping[str, str]) -> str:
    """The embedder that the user chose; empty for the retriever's default."""
    return environ.get("ARGO_RETRIEVER_EMBEDDER", "")


def set_ports(settings: DeploySettings) -> dict[str, int]:
    """The port of each service as it is set, taken or not."""
    return {name: int(getattr(settings, f"{name}_port")) for name in SERVICES}


def take_ports(settings: DeploySettings, *, ephemeral: bool) -> dict[str, int]:
    """The port of each service, found to be free.

    Args:
        settings: Host and ports.
        ephemeral: Take free ports instead of the set ones, so that stacks can run side by side.

    Raises:
        PortInUseError: Another process listens on a set port.
    """
    wanted = dict.fromkeys(SERVICES, 0) if ephemeral else set_ports(settings)
    with contextlib.ExitStack() as stack:
        # All are bound before any is let go, so that no two services are given the same one.
        return {
            name: _take(stack, settings.host, port, name) if port else _take_free(stack, settings.host, name)
            for name, port in wanted.items()
        }


def metrics_ports(settings: DeploySettings) -> dict[str, int]:
    """The metrics port of each service as it is set, taken or not; 0 where it is to be a free one, empty when off.

    Raises:
        InvalidArgumentError: One would be above the last port.
    """
    if not settings.metrics_offset:
        return {}
    ports = {name: port + settings.metrics_offset if port else 0 for name, port in set_ports(settings).items()}
    for name, port in ports.items():
        if port > _LAST_PORT:
            raise InvalidArgumentError(
                f"ARGO_DEPLOY_METRICS_OFFSET must leave the metrics port of {name} in 1..{_LAST_PORT}, got {port}"
            )
    return ports


def take_metrics_ports(settings: DeploySettings, taken: Mapping[str, int]) -> dict[str, int]:
    """The metrics port of each service, found to be free; empty when off.

    Args:
        settings: Host, ports and offset.
        taken: The services' own ports.

    Raises:
        PortInUseError: Another process listens on one, or one is a service's own.
    """
    with contextlib.ExitStack() as stack:
        # Held meanwhile, so that none of them is given out again.
        for port in taken.values():
            _bind(stack, settings.host, port)
        return {
            name: _take(stack, settings.host, port, name, "METRICS_OFFSET")
            if port
            else _take_free(stack, settings.host, name)
            for name, port in metrics_ports(settings).items()
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
                else f"ARGO_DEPLOY_{name.upper()}_PORT to another port (0 takes a free one)"
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
    settings: DeploySettings, layout: Layout, ports: Mapping[str, int], metrics: Mapping[str, int] | None = None
) -> StackPlan:
    """Give every service its address, its files and the addresses of those it calls.

    Args:
        settings: Host.
        layout: Files.
        ports: Of each service.
        metrics: Metrics port of each service that serves any.
    """
    metrics = metrics or {}
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    targets = {name: f"{host}:{port}" for name, port in ports.items()}
    own: dict[str, dict[str, str]] = {
        ORCHESTRATOR: {
            "ARGO_ORCHESTRATOR_DECOMPOSER_TARGET": targets[DECOMPOSER],
            "ARGO_ORCHESTRATOR_RETRIEVER_TARGET": targets[RETRIEVER],
            "ARGO_ORCHESTRATOR_SYNTHESIZER_TARGET": targets[SYNTHESIZER],
            "ARGO_ORCHESTRATOR_SESSION_PATH": str(layout.session_path),
        },
        DECOMPOSER: {},
        RETRIEVER: {"ARGO_RETRIEVER_INDEX_PATH": str(layout.index_dir)},
        SYNTHESIZER: {},
    }
    services = []
    for name, module in SERVICES.items():
        environment = {
            f"ARGO_{name.upper()}_HOST": host,
            f"ARGO_{name.upper()}_PORT": str(ports[name]),
            **own[name],
            "ARGO_TELEMETRY_SPAN_DIR": str(layout.span_dir),
        }
        metrics_target: str | None = None
        if name in metrics:
            metrics_target = f"{host}:{metrics[name]}"
            environment[f"ARGO_{name.upper()}_METRICS_HOST"] = settings.host
            environment[f"ARGO_{name.upper()}_METRICS_PORT"] = str(metrics[name])
        log_path = layout.log_dir / f"{name}.log"
        services.append(ServicePlan(name, module, targets[name], environment, log_path, metrics_target))
    return StackPlan(layout, tuple(services))
