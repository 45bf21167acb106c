"""The service of :mod:`faulty_service` as a process of its own, and calls to every method of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from fault_process import Process, bare_environ
from redis_process import free_port

from deploy.roster import ORCHESTRATOR


@contextlib.asynccontextmanager
async def faulty_process(folder: Path, **settings: object) -> AsyncIterator[Process]:
    """It, serving, and gone afterwards.

    Args:
        folder: For its log.
        settings: Of :class:`argo.settings.ServerSettings`.
    """
    port, metrics_port = free_port(), free_port()
    settings |= {"port": port, "metrics_port": metrics_port}
    process = Process(
        "faulty",
        ORCHESTRATOR,
        port,
        metrics_port,
        bare_environ() | {f"ARGO_FAULTY_{name.upper()}": str(value) for name, value in settings.items()},
        folder / "faulty.log",
        (sys.executable, "-m", "tests.faults.faulty_service"),
    )
    try:
        await process.restart()
        yield process
    finally:
        process.close()
