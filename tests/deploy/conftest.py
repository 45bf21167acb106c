"""A state folder, documents, and stacks of scripted services."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scripted_service import MODULES, PlanOf, service_plan

from deploy.layout import Layout
from deploy.plan import StackPlan, take_ports
from deploy.settings import DeploySettings


@pytest.fixture
def scripts(tmp_path: Path) -> dict[str, str]:
    """Environment in which the scripted modules can be run."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "PYTHONUNBUFFERED": "1",
        "SCRIPTED_FLAG": str(tmp_path / "flag"),
    }


@pytest.fixture
def settings(tmp_path: Path) -> DeploySettings:
    return DeploySettings(
        state_dir=tmp_path / "state",
        start_timeout_s=30,
        stop_grace_s=5,
        restart_initial_s=0.01,
        restart_cap_s=0.04,
        restart_reset_s=3600,
    )


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "one.md").write_text("# One\n\nA1 connects the Non-RT RIC and the Near-RT RIC.\n")
    return folder


@pytest.fixture
def plan_of(settings: DeploySettings, documents: Path) -> PlanOf:
    """Makes a stack plan in which each service runs a scripted module."""

    def make(**modules: str) -> StackPlan:
        layout = Layout(settings.state_dir, documents)
        ports = take_ports(settings, ephemeral=True)
        return StackPlan(layout, tuple(service_plan(name, module, ports, layout) for name, module in modules.items()))

    return make
