"""The file from which Prometheus learns where the metrics of a running stack are (its file_sd_configs)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.plan import ServicePlan

__all__ = ["publish_targets", "targets_path"]


def targets_path(state_dir: Path) -> Path:
    """The file of a state folder; deploy/observability/prometheus.local.yaml names the default one."""
    return state_dir / "metrics.json"


@contextlib.contextmanager
def publish_targets(state_dir: Path, services: Iterable[ServicePlan]) -> Iterator[None]:
    """Name the metrics address of every service that has one, until the block is left.

    Args:
        state_dir: Folder of the file.
        services: Those of the stack.
    """
    targets = [
        {"targets": [service.metrics_target], "labels": {"service": service.service}}
        for service in services
        if service.metrics_target
    ]
    path = targets_path(state_dir)
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps(targets, indent=2) + "\n", encoding="utf-8")
    # In one step: Prometheus reads the file the moment it changes.
    new.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
