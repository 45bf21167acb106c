"""Debian's Prometheus as tests drive it, on a port and in a folder of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Prometheus", "prometheus", "promtool", "until"]


def promtool(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool, and return what became of it."""
    return subprocess.run(["promtool", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)


def until(found: Callable[[], Any], what: str, patience_s: float = 60.0) -> Any:
    """Ask again until something true is found."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {patience_s:g} s; last: {value!r}")


class Prometheus:
    """A running server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **query: str) -> Any:
        """The data of one API call."""
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=20) as reply:
            return json.load(reply)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression now."""
        samples: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return samples

    def up(self) -> set[str]:
        """Services whose last scrape succeeded."""
        targets = self.get("targets", state="active")["activeTargets"]
        return {target["labels"]["service"] for target in targets if target["health"] == "up"}

    def alerts(self) -> dict[str, str]:
        """State of every alert that is pending or firing."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.get("alerts")["alerts"]}

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@contextmanager
def prometheus(folder: Path, config: str) -> Iterator[Prometheus]:
    """A server with this configuration, until the block is left."""
    path = folder / "prometheus.yaml"
    path.write_text(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        until(lambda: process.poll() is not None or server.ready(), "Prometheus")
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.terminate()
        process.wait(30)
