"""Whether anything ran out of memory while it was measured: what the services' logs say, and what the kernel did."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["OUT_OF_MEMORY", "MemoryWatch", "ran_out"]

OUT_OF_MEMORY: Final = re.compile(r"out of memory|OutOfMemory|cannot allocate memory|std::bad_alloc|MemoryError", re.I)
"""What CUDA, PyTorch, the kernel, C++ and Python write."""
_PROC: Final = Path("/proc")
_STDERR: Final = 2


def ran_out(lines: Iterable[str]) -> int:
    """How many lines tell of memory that ran out."""
    return sum(OUT_OF_MEMORY.search(line) is not None for line in lines)


class MemoryWatch:
    """Looks at the processes of a stack before a run and after it.

    Args:
        pids: By name; empty where they are not known, as of a stack on another machine.
        proc: The /proc to look into.
    """

    def __init__(self, pids: Mapping[str, int], *, proc: Path = _PROC) -> None:
        self._proc = proc
        self._pids = pids
        self._logs = {name: path for name, pid in pids.items() if (path := self._log_of(pid)) is not None}
        self._before = {name: path.stat().st_size for name, path in self._logs.items()}
        self._kills = self._kernel_kills()

    def _log_of(self, pid: int) -> Path | None:
        """The file that a process writes its log to; None where that is none."""
        try:
            path = Path(os.readlink(self._proc / str(pid) / "fd" / str(_STDERR)))
        except OSError:
            return None
        return path if path.is_file() else None

    def _kernel_kills(self) -> int | None:
        """Processes that the kernel has killed for memory, on the whole machine; None where it does not say."""
        try:
            lines = (self._proc / "vmstat").read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)

    def row(self) -> dict[str, Any]:
        """What has happened since.

        Returns:
            logs: names of the processes whose logs were read; lines: how many tell of memory that ran out, by
            name, where there are any; gone: names of processes that have ended; kernel_kills: None where unknown.
        """
        lines = {name: self._new_lines(name) for name in self._logs}
        kills = self._kernel_kills()
        return {
            "logs": sorted(self._logs),
            "lines": {name: count for name, count in lines.items() if count},
            "gone": [name for name, pid in self._pids.items() if not (self._proc / str(pid)).exists()],
            "kernel_kills": None if kills is None or self._kills is None else kills - self._kills,
        }

    def _new_lines(self, name: str) -> int:
        try:
            with self._logs[name].open("rb") as file:
                file.seek(self._before[name])
                return ran_out(file.read().decode(errors="replace").splitlines())
        except OSError:
            return 0
