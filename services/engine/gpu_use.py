"""How busy GPUs are, and how much of their memory is held, while something runs."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from argo.v1 import types_pb2
from services.engine.gpu import gpu_facts

__all__ = ["GpuUse", "watched"]

_EVERY_S: Final = 0.5
"""The driver's own sample period is between a sixth of a second and a second."""


class GpuUse:
    """Samples of some GPUs."""

    def __init__(self) -> None:
        self._samples: dict[str, list[types_pb2.Gpu]] = {}

    def add(self, gpus: Sequence[types_pb2.Gpu]) -> None:
        """Take one reading of each."""
        for gpu in gpus:
            self._samples.setdefault(gpu.uuid or str(gpu.index), []).append(gpu)

    def records(self) -> list[dict[str, Any]]:
        """One entry for each GPU: mean use (None where the driver tells none), most memory held, and the samples."""
        return [
            {
                "uuid": samples[0].uuid,
                "name": samples[0].name,
                "utilisation": _mean([gpu.utilisation for gpu in samples if gpu.HasField("utilisation")]),
                "memory_used_bytes": max(gpu.memory_used_bytes for gpu in samples),
                "memory_bytes": samples[0].memory_bytes,
                "samples": len(samples),
            }
            for samples in self._samples.values()
        ]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


@contextlib.asynccontextmanager
async def watched(
    gpus: Sequence[int], *, read: Callable[[Sequence[int]], list[types_pb2.Gpu]] = gpu_facts, every_s: float = _EVERY_S
) -> AsyncIterator[GpuUse]:
    """Sample GPUs while the block runs.

    Args:
        gpus: Physical indexes; without any nothing is asked.
        read: Reads them; the driver's own by default.
        every_s: Between two readings.
    """
    use = GpuUse()
    if not gpus:
        yield use
        return

    async def sample() -> None:
        while True:
            # Asking the driver takes milliseconds, which the engine's loop is not to wait out.
            use.add(await asyncio.to_thread(read, gpus))
            await asyncio.sleep(every_s)

    task = asyncio.create_task(sample())
    try:
        yield use
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
