"""A stack with mutual TLS on every hop and tokens at the front, every hop through a proxy, and the files of both."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_network import BEHIND, Network, network
from fault_process import PATIENCE_S, Process, bare_environ
from tls_files import client_tls, make

from argo.client import Client
from argo.identity import Role
from argo.token import create
from deploy.plan import ROOT
from deploy.roster import ORCHESTRATOR, RETRIEVER, SERVICES

CLIENT = "client"
"""The folder of the pair that is no service's."""
_OWN = {"TLS_CERTIFICATE": "tls.crt", "TLS_KEY": "tls.key", "TLS_CLIENT_CA": "ca.crt"}
_AS_CLIENT = {"PEER_TLS_CERTIFICATE": "tls.crt", "PEER_TLS_KEY": "tls.key", "PEER_TLS_CA": "ca.crt"}


@dataclass
class Edge:
    """The stack and its files; :attr:`operator` is a token of tenant radio that may ask and ingest."""

    net: Network
    folder: Path
    tokens: Path
    operator: str

    @contextlib.asynccontextmanager
    async def client(self, **more: Any) -> AsyncIterator[Client]:
        """A client through the proxy; as the operator, with the pair of :data:`CLIENT`, unless told otherwise."""
        async with self.net.stack.client(self.net[ORCHESTRATOR].target, **more) as client:
            yield client

    def token(self, name: str, tenant: str, *roles: Role) -> str:
        """A new one."""
        return create(self.tokens, name, tenant, roles)[0]


def secured(folder: Path) -> dict[str, str]:
    """What deploy/compose.tls.yaml sets, for files in a folder."""
    found = {
        f"ARGO_{service.upper()}_{name}": str(folder / service / file)
        for service in SERVICES
        for name, file in _OWN.items()
    }
    found |= {f"ARGO_ORCHESTRATOR_{name}": str(folder / ORCHESTRATOR / file) for name, file in _AS_CLIENT.items()}
    return found | {f"ARGO_{service.upper()}_TLS_PEER_NAMES": ORCHESTRATOR for service in BEHIND}


@contextlib.asynccontextmanager
async def edge_stack(base: Path) -> AsyncIterator[Edge]:
    """A stack as docs/operating.md sets it up."""
    folder, tokens = make(base / "certificates"), base / "tokens.jsonl"
    operator, _ = create(tokens, "operator", "radio", [Role.ASK, Role.INGEST])
    settings = secured(folder) | {f"ARGO_{name.upper()}_TOKEN_FILE": str(tokens) for name in (ORCHESTRATOR, RETRIEVER)}

    def look_into(process: Process) -> None:
        # As the orchestrator, whose name the services behind it know.
        process.tls = client_tls(folder, ORCHESTRATOR)

    entry = {"tls": client_tls(folder, CLIENT), "token": operator}
    async with network(base, settings=settings, entry=entry, wrap=look_into) as net:
        yield Edge(net, folder, tokens, operator)


def run_alone(service: str, settings: dict[str, str]) -> tuple[int, str]:
    """Start a service that is to end by itself; its exit code and what it said."""
    environ = bare_environ() | {name: value for name, value in settings.items() if f"_{service.upper()}_" in name}
    ended = subprocess.run(
        [sys.executable, "-m", SERVICES[service]],
        cwd=ROOT,
        env=environ | {f"ARGO_{service.upper()}_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return ended.returncode, ended.stderr


def put(file: Path, data: bytes) -> None:
    """Replace a file as a whole, as whoever renews it does."""
    fresh = file.with_suffix(".new")
    fresh.write_bytes(data)
    os.replace(fresh, file)
