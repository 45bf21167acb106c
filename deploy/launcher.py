"""The one-machine launcher: keep a stack up, or start one for a single question."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

from argo.errors import ArgoError, UnavailableError
from argo.settings import ClientSettings, load
from argo.tls import TlsFiles
from deploy.environment import without_effect
from deploy.error import StackRunningError
from deploy.layout import Layout, check_documents
from deploy.plan import (
    ROOT,
    StackPlan,
    embedder_of,
    make_plan,
    metrics_ports,
    set_ports,
    take_metrics_ports,
    take_ports,
)
from deploy.record import StackRecord, process_start, publish, read_record, write_record
from deploy.roster import ONE_EACH, ORCHESTRATOR, RETRIEVER, Roster, parse_replicas
from deploy.scrape import publish_targets
from deploy.settings import DeploySettings
from deploy.stack import Stack
from deploy.terminal import Terminal, shown
from deploy.tls import launcher_tls

__all__ = ["AskLine", "Launcher"]

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ARGO: Final = Path(sys.executable).with_name("argo")
_HEALTH_S: Final = 2.0
_INDEX_TRIES: Final = 3
_HELD_PAUSE_S: Final = 0.2


class AskLine(Protocol):
    """Asks one question of a running stack, as the command line does, and returns its exit code."""

    def __call__(self, targets: Mapping[str, str], span_dir: Path) -> int:
        """Ask and print."""


class Launcher:
    """What the commands of `python -m deploy` do.

    Args:
        settings: The launcher's settings.
        environ: The user's environment, handed on to every service.
        terminal: Where to tell what happens.
    """

    def __init__(self, settings: DeploySettings, environ: Mapping[str, str], terminal: Terminal) -> None:
        self._settings = settings
        self._environ = environ
        self._terminal = terminal
        self._tls: TlsFiles | None = None

    @property
    def state_dir(self) -> Path:
        """The absolute state folder."""
        return (ROOT / self._settings.state_dir.expanduser()).resolve()

    def plan(self, docs: Path | None, *, ephemeral: bool = False) -> StackPlan:
        """What a stack over these documents consists of, on ports that are free.

        Raises:
            DocumentsError: The folder is missing or empty.
            PortInUseError: A port is taken.
        """
        layout = self._layout(self._documents(docs))
        # A stack that lives for one question needs no replicas, and is gone before anyone reads its metrics.
        roster = ONE_EACH if ephemeral else self._roster()
        ports = take_ports(self._settings, ephemeral=ephemeral, roster=roster)
        metrics = {} if ephemeral else take_metrics_ports(self._settings, ports, roster)
        return make_plan(self._settings, layout, ports, metrics, roster)

    def environment(self, docs: Path | None) -> StackPlan:
        """What `up` would run, whether or not its ports are free now."""
        layout = self._layout(self._documents(docs))
        roster = self._roster()
        ports, metrics = set_ports(self._settings, roster), metrics_ports(self._settings, roster)
        return make_plan(self._settings, layout, ports, metrics, roster)

    def _roster(self) -> Roster:
        return Roster(parse_replicas(self._settings.replicas), self._environ)

    def up(self, docs: Path | None) -> int:
        """Start a stack, index the documents, and keep it running until a signal.

        Returns:
            0 after an orderly stop.

        Raises:
            StackRunningError: This state folder has a stack already, or its index is held.
            StartError: A service did not come up.
            InvalidArgumentError: A setting of the client, which indexes the documents, is wrong or missing.
        """
        self._check()
        running = read_record(self.state_dir)
        if running is not None:
            raise StackRunningError(
                f"a stack already runs from {self.state_dir}: pid {running.pid}, orchestrator at "
                f"{running.targets[ORCHESTRATOR]}, documents {running.docs}; stop it with Ctrl-C there, or: "
                f"kill {running.pid}"
            )
        plan = self.plan(docs)
        with plan.layout.hold():
            return asyncio.run(self._up(plan))

    async def _up(self, plan: StackPlan) -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        with self._stack(plan) as stack:
            for number in _STOP_SIGNALS:
                loop.add_signal_handler(number, stop.set)
            self._terminal.line(f"starting {', '.join(stack.children)}; logs in {shown(plan.layout.log_dir)}")
            stack.start()
            try:
                await _unless(stop, self._serve(stack, plan))
            finally:
                self._terminal.line("stopping")
                for number in _STOP_SIGNALS:
                    # A further Ctrl-C now cuts the grace short.
                    loop.remove_signal_handler(number)
        self._terminal.line("stopped; nothing is left running")
        return 0

    async def _serve(self, stack: Stack, plan: StackPlan) -> None:
        started = time.monotonic()
        await asyncio.gather(*(stack.wait_ready(name) for name in stack.children))
        self._terminal.line(f"all {len(stack.children)} processes serve after {time.monotonic() - started:.1f} s")
        record, tell = self._record(plan, stack.pids), self._terminal.line

        def changed() -> None:
            write_record(self.state_dir, replace(record, pids=stack.pids), tell)

        with publish(self.state_dir, record, tell), publish_targets(self.state_dir, plan.services, tell):
            with _errors_alone():
                async with asyncio.TaskGroup() as group:
                    group.create_task(stack.supervise(changed))
                    await self._index_patiently(stack, plan)
                    self._tell_up(plan)

    def _tell_up(self, plan: StackPlan) -> None:
        orchestrator, retriever = plan.targets[ORCHESTRATOR], plan.targets[RETRIEVER]
        self._terminal.line(f"up: orchestrator {orchestrator}, retriever {retriever}; Ctrl-C stops it")
        known = ClientSettings.model_fields
        usual = (known["target"].default, known["retriever_target"].default) == (orchestrator, retriever)
        where = "" if usual else f" --target {orchestrator} --retriever-target {retriever}"
        self._terminal.line(f'in another terminal: {shown(_ARGO)}{where} ask "What is the A1 interface for?"')
        self._terminal.line(f"where its time went: {shown(_ARGO)} trace --dir {shown(plan.layout.span_dir)}")
        metrics = [f"http://{service.metrics_target}/metrics" for service in plan.services if service.metrics_target]
        if metrics:
            self._terminal.line(f"metrics for Prometheus: {' '.join(metrics)}")

    async def _index_patiently(self, stack: Stack, plan: StackPlan) -> None:
        from deploy.documents import index_documents

        for tries_left in range(_INDEX_TRIES - 1, -1, -1):
            try:
                await index_documents(plan.targets, plan.layout.docs, self._terminal)
                return
            except UnavailableError as error:
                if not tries_left:
                    raise
                self._terminal.line(f"indexing was cut off ({error}); it goes on once the retriever serves again")
                await stack.wait_serving(RETRIEVER)

    async def _prepare(self, stack: Stack, plan: StackPlan) -> None:
        from deploy.documents import index_documents

        ready = {name: asyncio.ensure_future(stack.wait_ready(name)) for name in stack.children}

        async def index() -> None:
            # Documents are indexed while the other services still start.
            await asyncio.shield(ready[RETRIEVER])
            await index_documents(plan.targets, plan.layout.docs, self._terminal)

        await asyncio.gather(index(), *ready.values())

    def ask(self, docs: Path | None, ask_line: Callable[[], AskLine]) -> int:
        """Ask one question: of the running stack where there is a fitting one, else of one started for it.

        Args:
            docs: Documents folder; None takes the running stack's, or the default.
            ask_line: Loads the command line, while the services start.

        Returns:
            The command line's exit code.
        """
        self._check()
        if docs is not None:
            check_documents(docs)
        deadline = time.monotonic() + self._settings.start_timeout_s
        with _signals_exit():
            while True:
                record = self._fitting(docs)
                if record is not None:
                    return self._ask_running(record, ask_line)
                try:
                    return self._ask_alone(docs, ask_line)
                except StackRunningError:
                    # Another question on the same documents, or a stack that is just starting: both are soon over.
                    if time.monotonic() > deadline:
                        raise
                    self._terminal.passing("waiting for another launcher that holds the index of these documents ...")
                    time.sleep(_HELD_PAUSE_S)

    def _ask_running(self, record: StackRecord, ask_line: Callable[[], AskLine]) -> int:
        from deploy.documents import index_documents

        self._terminal.line(f"asking the stack that runs at {record.targets[ORCHESTRATOR]} (pid {record.pid})")
        asyncio.run(index_documents(record.targets, Path(record.docs), self._terminal))
        return ask_line()(record.targets, self.state_dir / "span")

    def _ask_alone(self, docs: Path | None, ask_line: Callable[[], AskLine]) -> int:
        plan = self.plan(docs, ephemeral=True)
        with plan.layout.hold(), self._stack(plan) as stack:
            self._terminal.passing("starting the four services ...")
            stack.start()
            ask = ask_line()
            asyncio.run(self._prepare(stack, plan))
            return ask(plan.targets, plan.layout.span_dir)

    def _fitting(self, docs: Path | None) -> StackRecord | None:
        record = read_record(self.state_dir)
        if record is None:
            return None
        if docs is not None and self._layout(check_documents(docs)).key != Path(record.index).name:
            return None
        from deploy.health import is_serving

        return record if asyncio.run(is_serving(record.targets[ORCHESTRATOR], _HEALTH_S, self._tls)) else None

    def _check(self) -> None:
        """Read what only the launcher's own calls need, before any service starts."""
        self._tls = launcher_tls(self._environ, load(ClientSettings))

    def _stack(self, plan: StackPlan) -> Stack:
        """The stack of a plan, once the user knows what of the environment it leaves out."""
        for line in without_effect(self._environ, plan):
            self._terminal.line(line)
        return Stack(plan, self._settings, self._environ, self._terminal, self._tls)

    def _documents(self, docs: Path | None) -> Path:
        return check_documents(docs if docs is not None else ROOT / self._settings.docs)

    def _layout(self, docs: Path) -> Layout:
        return Layout(self.state_dir, docs, embedder_of(self._environ))

    def _record(self, plan: StackPlan, pids: dict[str, int]) -> StackRecord:
        return StackRecord(
            pid=os.getpid(),
            started=process_start(os.getpid()) or "",
            docs=str(plan.layout.docs),
            index=str(plan.layout.index_dir),
            targets=plan.targets,
            pids=pids,
        )


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it ends, fails, or the event is set."""
    running = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not running.done():
            running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@contextlib.contextmanager
def _errors_alone() -> Iterator[None]:
    """Take an error that is meant for the user out of the group of the tasks that ended with it."""
    try:
        yield
    except ExceptionGroup as group:
        meant, bugs = group.split(ArgoError)
        if meant is None or bugs is not None:
            raise
        first: BaseException = meant
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        raise first from None


@contextlib.contextmanager
def _signals_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind as Ctrl-C does, so that what was started is stopped."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
