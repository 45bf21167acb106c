"""`python -m orchestrator`: run the orchestrator as this process."""

from __future__ import annotations

import sys

from argo.server import run
from argo.telemetry import Telemetry
from orchestrator.service import Orchestrator
from orchestrator.session_factory import make_store
from orchestrator.settings import OrchestratorSettings


def _make(settings: OrchestratorSettings, telemetry: Telemetry) -> Orchestrator:
    return Orchestrator(settings, telemetry, make_store(settings))


if __name__ == "__main__":
    sys.exit(run(OrchestratorSettings, _make, "orchestrator"))
