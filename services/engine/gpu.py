"""The GPUs of this machine as the driver sees them: what an engine may be pinned to, and what it holds."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from argo.v1 import types_pb2
from services.engine.byte_size import gib
from services.engine.port import EngineOptionError

__all__ = ["Memory", "check_gpus", "check_memory", "gpu_count", "gpu_facts", "visible_devices"]


class Memory(Protocol):
    """Memory of one GPU in bytes, as NVML tells it."""

    total: int
    free: int


@contextlib.contextmanager
def _driver() -> Iterator[Any]:
    """NVML, opened; None where the library or the driver is missing."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def gpu_count() -> int | None:
    """GPUs of this machine; None where the driver cannot be asked."""
    with _driver() as nvml:
        return None if nvml is None else int(nvml.nvmlDeviceGetCount())


def check_gpus(gpus: Sequence[int], share: float | None) -> None:
    """Refuse a pinning that cannot work, before any weight is loaded.

    Args:
        gpus: Physical indexes.
        share: Share of each GPU's memory to take; None for the profile's.

    Raises:
        EngineOptionError: A GPU that is not there, more of them than there are, or a share that others have taken.
    """
    if not gpus:
        return
    with _driver() as nvml:
        if nvml is None:
            raise EngineOptionError(
                f"gpus names {', '.join(map(str, gpus))}, but NVIDIA's driver cannot be asked: install nvidia-ml-py "
                "and the driver, or leave gpus unset"
            )
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        check_memory(gpus, share, [nvml.nvmlDeviceGetMemoryInfo(handle) for handle in handles])


def visible_devices(gpus: Sequence[int], given: str | None) -> dict[str, str]:
    """Environment under which CUDA shows a process these GPUs and no others.

    A process that is told to use the second of two GPUs runs kernels that vLLM compiled, and kept, for the first, and
    fails: a graph in the cache names its device. One that sees a single GPU has only a first.

    Args:
        gpus: Physical indexes, as the driver counts.
        given: CUDA_VISIBLE_DEVICES as the process was started with; None where it is unset; an empty one hides all.

    Raises:
        EngineOptionError: A GPU that the given value hides, or that cannot be told from it.
    """
    # CUDA reads the list up to the first entry that is none of its numbers.
    listed = list(itertools.takewhile(str.isdigit, (each.strip() for each in (given or "").split(","))))
    hidden = [index for index in gpus if given is not None and str(index) not in listed]
    if hidden:
        raise EngineOptionError(
            f"gpus must name physical GPUs that CUDA_VISIBLE_DEVICES={given} lets be seen by their numbers, "
            f"got {hidden[0]}: unset it, or leave gpus unset"
        )
    # By default CUDA counts the fastest first, and the driver by the bus.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}


def check_memory(gpus: Sequence[int], share: float | None, there: Sequence[Memory]) -> None:
    """The same against GPUs that are known.

    Args:
        gpus: Physical indexes.
        share: Share of each GPU's memory to take; None leaves that to the engine.
        there: Memory of each GPU of the machine, by index.

    Raises:
        EngineOptionError: As for :func:`check_gpus`.
    """
    if len(gpus) > len(there):
        raise EngineOptionError(f"gpus must name at most {len(there)} GPUs, which this machine has, got {len(gpus)}")
    wrong = [index for index in gpus if index >= len(there)]
    if wrong:
        raise EngineOptionError(f"gpus must be in 0..{len(there) - 1}, got {wrong[0]}")
    for index in gpus if share is not None else ():
        memory = there[index]
        wanted = int(memory.total * (share or 0.0))
        if wanted > memory.free:
            raise EngineOptionError(
                f"gpu_memory_share must leave what others hold on GPU {index}: {share:g} of "
                f"{gib(memory.total)} is {gib(wanted)}, got {gib(memory.free)} free"
            )


def gpu_facts(gpus: Sequence[int]) -> list[types_pb2.Gpu]:
    """What the driver says of some GPUs; empty where it cannot be asked."""
    with _driver() as nvml:
        if nvml is None:
            return []
        return [_facts(nvml, index, gpus) for index in gpus if index < nvml.nvmlDeviceGetCount()]


def _facts(nvml: Any, index: int, gpus: Sequence[int]) -> types_pb2.Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    name = nvml.nvmlDeviceGetName(handle)
    uuid = nvml.nvmlDeviceGetUUID(handle)
    gpu = types_pb2.Gpu(
        index=index,
        # Older releases of the library give bytes.
        name=name.decode() if isinstance(name, bytes) else str(name),
        uuid=uuid.decode() if isinstance(uuid, bytes) else str(uuid),
        memory_bytes=memory.total,
        memory_used_bytes=memory.used,
        links=[f"{other}: {_link(nvml, handle, other)}" for other in gpus if other != index],
    )
    # Virtual GPUs report no use.
    with contextlib.suppress(nvml.NVMLError):
        gpu.utilisation = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    return gpu


def _link(nvml: Any, handle: Any, other: int) -> str:
    peer = nvml.nvmlDeviceGetHandleByIndex(other)
    try:
        if nvml.nvmlDeviceGetP2PStatus(handle, peer, nvml.NVML_P2P_CAPS_INDEX_NVLINK) == nvml.NVML_P2P_STATUS_OK:
            return "NVLink"
        level = nvml.nvmlDeviceGetTopologyCommonAncestor(handle, peer)
    except nvml.NVMLError:
        return "unknown"
    names = {
        nvml.NVML_TOPOLOGY_INTERNAL: "one board",
        nvml.NVML_TOPOLOGY_SINGLE: "one PCIe switch",
        nvml.NVML_TOPOLOGY_MULTIPLE: "several PCIe switches",
        nvml.NVML_TOPOLOGY_HOSTBRIDGE: "one PCIe host bridge",
        nvml.NVML_TOPOLOGY_NODE: "one NUMA node",
    }
    return names.get(level, "across NUMA nodes")
