"""The processes of one machine: started together, watched, restarted, and stopped without remains."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from argo.tls import TlsFiles
from deploy.backoff import Backoff
from deploy.error import StartError
from deploy.plan import StackPlan
from deploy.process import ChildProcess, describe_exit, stop_all
from deploy.roster import ORCHESTRATOR
from deploy.settings import DeploySettings
from deploy.terminal import Terminal, shown

__all__ = ["Stack"]

_POLL_S: Final = 0.05


async def _serving(target: str, tls: TlsFiles | None) -> None:
    # gRPC's health service is imported once the processes run, which would otherwise wait for it.
    from deploy.health import wait_serving

    await wait_serving(target, tls)


class Stack:
    """A stack and its supervision; use it as a context manager, and nothing is left behind.

    Args:
        plan: What to run.
        settings: Limits and waits.
        environ: The user's environment, handed on to every service.
        terminal: Where deaths and restarts are told.
        tls: With what the services are asked how they are; None for connections in the clear.
        serving: Returns once the service at an address serves; replaced in tests of the supervision alone.
    """

    def __init__(
        self,
        plan: StackPlan,
        settings: DeploySettings,
        environ: Mapping[str, str],
        terminal: Terminal,
        tls: TlsFiles | None = None,
        serving: Callable[..., Awaitable[None]] = _serving,
    ) -> None:
        self.plan = plan
        self._settings = settings
        self._terminal = terminal
        self._serving = partial(serving, tls=tls)
        self.children = {service.name: ChildProcess(service, environ) for service in plan.services}

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each service's last start."""
        return {name: child.pid for name, child in self.children.items()}

    def start(self) -> None:
        """Start every process; none of them is waited for."""
        self.plan.layout.make()
        for child in self.children.values():
            child.begin_log()
            child.start()

    def stop(self) -> None:
        """End every process: orchestrators first so that running questions keep their services, shared servers last."""
        grace_s = self._settings.stop_grace_s
        children = self.children.values()
        front = [child for child in children if child.plan.service == ORCHESTRATOR]
        servers = [child for child in children if child.plan.program]
        others = [child for child in children if child not in front and child not in servers]
        killed: list[str] = []

        def end(group: list[ChildProcess]) -> None:
            killed.extend(stop_all(group, grace_s))

        with contextlib.ExitStack() as last_first:
            # All three, whatever becomes of one of them.
            for group in (servers, others, front):
                last_first.callback(end, group)
        if killed:
            self._terminal.line(f"killed after {grace_s:g} s without an end: {', '.join(killed)}")

    async def wait_ready(self, name: str) -> None:
        """Return once a service serves.

        Raises:
            StartError: It died, or the start deadline passed; the last lines of its log are shown.
        """
        child = self.children[name]
        served = asyncio.ensure_future(self._serving(child.plan.target))
        deadline = time.monotonic() + self._settings.start_timeout_s
        try:
            while not (await asyncio.wait({served}, timeout=_POLL_S))[0]:
                code = child.exit_code
                if code is not None:
                    self._show_log(child)
                    raise StartError(
                        f"{name} died while starting ({describe_exit(code)}); log: {shown(child.plan.log_path)}"
                    )
                if time.monotonic() > deadline:
                    self._show_log(child)
                    raise StartError(
                        f"{name} did not serve within {self._settings.start_timeout_s:g} s "
                        f"(ARGO_DEPLOY_START_TIMEOUT_S); log: {shown(child.plan.log_path)}"
                    )
            await served
        finally:
            served.cancel()

    async def wait_serving(self, service: str) -> None:
        """Return once every replica of a service that is being supervised serves; the caller sets the limit."""
        plans = [child.plan for child in self.children.values() if child.plan.service == service]
        await asyncio.gather(*(self._serving(plan.target) for plan in plans))

    async def supervise(self, on_change: Callable[[], None]) -> None:
        """Restart every service that dies, until cancelled.

        Args:
            on_change: Called after each restart, when process ids have changed.
        """
        async with asyncio.TaskGroup() as group:
            for child in self.children.values():
                group.create_task(self._supervise(child, on_change))

    async def _supervise(self, child: ChildProcess, on_change: Callable[[], None]) -> None:
        settings = self._settings
        backoff = Backoff(settings.restart_initial_s, settings.restart_cap_s, settings.restart_reset_s)
        serving_since: float | None = time.monotonic()
        while True:
            code = await self._death(child)
            healthy_s = 0.0 if serving_since is None else time.monotonic() - serving_since
            wait_s = backoff.next_s(healthy_s)
            self._report_death(child, code, backoff, wait_s)
            await asyncio.sleep(wait_s)
            child.start()
            on_change()
            serving_since = await self._serving_again(child)

    async def _death(self, child: ChildProcess) -> int:
        while (code := child.exit_code) is None:
            await asyncio.sleep(_POLL_S)
        return code

    async def _serving_again(self, child: ChildProcess) -> float | None:
        started = time.monotonic()
        served = asyncio.ensure_future(self._serving(child.plan.target))
        died = asyncio.ensure_future(self._death(child))
        try:
            done, _ = await asyncio.wait({served, died}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (served, died):
                task.cancel()
        if died in done:
            return None
        now = time.monotonic()
        self._terminal.line(f"{child.plan.name} serves again after {now - started:.1f} s (pid {child.pid})")
        return now

    def _report_death(self, child: ChildProcess, code: int, backoff: Backoff, wait_s: float) -> None:
        name = child.plan.name
        self._terminal.line(f"{name} died ({describe_exit(code)}); last lines of {shown(child.plan.log_path)}:")
        self._show_log(child)
        if backoff.capped:
            self._terminal.line(
                f"{name} is in a crash loop: {backoff.deaths} deaths without {self._settings.restart_reset_s:g} s "
                f"of health between; next start in {wait_s:g} s, and it goes on so until its cause is gone"
            )
        else:
            self._terminal.line(f"{name} restarts in {wait_s:g} s")

    def _show_log(self, child: ChildProcess) -> None:
        self._terminal.quote(child.tail(self._settings.log_lines) or ["(its log is empty)"])
