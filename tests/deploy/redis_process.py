"""A real Redis server of a test's own, on a free port and in a folder that goes away."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest

PATIENCE_S = 20.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class RedisProcess:
    """A redis-server that keeps nothing on disk unless told so; use it as a context manager.

    Args:
        folder: Where it works and logs.
        *options: Such as "--requirepass", "secret".
        tls: Listen with TLS alone.
    """

    def __init__(self, folder: Path, *options: str, tls: bool = False) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail("the system tests need redis-server; on Debian and Ubuntu: apt install redis-server")
        self.port = free_port()
        self.folder = folder
        self._command = [
            program,
            *("--bind", "127.0.0.1", "--tls-port" if tls else "--port", str(self.port), "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--logfile", str(folder / "redis.log")),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not self._listens():
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "redis-server does not listen"
            time.sleep(0.01)

    def _listens(self) -> bool:
        # A port for TLS only listens as well; who speaks to it is the test's business.
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> RedisProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
