"""One child process of the launcher: start it, see it die, show its last words, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.plan import ROOT, ServicePlan

__all__ = ["ChildProcess", "describe_exit", "stop_all"]

_POLL_S = 0.02


class ChildProcess:
    """A service's process, in a session of its own so that Ctrl-C in the terminal reaches the launcher alone.

    Args:
        plan: What to run.
        environ: The user's environment; the plan's variables go over it.
    """

    def __init__(self, plan: ServicePlan, environ: Mapping[str, str]) -> None:
        self.plan = plan
        # Matrices here take a millisecond, and a pool of BLAS threads in each service spins for longer than that: on
        # sixteen cores, one thread each brought questions with a model 57 % more throughput (docs/results/h200).
        self._environment = {"OPENBLAS_NUM_THREADS": "1", **environ, **plan.environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Process id of the last start."""
        if self._process is None:
            raise RuntimeError(f"{self.plan.name} was not started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs or before its first start."""
        process = self._process
        if process is None:
            return None
        if process.returncode is None and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            # What it had started goes with it. Until it is reaped its pid, which names the group, is no one else's.
            self._kill_group(signal.SIGKILL)
        return process.poll()

    @property
    def running(self) -> bool:
        """Whether there is a living process."""
        return self._process is not None and self.exit_code is None

    def begin_log(self) -> None:
        """Keep the log of the run before as `<name>.log.1` and begin a new one."""
        path = self.plan.log_path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            path.replace(path.with_name(f"{path.name}.1"))

    def start(self) -> None:
        """Start the process; its output is added to its log."""
        with self.plan.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.child", str(os.getpid()), *_what(self.plan)],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and to all that it started."""
        if self.running:
            self._kill_group(number)

    def wait(self) -> None:
        """Wait for the end of a process that was told to stop."""
        while self.running:
            time.sleep(_POLL_S)

    def _kill_group(self, number: signal.Signals) -> None:
        # Before its setsid, or as a zombie on some kernels, the process is no group that can be signalled.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def tail(self, lines: int) -> list[str]:
        """Last lines that the process has written since its last start."""
        return _tail(self.plan.log_path, self._log_start, lines)


def _what(plan: ServicePlan) -> tuple[str, ...]:
    return ("--exec", *plan.program) if plan.program else (plan.module,)


def _tail(path: Path, start: int, lines: int) -> list[str]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(start, log.tell() - 64 * 1024))
        return log.read().decode("utf-8", errors="replace").splitlines()[-lines:]
    return []


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def stop_all(children: Sequence[ChildProcess], grace_s: float) -> list[str]:
    """End processes: SIGTERM, at most grace_s seconds, SIGKILL.

    Returns:
        Names of those that had to be killed.
    """
    for child in children:
        if child.running:
            child.send(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    killed: list[str] = []
    try:
        while any(child.running for child in children) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    finally:
        # Also on a second Ctrl-C during the wait.
        killed = [child.plan.name for child in children if child.running]
        for child in children:
            child.send(signal.SIGKILL)
        for child in children:
            child.wait()
    return killed
