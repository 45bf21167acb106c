"""One service as a real process: started, killed, frozen, thawed, started again where it was, and looked into."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Collection, Mapping
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from argo.probe import check
from argo.rpc import Caller, channel
from argo.tls import TlsFiles
from deploy.plan import ROOT
from deploy.roster import SERVICES

PATIENCE_S = 60.0
"""A process that imports gRPC and Chroma on a machine that does other things too."""


class Process:
    """A service at a fixed address, through any number of deaths.

    Args:
        name: Of the process, such as "retriever-1".
        service: Which of the four.
        port: Of its calls, on the loopback address.
        metrics_port: Of its metrics.
        environ: Everything that it is given.
        log_path: Where it writes, again and again.
        command: What runs instead of `python -m` and the service's module.
    """

    def __init__(
        self,
        name: str,
        service: str,
        port: int,
        metrics_port: int,
        environ: Mapping[str, str],
        log_path: Path,
        command: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.service = service
        self.port = port
        self.target = f"127.0.0.1:{port}"
        self.log_path = log_path
        self.starts = 0
        self.tls: TlsFiles | None = None
        """With what it is called here, where it speaks TLS."""
        self.environ = dict(environ)
        self.command = command or (sys.executable, "-m", SERVICES[service])
        self._metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"Process({self.name}, {self.target}, starts={self.starts})"

    @property
    def pid(self) -> int:
        """Of the child; with a command that runs the service as a child of its own, of that command."""
        assert self._child is not None, f"{self.name} was never started"
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it; see :meth:`until_serving`."""
        assert not self.running, f"{self.name} runs already"
        self.starts += 1
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(self.command, cwd=ROOT, env=self.environ, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has cleared it away."""
        self.signal(signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open and the kernel still acknowledges what is sent to it."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None, f"{self.name} was never started"
        self._child.send_signal(number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Exit status, once it has ended."""
        assert self._child is not None, f"{self.name} was never started"
        return self._child.wait(patience_s)

    def close(self) -> None:
        """Leave nothing of it, whatever state it is in."""
        if self.running:
            self.thaw()
            self.kill()

    async def until_serving(self, patience_s: float = PATIENCE_S) -> None:
        """Wait for SERVING; fails with the end of the log where it ends before."""
        async with asyncio.timeout(patience_s), channel(self.target, self.tls) as opened:
            while (await check(self.service, Caller(opened, self.target))).health != "SERVING":
                if not self.running:
                    raise AssertionError(f"{self.name} ended with {self.wait()}:\n{self.log()[-3000:]}")
                await asyncio.sleep(0.05)

    async def restart(self) -> None:
        """Start it again where it was, and wait until it serves."""
        self.start()
        await self.until_serving()

    def log(self) -> str:
        """All that it ever wrote."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def descriptors(self) -> int:
        """Open file descriptors."""
        return int(psutil.Process(self.pid).num_fds())

    def connections(self, ports: Collection[int]) -> int:
        """Open connections to any of these ports."""
        found = psutil.Process(self.pid).net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port in ports for one in found)

    def resident_bytes(self) -> int:
        """Memory of it."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def samples(self) -> dict[str, float]:
        """Its metrics now: value by name, and by name with sorted labels, as `name{label=value,...}`.

        The bare name is the sum over all labels.
        """
        with urllib.request.urlopen(self._metrics_url, timeout=PATIENCE_S) as reply:
            text = reply.read().decode()
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                if labels:
                    found[f"{sample.name}{{{labels}}}"] = sample.value
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    async def metric(self, name: str) -> float:
        """One of :meth:`samples`; 0 where it was never set."""
        return (await asyncio.to_thread(self.samples)).get(name, 0.0)

    async def served(self, method: str, status: str = "") -> int:
        """Calls of a method that it has answered, such as "Search": all of them, or those with a status."""
        pattern = re.compile(
            rf"rpc_server_call_duration_seconds_count{{rpc_method=argo\.v1\.\w+/{method},"
            rf"rpc_response_status_code={status or '[A-Z_]+'}}}"
        )
        found = await asyncio.to_thread(self.samples)
        return int(sum(value for name, value in found.items() if pattern.fullmatch(name)))


def bare_environ() -> dict[str, str]:
    """The environment without any setting of ARGO."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ARGO_")}
