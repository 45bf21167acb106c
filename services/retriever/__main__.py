"""`python -m services.retriever`: run the retriever as this process."""

from __future__ import annotations

import sys

from argo.server import run
from argo.telemetry import Telemetry
from services.retriever.servicer import RetrieverProcess
from services.retriever.settings import RetrieverSettings


def _make(settings: RetrieverSettings, telemetry: Telemetry) -> RetrieverProcess:
    return RetrieverProcess(settings, telemetry)


if __name__ == "__main__":
    sys.exit(run(RetrieverSettings, _make, "retriever"))
