"""The stack that a benchmark drives: a running one, or one started for it through the launcher.

The launcher is run as a process of its own and found by the record that it keeps, so that a benchmark measures what a
user would start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from argo.errors import InvalidArgumentError, NotReadyError

__all__ = ["StackTargets", "attach", "started"]

ROOT: Final = Path(__file__).resolve().parent.parent
STATE_DIR: Final = ROOT / ".argo" / "bench"
"""Kept between runs, so that unchanged documents are indexed once; apart from the user's own stack and sessions."""
_RECORD: Final = "stack.json"
_METRICS: Final = "metrics.json"
"""Beside the record: the addresses of metrics, as Prometheus is told them (file_sd_configs)."""
_START_S: Final = 900.0
_STOP_S: Final = 20.0
_POLL_S: Final = 0.1
_LOG_LINES: Final = 20
_UP: Final = "up: "
"""Begins the line with which the launcher says that it is ready."""


@dataclass(frozen=True)
class StackTargets:
    """Where a stack listens, and its processes where they are known."""

    orchestrator: str
    retriever: str | None = None
    pids: Mapping[str, int] = field(default_factory=dict)
    started: bool = False
    """Whether it was started for this run."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Where Prometheus reads the metrics of each service of which there is one, as far as that is known."""


def attach(target: str, state_dir: Path = STATE_DIR) -> StackTargets:
    """A stack that runs already; its processes are known where its launcher's state folder is one of these."""
    for path in (ROOT / ".argo" / _RECORD, state_dir / _RECORD):
        record = _read(path)
        if record is not None and record["targets"].get("orchestrator") == target:
            return StackTargets(target, record["targets"].get("retriever"), record["pids"], metrics=_metrics(path))
    return StackTargets(target)


@contextlib.contextmanager
def started(
    docs: Path, environment: Mapping[str, str], *, state_dir: Path = STATE_DIR, say: Callable[[str], None]
) -> Iterator[StackTargets]:
    """Start a stack on free ports with `python -m deploy up`, and stop it when the block is left.

    Args:
        docs: Documents to index.
        environment: Variables of the services, over this process's own.
        state_dir: Where the index is kept between runs; one stack at a time uses the index of a folder.
        say: Tells the user what is waited for.

    Raises:
        InvalidArgumentError: The documents' folder is missing.
        NotReadyError: The stack did not come up; the message holds the launcher's last lines.
    """
    if not docs.is_dir():
        raise InvalidArgumentError(f"docs must be a folder, got {docs}")
    state_dir = state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    record_path, log_path = state_dir / _RECORD, state_dir / f"launcher-{os.getpid()}.log"
    ports = {f"ARGO_DEPLOY_{name}_PORT": "0" for name in ("ORCHESTRATOR", "DECOMPOSER", "RETRIEVER", "SYNTHESIZER")}
    say(f"starting a stack on {docs}; its log is {log_path}")
    with log_path.open("wb") as log:
        launcher = subprocess.Popen(
            # Tied to this process, so that even a killed benchmark leaves no stack behind.
            [sys.executable, "-m", "deploy.child", str(os.getpid()), "deploy", "up", "--docs", str(docs.resolve())],
            cwd=ROOT,
            env={**os.environ, **ports, "ARGO_DEPLOY_STATE_DIR": str(state_dir), **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches this process alone, which then stops the launcher in order.
            start_new_session=True,
        )
    try:
        record = _wait(launcher, record_path, log_path)
        yield StackTargets(
            record["targets"]["orchestrator"],
            record["targets"].get("retriever"),
            record["pids"],
            started=True,
            metrics=_metrics(record_path),
        )
    finally:
        _stop(launcher)
    # Kept where anything went wrong.
    log_path.unlink(missing_ok=True)


def _wait(launcher: subprocess.Popen[bytes], record_path: Path, log_path: Path) -> dict[str, Any]:
    """The launcher's record, once it says that the documents are indexed; its end must not come first."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = launcher.wait(timeout=_POLL_S)
            raise NotReadyError(f"the launcher ended with {code} before its stack served:\n{_tail(log_path)}")
        record = _read(record_path)
        # The record is there as soon as the services serve, the line only when the documents are indexed as well.
        if record is not None and record["pid"] == launcher.pid and _says_up(log_path):
            return record
    raise NotReadyError(f"the stack did not serve within {_START_S:g} s:\n{_tail(log_path)}")


def _stop(launcher: subprocess.Popen[bytes]) -> None:
    if launcher.poll() is not None:
        return
    launcher.send_signal(signal.SIGINT)
    try:
        launcher.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        # Its services end with it: they asked the kernel to be told.
        launcher.kill()
        launcher.wait()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"pid", "targets", "pids"} <= record.keys() else None


def _metrics(record_path: Path) -> dict[str, str]:
    """The metrics address of each service, where the launcher serves any; of several replicas none."""
    try:
        groups = json.loads(record_path.with_name(_METRICS).read_text(encoding="utf-8"))
        found = [
            (group["labels"]["service"], f"http://{target}/metrics") for group in groups for target in group["targets"]
        ]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    services = [service for service, _ in found]
    return {service: url for service, url in found if services.count(service) == 1}


def _says_up(log_path: Path) -> bool:
    return any(line.startswith(_UP) for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines())


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
