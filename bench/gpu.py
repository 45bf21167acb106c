"""What the GPUs behind a stack do while it is measured, as its services read them.

The services ask NVML about the GPUs that their engines hold, so a stack on another machine is seen as well, and a GPU
that does other work beside it is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from argo.errors import ArgoError
from argo.rpc import Caller, channel
from argo.target import check_target
from argo.v1 import orchestrator_pb2_grpc, types_pb2

__all__ = ["GpuReader", "GpuSamples", "GpuWatch", "read_gpus"]

GpuReader: TypeAlias = Callable[[], Awaitable[Sequence[types_pb2.Gpu] | None]]
"""One reading of each GPU; none where there is no GPU, None where the reading failed."""
_METHOD: Final = "argo.v1.OrchestratorService/GetInfo"
_TIMEOUT_S: Final = 5.0
_EVERY_S: Final = 1.0
"""The driver's own sample period is a second at the most."""


@dataclass(frozen=True)
class GpuSamples:
    """Readings, each with when it was made, seconds since the watch began."""

    readings: list[tuple[float, Sequence[types_pb2.Gpu]]] = field(default_factory=list)

    def rows(self, began_s: float, ended_s: float) -> list[dict[str, Any]]:
        """One row for each GPU of each reading within the two times; None for what the driver does not tell."""
        return [
            {
                "at_s": at_s,
                "uuid": gpu.uuid or str(gpu.index),
                "name": gpu.name,
                "utilisation": gpu.utilisation if gpu.HasField("utilisation") else None,
                "memory_used_bytes": gpu.memory_used_bytes if gpu.HasField("memory_used_bytes") else None,
                "memory_bytes": gpu.memory_bytes,
                "samples": 1,
            }
            for at_s, gpus in self.readings
            if began_s <= at_s <= ended_s
            for gpu in gpus
        ]


class GpuWatch:
    """Reads GPUs again and again.

    Args:
        read: One reading of each; None for one that failed.
        every_s: Between two.
    """

    def __init__(self, read: GpuReader, *, every_s: float = _EVERY_S) -> None:
        self._read = read
        self._every_s = every_s

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[GpuSamples]:
        """Read while the block runs; where there is no GPU, once and never again."""
        samples, began = GpuSamples(), time.perf_counter()

        async def sample() -> None:
            # A reading that failed, as of a stack under load, says nothing of the next one.
            while (gpus := await self._read()) is None or gpus:
                if gpus is not None:
                    samples.readings.append((time.perf_counter() - began, gpus))
                await asyncio.sleep(self._every_s)

        task = asyncio.create_task(sample())
        try:
            yield samples
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def read_gpus(target: str) -> AsyncIterator[GpuReader]:
    """A reader of the GPUs behind an orchestrator, each once though two services may hold it.

    A reading that fails is None: the stack is being driven as hard as it goes, and its questions say more.
    """
    caller = Caller(channel(check_target("target", target)), target)
    # The generated stubs carry no annotations.
    stub: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(caller.channel)

    async def read() -> Sequence[types_pb2.Gpu] | None:
        try:
            info = await caller.unary(_METHOD, stub.GetInfo, types_pb2.GetInfoRequest(), _TIMEOUT_S)
        except ArgoError:
            return None
        found = {gpu.uuid or str(gpu.index): gpu for peer in info.peers for gpu in peer.info.engine.gpus}
        silent = any(not peer.HasField("info") for peer in info.peers)
        return None if silent and not found else list(found.values())

    try:
        yield read
    finally:
        await caller.close()
