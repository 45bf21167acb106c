"""A Hugging Face Hub of one model on this machine: as much of its HTTP interface as its own client asks for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """The server, its files, and what it was asked for.

    Args:
        model: Name of the model.
        files: Its files by path.
    """

    def __init__(self, model: str, files: Mapping[str, bytes]) -> None:
        self.model = model
        self.files = dict(files)
        self.sent: list[tuple[str, int]] = []
        """Each download: path, and the byte at which it began."""
        self.break_after: dict[str, int] = {}
        """Bytes of a file after which the connection is closed, once."""
        self.large: set[str] = set()
        """Files that are listed with their SHA-256, as the hub does of those in its large storage."""
        self.listed: dict[str, bytes] = {}
        """Content that a file's listed hash is of, where what is sent is another."""
        self.commit = COMMIT
        self.endpoint = ""


@contextlib.contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve a hub at hub.endpoint."""

    class Handler(_Handler):
        hub_served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub_served: FakeHub

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub = self.hub_served
        path = self.path.partition("?")[0]
        api = f"/api/models/{hub.model}"
        if path.startswith(f"{api}/revision/") or path == api:
            revision = path.rpartition("/revision/")[2] if path != api else "main"
            if revision not in ("main", hub.commit):
                return self._error("RevisionNotFound")
            siblings = [self._sibling(name) for name in hub.files]
            return self._json(
                {"id": hub.model, "modelId": hub.model, "sha": hub.commit, "siblings": siblings}, body=body
            )
        if path.startswith(f"{api}/tree/{hub.commit}"):
            return self._json([self._entry(name, data) for name, data in hub.files.items()], body=body)
        resolved = f"/{hub.model}/resolve/{hub.commit}/"
        if path.startswith(resolved) and (name := path.removeprefix(resolved)) in hub.files:
            return self._file(name, hub.files[name], body=body)
        return self._error("RepoNotFound")

    def _sibling(self, name: str) -> dict[str, Any]:
        hub = self.hub_served
        if name not in hub.large:
            return {"rfilename": name}
        data = hub.listed.get(name, hub.files[name])
        lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return {"rfilename": name, "size": len(data), "lfs": lfs}

    @staticmethod
    def _entry(name: str, data: bytes) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _json(self, value: Any, *, body: bool) -> None:
        data = json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        if body:
            self.wfile.write(data)

    def _error(self, code: str) -> None:
        self._head(404, {"X-Error-Code": code, "Content-Length": "0"})

    def _file(self, name: str, data: bytes, *, body: bool) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "X-Repo-Commit": self.hub_served.commit,
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(data) - start),
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._head(206 if start else 200, headers)
        if not body:
            return
        self.hub_served.sent.append((name, start))
        stop = self.hub_served.break_after.pop(name, None)
        self.wfile.write(data[start:stop])
        if stop is not None:
            self.close_connection = True

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
