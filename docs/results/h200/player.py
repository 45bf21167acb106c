"""A process that measures on command: one JSON object a line in on its stdin, one a line out on its stdout.

The load generators run as processes of their own, so that they take no time from each other or from what they measure.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from host import descendants, end

__all__ = ["Player", "PlayerError", "Replies", "play"]

_LINE_BYTES = 64 * 2**20


class PlayerError(RuntimeError):
    """The process ended, or gave no answer in time."""


class Replies:
    """Takes over stdout for replies; everything else that is printed goes to stderr. Make it before other imports."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, reply: Mapping[str, Any]) -> None:
        """Send one line."""
        self._file.write(json.dumps(reply) + "\n")
        self._file.flush()


async def play(
    replies: Replies, handle: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], ready: Mapping[str, Any]
) -> None:
    """Say that this process is ready, then answer commands until stdin closes."""
    replies.send(ready)
    while line := await asyncio.to_thread(sys.stdin.readline):
        replies.send(await handle(json.loads(line)))


class Player:
    """Such a process, as seen by the one that started it."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log
        self.ready: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Player:
        """Start it; await :meth:`wait_ready` before the first command."""
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                start_new_session=True,
                limit=_LINE_BYTES,
            )
        return cls(process, log)

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until it can take commands."""
        self.ready = await self._line(timeout_s)

    async def ask(self, command: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """One command and its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(command) + "\n").encode())
        await self._process.stdin.drain()
        return await self._line(timeout_s)

    async def _line(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        reading = asyncio.create_task(self._process.stdout.readline())
        ending = asyncio.create_task(self._process.wait())
        try:
            # Children may hold the pipe open after the process has ended.
            await asyncio.wait({reading, ending}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and (line := reading.result()):
                reply: dict[str, Any] = json.loads(line)
                return reply
            why = "ended" if ending.done() else f"gave no answer in {timeout_s:.0f} s"
            raise PlayerError(f"{self.log.stem} {why}")
        finally:
            for task in (reading, ending):
                task.cancel()

    async def stop(self) -> None:
        """End it with all its children."""
        end([*descendants(self.pid), self.pid] if self._process.returncode is None else [])
        await self._process.wait()
