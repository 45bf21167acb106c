"""A real `python -m deploy up` as tests drive it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.plan import ROOT
from deploy.roster import CHROMA, REDIS, SERVICES

PRIMER = ROOT / "examples" / "oran"
PATIENCE_S = 100.0


def stack_environ(state_dir: Path) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ARGO_")}
    ports = {f"ARGO_DEPLOY_{name.upper()}_PORT": "0" for name in (*SERVICES, CHROMA, REDIS)}
    return environ | ports | {"ARGO_DEPLOY_STATE_DIR": str(state_dir)}


class Up:
    """A running `python -m deploy up`."""

    def __init__(self, state_dir: Path, extra: Mapping[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy", "up", "--docs", str(PRIMER)],
            cwd=ROOT,
            env=stack_environ(state_dir) | dict(extra or {}),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.seen: list[str] = []

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, part: str, patience_s: float = PATIENCE_S) -> str:
        """The next line that holds the part; each line may take so long."""
        while (line := self._lines.get(timeout=patience_s)) is not None:
            self.seen.append(line)
            if part in line:
                return line
        raise AssertionError(f"the launcher ended without saying {part!r}:\n" + "\n".join(self.seen))

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.state_dir / "stack.json").read_text())
        return record

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)


@contextmanager
def running(state_dir: Path, extra: Mapping[str, str] | None = None, patience_s: float = PATIENCE_S) -> Iterator[Up]:
    """A stack on the primer that serves, and is gone afterwards; extra are variables for its services."""
    stack = Up(state_dir, extra)
    try:
        stack.wait_for("up: ", patience_s)
        yield stack
    finally:
        stack.close()
