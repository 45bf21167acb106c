"""The processes of one stack: started at once, waited for, and ended with all their children."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from host import descendants, end

__all__ = ["HERE", "ROOT", "ServiceGoneError", "ServiceProcess", "environment", "tail"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
_POLL_S = 0.25
_GRACE_S = 6.0


class ServiceGoneError(RuntimeError):
    """A service ended, or did not serve in time."""


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Of a process that imports the checkout and the scripts here."""
    return dict(os.environ, PYTHONPATH=f"{ROOT}:{HERE}:{os.environ.get('PYTHONPATH', '')}", **more)


def tail(log: Path, characters: int = 2_000) -> str:
    """The end of a log, without progress bars."""
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return "\n".join(line for line in lines if "Capturing" not in line and line.strip())[-characters:]


class ServiceProcess:
    """One service as a process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self._process = process
        self.port = port
        self.log = log
        self.began = time.monotonic()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @classmethod
    async def start(cls, command: list[str], more: Mapping[str, str], port: int, log: Path) -> ServiceProcess:
        """Start it; what it prints goes to the log."""
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                cwd=ROOT,
                env=environment(more),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return cls(process, port, log)

    async def wait_serving(self, until: float) -> float:
        """Wait for its health until a time of time.monotonic(); returns the seconds that it took."""
        async with grpc.aio.insecure_channel(self.target) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < until and self._process.returncode is None:
                with suppress(grpc.RpcError):
                    reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
                    if reply.status == health_pb2.HealthCheckResponse.SERVING:
                        return time.monotonic() - self.began
                await asyncio.sleep(_POLL_S)
        why = "did not serve in time" if self._process.returncode is None else f"exit {self._process.returncode}"
        raise ServiceGoneError(f"{self.log.stem}: {why}\n{tail(self.log)}")

    async def stop(self) -> None:
        """Let it drain, then end what is left of it."""
        # Engine cores lead sessions of their own, so that ending the process's group would leave them.
        family = descendants(self.pid)
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _GRACE_S)
        end([self.pid, *family] if self._process.returncode is None else family)
        await self._process.wait()
