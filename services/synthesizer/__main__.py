"""`python -m services.synthesizer`: run the synthesizer as this process."""

from __future__ import annotations

import sys

from argo.server import run
from argo.telemetry import Telemetry
from services.synthesizer.servicer import Synthesizer
from services.synthesizer.settings import SynthesizerSettings


def _make(settings: SynthesizerSettings, telemetry: Telemetry) -> Synthesizer:
    return Synthesizer(settings, telemetry)


if __name__ == "__main__":
    sys.exit(run(SynthesizerSettings, _make, "synthesizer"))
