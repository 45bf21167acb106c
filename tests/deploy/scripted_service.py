"""Scripted services: real processes with a real gRPC health service, whose behaviour a test chooses."""

from __future__ import annotations

import asyncio
import io
import os
import select
from collections.abc import Callable, Mapping

from deploy.layout import Layout
from deploy.plan import ServicePlan, StackPlan
from deploy.terminal import Terminal

_HEALTHY = """
import os, signal, sys, threading
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

print("scripted service starts", flush=True)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
server = grpc.server(futures.ThreadPoolExecutor(2))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port(os.environ["SCRIPTED_TARGET"])
server.start()
servicer.set("", health_pb2.HealthCheckResponse.SERVING)
stop.wait()
server.stop(0).wait()
print("scripted service drained", flush=True)
"""

MODULES = {
    "scripted_healthy": _HEALTHY,
    "scripted_broken": 'import sys\nprint("first line")\nprint("the disk is on fire")\nsys.exit(7)\n',
    "scripted_stubborn": (
        "import signal, sys, threading\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        'print("ready", flush=True)\nthreading.Event().wait()\n'
    ),
    "scripted_parent": (
        "import subprocess, sys, threading\n"
        'child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])\n'
        "print(child.pid, flush=True)\nthreading.Event().wait()\n"
    ),
    # Serves once; every later start of it dies.
    "scripted_doomed": (
        "import os, pathlib, sys\nflag = pathlib.Path(os.environ['SCRIPTED_FLAG'])\n"
        "if flag.exists():\n    print('cannot start again')\n    sys.exit(9)\nflag.touch()\n" + _HEALTHY
    ),
}


PlanOf = Callable[..., StackPlan]


class RecordingTerminal(Terminal):
    """Keeps what it is told, and lets a test wait for a line."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def line(self, text: str) -> None:
        self.lines.append(text)
        self._changed.set()

    async def seen(self, part: str, times: int = 1) -> None:
        async with asyncio.timeout(30):
            while sum(part in line for line in self.lines) < times:
                self._changed.clear()
                await self._changed.wait()


def wait_gone(pid: int, timeout_s: float = 20.0) -> bool:
    """Whether a process ends within timeout_s seconds; it need not be our child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout_s)[0])
    finally:
        os.close(handle)


def service_plan(name: str, module: str, ports: Mapping[str, int], layout: Layout) -> ServicePlan:
    target = f"127.0.0.1:{ports[name]}"
    return ServicePlan(name, module, target, {"SCRIPTED_TARGET": target}, layout.log_dir / f"{name}.log")
