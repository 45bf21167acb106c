"""A stack whose every hop goes through a proxy: client to orchestrator, and orchestrator to each service."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_process import Process
from fault_stack import Stack, running
from faulting_proxy import FaultingProxy

from argo.client import Client
from deploy.roster import ORCHESTRATOR, SERVICES

BEHIND = tuple(name for name in SERVICES if name != ORCHESTRATOR)


@dataclass
class Network:
    """A running stack, and the proxy in front of each service by its name."""

    stack: Stack
    proxies: Mapping[str, FaultingProxy]

    def __getitem__(self, service: str) -> FaultingProxy:
        return self.proxies[service]

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client of the orchestrator, through its proxy."""
        async with self.stack.client(self.proxies[ORCHESTRATOR].target) as client:
            yield client

    async def heal(self) -> None:
        """Lift every fault."""
        for proxy in self.proxies.values():
            await proxy.heal()


@contextlib.asynccontextmanager
async def network(
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    wrap: Callable[[Process], None] = lambda process: None,
    **more: Any,
) -> AsyncIterator[Network]:
    """A stack of one process for each service, with a proxy in front of each.

    Args:
        folder: For all that it writes.
        settings: As :func:`fault_stack.running` takes them, and so are the others.
        wrap: See there.
        more: See there.
    """
    async with contextlib.AsyncExitStack() as held:
        proxies = {name: await held.enter_async_context(FaultingProxy.before()) for name in SERVICES}
        targets = {f"ARGO_ORCHESTRATOR_{name.upper()}_TARGET": proxies[name].target for name in BEHIND}

        def between(process: Process) -> None:
            proxies[process.service].service = process.target
            wrap(process)

        stack = await held.enter_async_context(
            running(folder, settings=targets | dict(settings or {}), wrap=between, **more)
        )
        yield Network(stack, proxies)
