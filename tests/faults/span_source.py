"""Makes spans for a collector and says what they take; run as a program by its test: `span_source.py URL FIRST MORE`.

A process of its own, since the memory of one that has done other things hides what a few spans take.
"""

from __future__ import annotations

import sys

import psutil

from argo.settings import TelemetrySettings
from argo.telemetry import SESSION_ID, configure


def _main(endpoint: str, first: str, more: str) -> None:
    telemetry = configure("test", TelemetrySettings(otlp_endpoint=endpoint))
    process = psutil.Process()
    sizes = [process.memory_info().rss]
    for count in (int(first), int(more)):
        for number in range(count):
            with telemetry.tracer.start_as_current_span("span", attributes={SESSION_ID: f"{number:064}"}):
                pass
        sizes.append(process.memory_info().rss)
    sys.stdout.write(f"{sizes[1] - sizes[0]} {sizes[2] - sizes[1]}\n")
    telemetry.shutdown()


if __name__ == "__main__":
    _main(*sys.argv[1:])
