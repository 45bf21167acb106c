"""`python -m orchestrator`: run the orchestrator as this process."""

from __future__ import annotations

import sys

from argo.server import run
from argo.telemetry import Telemetry
from orchestrator.service import Orchestrator
from orchestrator.session_sqlite import SqliteSessionStore
from orchestrator.settings import OrchestratorSettings


def _make(settings: OrchestratorSettings, telemetry: Telemetry) -> Orchestrator:
    store = SqliteSessionStore(settings.session_path, settings.session_ttl_s, settings.session_most)
    return Orchestrator(settings, telemetry, store)


if __name__ == "__main__":
    sys.exit(run(OrchestratorSettings, _make, "orchestrator"))
