"""`python -m services.decomposer`: run the decomposer as this process."""

from __future__ import annotations

import sys

from argo.server import run
from argo.telemetry import Telemetry
from services.decomposer.servicer import Decomposer
from services.decomposer.settings import DecomposerSettings


def _make(settings: DecomposerSettings, telemetry: Telemetry) -> Decomposer:
    return Decomposer(settings, telemetry)


if __name__ == "__main__":
    sys.exit(run(DecomposerSettings, _make, "decomposer"))
