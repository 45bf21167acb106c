"""Jaeger's query API over HTTP, answering from a recording."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["FakeJaeger", "fake_jaeger"]


class FakeJaeger:
    """Where it is, and what it was asked."""

    def __init__(self, traces: dict[str, Any]) -> None:
        self.traces = traces
        self.asked: list[dict[str, list[str]]] = []
        self.status = 200
        self.body: bytes | None = None
        """Sent instead of the traces, where set."""
        self.url = ""

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body of one request."""
        parts = urllib.parse.urlsplit(path)
        if self.body is not None:
            return self.status, self.body
        if parts.path == "/api/traces":
            asked = urllib.parse.parse_qs(parts.query)
            self.asked.append(asked)
            start, end = (int(asked[name][0]) for name in ("start", "end"))
            inside = [
                trace
                for trace in self.traces["data"]
                if start <= min(span["startTime"] for span in trace["spans"]) <= end
                and f"{asked['service'][0]}" in {each["serviceName"] for each in trace["processes"].values()}
            ]
            return 200, json.dumps(self.traces | {"data": inside[-int(asked["limit"][0]) :]}).encode()
        identity = parts.path.removeprefix("/api/traces/")
        found = [trace for trace in self.traces["data"] if trace["traceID"] == identity]
        if not found:
            return 404, json.dumps({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}).encode()
        return 200, json.dumps(self.traces | {"data": found}).encode()


@contextmanager
def fake_jaeger(traces: dict[str, Any]) -> Iterator[FakeJaeger]:
    """A server on a free port, until the block is left."""
    jaeger = FakeJaeger(traces)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = jaeger.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    jaeger.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield jaeger
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
