"""The file from which Prometheus learns where the metrics of a running stack are (its file_sd_configs)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from deploy.plan import ServicePlan
from deploy.state_file import Tell, publish_file

__all__ = ["publish_targets", "targets_path"]


def targets_path(state_dir: Path) -> Path:
    """The file of a state folder; deploy/observability/prometheus.local.yaml names the default one."""
    return state_dir / "metrics.json"


def publish_targets(state_dir: Path, services: Iterable[ServicePlan], tell: Tell) -> AbstractContextManager[None]:
    """Name the metrics address of every service that has one, until the block is left.

    Args:
        state_dir: Folder of the file.
        services: Those of the stack.
        tell: Takes the line that says why the file could not be written.
    """
    targets = [
        {"targets": [service.metrics_target], "labels": {"service": service.service}}
        for service in services
        if service.metrics_target
    ]
    # In one step: Prometheus reads the file the moment it changes.
    return publish_file(targets_path(state_dir), targets, tell)
