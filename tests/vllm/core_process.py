"""The process of an engine core, for tests that freeze and kill it."""

from __future__ import annotations

import psutil

__all__ = ["core_of"]


def core_of(pid: int | None = None) -> psutil.Process:
    """The one engine core among a process's descendants; this process's where no pid is given."""
    found = [child for child in psutil.Process(pid).children(recursive=True) if "EngineCore" in _command(child)]
    assert len(found) == 1, found
    return found[0]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) + process.name()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        # A compiler's helper that ended meanwhile, and that nobody has asked after yet.
        return ""
