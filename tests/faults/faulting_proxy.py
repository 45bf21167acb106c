"""A TCP proxy between a client and one service, whose faults a test switches while connections are open.

What is held back is not lost: as TCP sends again what was not acknowledged, it goes on when the fault is lifted. While
it is held, an end that hangs up is not heard of on the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

__all__ = ["FaultingProxy", "Way"]

_CHUNK: Final = 16 * 1024
_CHUNKS: Final = 8
"""Held in each direction of a connection, beside what sockets hold; then the sender is not read from any more."""
_SLICES_PER_S: Final = 20
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Way(enum.Enum):
    """Which way bytes go."""

    TO_SERVICE = "to the service"
    TO_CLIENT = "to the client"

    @property
    def back(self) -> Way:
        return Way.TO_CLIENT if self is Way.TO_SERVICE else Way.TO_SERVICE


class _LinkEndedError(Exception):
    """One side of a connection is gone, and so the other is to go; with a reset or without."""


class _Flow:
    """The faults of one way, on all connections."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.heal()

    def heal(self) -> None:
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.left: int | None = None
        """Bytes that still go through before a reset."""
        self.most: int | None = None
        """Bytes of a connection after which it is reset."""
        self.open.set()


class FaultingProxy:
    """Made by :meth:`before`.

    Args:
        service: host:port of the service; it need not be there yet, and can be set later.
    """

    def __init__(self, service: str = "") -> None:
        self.service = service
        self._server: asyncio.Server | None = None
        self._port = 0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = {way: _Flow() for way in Way}
        self._connects = asyncio.Event()
        self._connects.set()
        self.accepted = 0
        """Connections ever taken."""
        self.passed: Counter[Way] = Counter()
        """Bytes that went through."""

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, service: str = "") -> AsyncIterator[FaultingProxy]:
        """A proxy at a port of its own, without faults; gone with the block."""
        proxy = cls(service)
        await proxy._listen()
        try:
            yield proxy
        finally:
            await proxy.refuse()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    @property
    def target(self) -> str:
        """Its address, for whoever is to reach the service through it."""
        return f"127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    def partition(self) -> None:
        """Hold everything back, both ways; a new connection is taken, as by a machine that then goes silent."""
        self.hold(*Way)
        self._connects.clear()

    def hold(self, *ways: Way) -> None:
        """Hold back what goes these ways: with one of them, connections are half open."""
        for way in ways:
            self._flows[way].open.clear()

    def delay(self, seconds: float, *ways: Way) -> None:
        """Let what comes from now on arrive so much later."""
        for way in ways:
            self._flows[way].delay_s = seconds

    def trickle(self, bytes_per_s: float, *ways: Way) -> None:
        """Let no more than this through in a second, on each connection."""
        for way in ways:
            self._flows[way].bytes_per_s = bytes_per_s

    def reset_after(self, count: int, way: Way = Way.TO_CLIENT) -> None:
        """Let the next so many bytes through, then reset the connection of the last one; once."""
        self._flows[way].left = count

    def reset_each_after(self, count: int, way: Way = Way.TO_CLIENT) -> None:
        """Reset each connection, old or new, at the byte after so many on it."""
        self._flows[way].most = count

    def reset(self) -> None:
        """Reset every open connection, on both sides."""
        for link in tuple(self._links):
            link.reset()

    async def refuse(self) -> None:
        """Reset every open connection, and refuse new ones as a machine does on which nothing listens."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    async def heal(self) -> None:
        """Lift every fault; what was held back goes on."""
        for flow in self._flows.values():
            flow.heal()
        self._connects.set()
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self._port, limit=_CHUNK)
        self._port = self._server.sockets[0].getsockname()[1]

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        # Not a coroutine function: of one that is cancelled, asyncio would report an exception that nobody caught.
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        try:
            await self._connects.wait()
            host, _, port = self.service.rpartition(":")
            from_service, to_service = await asyncio.open_connection(host, int(port), limit=_CHUNK)
            link.writers.append(to_service)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(Way.TO_SERVICE, reader, to_service))
                group.create_task(self._pump(Way.TO_CLIENT, from_service, writer))
        except* _LinkEndedError:
            link.close()
        except* OSError:
            link.reset()
        finally:
            self._links.discard(link)
            link.close()

    async def _pump(self, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        flow, clock, sent = self._flows[way], asyncio.get_running_loop(), 0
        queue: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(_CHUNKS)

        async def read() -> None:
            data: bytes | OSError = b"."
            while isinstance(data, bytes) and data:
                try:
                    data = await source.read(_CHUNK)
                except OSError as error:
                    data = error
                await queue.put((clock.time() + flow.delay_s, data))

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - clock.time()))
                await flow.open.wait()
                if isinstance(data, OSError):
                    raise data
                if not data:
                    # gRPC never closes one direction alone, so the end of one is the end of both.
                    raise _LinkEndedError
                await self._write(way, data, sink, sent)
                sent += len(data)

    async def _write(self, way: Way, data: bytes, sink: asyncio.StreamWriter, sent: int) -> None:
        flow = self._flows[way]
        while data:
            await flow.open.wait()
            size = len(data) if flow.bytes_per_s is None else max(1, int(flow.bytes_per_s / _SLICES_PER_S))
            if flow.most is not None:
                if sent >= flow.most:
                    raise ConnectionResetError
                size = min(size, flow.most - sent)
            if flow.left is not None:
                size = min(size, flow.left)
            piece, data = data[:size], data[size:]
            try:
                sink.write(piece)
                await sink.drain()
            except OSError:
                # The other side is told of it by what comes back to it, and that may be held.
                await self._flows[way.back].open.wait()
                raise
            self.passed[way] += len(piece)
            sent += len(piece)
            if flow.left is not None:
                flow.left -= len(piece)
                if flow.left <= 0:
                    flow.left = None
                    raise ConnectionResetError
            if flow.bytes_per_s is not None:
                await asyncio.sleep(len(piece) / flow.bytes_per_s)


class _Link:
    """Both sides of one connection."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]

    def close(self) -> None:
        for writer in self.writers:
            writer.close()

    def reset(self) -> None:
        """Let both ends find it reset: what was written and is not sent yet is dropped."""
        for writer in self.writers:
            held: socket.socket | None = writer.get_extra_info("socket")
            if held is not None and held.fileno() >= 0:
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
