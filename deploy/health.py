"""When a service serves, by the standard gRPC health service."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from argo.rpc import channel
from argo.tls import TlsFiles

__all__ = ["is_serving", "wait_serving"]

_PAUSE_S: Final = 0.025
_CHECK_S: Final = 2.0
# A connection to a port of one's own address that nothing listens on yet can, once in a while, be given that very
# port as its source and so connect to itself and take the port from the service. Another loopback address cannot.
_PROBE_FROM: Final = ("127.0.0.2", 0)


async def _check(stub: Any, timeout_s: float) -> bool:
    try:
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=""), timeout=timeout_s)
    except grpc.aio.AioRpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def is_serving(target: str, timeout_s: float, tls: TlsFiles | None = None) -> bool:
    """Whether the service at an address says SERVING within timeout_s seconds."""
    async with channel(target, tls) as opened:
        return await _check(health_pb2_grpc.HealthStub(opened), timeout_s)


async def wait_serving(target: str, tls: TlsFiles | None = None) -> None:
    """Return once the service at an address says SERVING, or a server at a URL answers; the caller sets the limit."""
    if "://" in target:
        await _wait_answering(urlsplit(target))
        return
    await _wait_listening(target)
    async with channel(target, tls) as opened:
        stub: Any = health_pb2_grpc.HealthStub(opened)
        while not await _check(stub, _CHECK_S):
            await asyncio.sleep(_PAUSE_S)


async def _wait_answering(url: SplitResult) -> None:
    """Wait for the health of a server that speaks no gRPC: Redis's PING, or Chroma's heartbeat over HTTP."""
    if url.scheme == "redis":
        request, good = f"AUTH {url.password}\r\nPING\r\n", b"+OK\r\n+PONG"
    else:
        request, good = "GET /api/v2/heartbeat HTTP/1.0\r\n\r\n", b"200 OK"
    while not await _answers(url, request.encode(), good):
        await asyncio.sleep(_PAUSE_S)


async def _answers(url: SplitResult, request: bytes, good: bytes) -> bool:
    try:
        async with asyncio.timeout(_CHECK_S):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            try:
                writer.write(request)
                return good in await _read_until(reader, good)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def _read_until(reader: asyncio.StreamReader, good: bytes) -> bytes:
    read = b""
    while good not in read and (more := await reader.read(4096)):
        read += more
    return read


async def _wait_listening(target: str) -> None:
    # A bare connection is tried 40 times a second, where a channel would back off and notice up to a second late.
    host, _, port = target.rpartition(":")
    local = _PROBE_FROM if host == "127.0.0.1" and sys.platform == "linux" else None
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), local_addr=local)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return
        await asyncio.sleep(_PAUSE_S)
