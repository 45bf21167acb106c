"""Processor time and memory of other processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Usage", "host_busy_s", "read_usage", "used_cpu_s"]

_TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What one process has used so far."""

    pid: int
    cpu_s: float
    """User and system time of all its threads, in steps of a clock tick (10 ms on Linux)."""
    rss_mib: float


def _parse(pid: int, stat: str) -> Usage:
    # The second field is the command in brackets, which may itself hold blanks and brackets.
    fields = stat.rpartition(")")[2].split()
    return Usage(pid, (int(fields[11]) + int(fields[12])) * _TICK_S, int(fields[21]) * _PAGE_BYTES / 2**20)


def read_usage(pids: Mapping[str, int]) -> dict[str, Usage]:
    """Usage by name; a process that is gone, or a system without /proc, is left out."""
    found: dict[str, Usage] = {}
    for name, pid in pids.items():
        try:
            found[name] = _parse(pid, Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"))
        except OSError:
            continue
    return found


def host_busy_s() -> float | None:
    """Processor seconds that the whole machine has spent on anything since it started; None without /proc."""
    try:
        line = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, *interrupts = (int(field) for field in line.split()[1:9])
    return (user + nice + system + sum(interrupts)) * _TICK_S


def used_cpu_s(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> dict[str, float]:
    """Processor seconds between two readings, for the processes that lived through both."""
    return {
        name: after[name].cpu_s - usage.cpu_s
        for name, usage in before.items()
        if name in after and after[name].pid == usage.pid
    }
