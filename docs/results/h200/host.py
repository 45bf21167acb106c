"""What the machine does meanwhile: processor time by process, and the driver's view of the GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from bench.process import read_usage

__all__ = ["GpuWatch", "ProcessorWatch", "compute_processes", "descendants", "end", "gpu_name"]

_SAMPLE_S = 0.1


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(path.parent.name))
    return found


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    children = _children()
    found, waiting = [], [pid]
    while waiting:
        more = children.get(waiting.pop(), [])
        found += more
        waiting += more
    return found


def end(pids: Iterable[int]) -> None:
    """Kill processes by their ids; those that are gone already are passed over."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class ProcessorWatch:
    """Cores used by each process, and by its children together, from its making to :meth:`cores`."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._families = {name: [pid] for name, pid in pids.items()}
        self._families |= {f"{name} children": descendants(pid) for name, pid in pids.items()}
        self._before = self._used()
        self._began = time.monotonic()

    def _used(self) -> dict[str, float]:
        return {
            name: sum(usage.cpu_s for usage in read_usage({str(pid): pid for pid in pids}).values())
            for name, pids in self._families.items()
            if pids
        }

    def cores(self) -> dict[str, float]:
        """Mean cores busy since the making."""
        wall_s, after = time.monotonic() - self._began, self._used()
        return {name: round((after[name] - before) / wall_s, 3) for name, before in self._before.items()}


class GpuWatch:
    """Use and memory of every GPU by NVML, sampled while the block runs; nothing where there is no driver."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._samples: list[list[tuple[int, int]]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # no library or no driver: there is nothing to watch
            return
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        while not self._stop.wait(_SAMPLE_S):
            self._samples.append(
                [
                    (pynvml.nvmlDeviceGetUtilizationRates(one).gpu, pynvml.nvmlDeviceGetMemoryInfo(one).used)
                    for one in handles
                ]
            )

    def figures(self) -> list[dict[str, float]]:
        """Of each GPU, mean use in percent and most memory in MiB."""
        return [
            {
                "use_percent": sum(use for use, _ in samples) / len(samples),
                "memory_mib": max(memory for _, memory in samples) / 2**20,
            }
            for samples in zip(*self._samples, strict=True)
        ]


def _query(what: str) -> list[str]:
    with suppress(FileNotFoundError, subprocess.CalledProcessError):
        command = ["nvidia-smi", what, "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return []


def gpu_name() -> list[str]:
    """Index, id, name, driver and memory of each GPU."""
    return _query("--query-gpu=index,uuid,name,driver_version,memory.total")


def compute_processes(pids: Mapping[str, int]) -> list[dict[str, Any]]:
    """The driver's own list of processes on GPUs, each with the service that it belongs to."""
    owner = {child: name for name, pid in pids.items() for child in [pid, *descendants(pid)]}
    listed = []
    for line in _query("--query-compute-apps=gpu_uuid,pid,used_memory"):
        uuid, pid, memory = (part.strip() for part in line.split(","))
        name = owner.get(int(pid), "another") if pid.isdecimal() else "unknown"
        listed.append({"gpu_uuid": uuid, "pid": pid, "used_memory": memory, "service": name})
    return listed
