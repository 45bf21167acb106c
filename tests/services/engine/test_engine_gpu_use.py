"""GPU use while something runs, with readings of our own."""

import asyncio
from collections.abc import Sequence

from argo.v1 import types_pb2
from services.engine.gpu_use import GpuUse, watched


def _gpu(uuid: str, used: int, utilisation: float | None) -> types_pb2.Gpu:
    return types_pb2.Gpu(uuid=uuid, name="H200", memory_bytes=100, memory_used_bytes=used, utilisation=utilisation)


def test_use_is_a_mean_and_memory_the_most_of_each_gpu() -> None:
    use = GpuUse()
    use.add([_gpu("a", 40, 0.5), _gpu("b", 10, None)])
    use.add([_gpu("a", 60, 1.0), _gpu("b", 20, None)])
    first, second = use.records()
    assert (first["uuid"], first["utilisation"], first["memory_used_bytes"], first["samples"]) == ("a", 0.75, 60, 2)
    # A virtual GPU tells no use, which is not the same as none.
    assert (second["utilisation"], second["memory_used_bytes"], second["memory_bytes"]) == (None, 20, 100)


async def test_a_gpu_is_read_again_and_again_until_the_block_ends() -> None:
    read = asyncio.Event()
    asked: list[list[int]] = []
    loop = asyncio.get_running_loop()

    def facts(gpus: Sequence[int]) -> list[types_pb2.Gpu]:
        asked.append(list(gpus))
        if len(asked) == 3:
            loop.call_soon_threadsafe(read.set)
        return [_gpu("a", 1, 0.5)]

    async with watched([0, 2], read=facts, every_s=0.0) as use:
        await read.wait()
    count = len(asked)
    assert asked[0] == [0, 2]
    assert use.records()[0]["samples"] >= 2
    await asyncio.sleep(0)
    assert len(asked) == count


async def test_without_gpus_nothing_is_asked() -> None:
    def never(gpus: Sequence[int]) -> list[types_pb2.Gpu]:
        raise AssertionError(gpus)

    async with watched([], read=never) as use:
        pass
    assert use.records() == []
