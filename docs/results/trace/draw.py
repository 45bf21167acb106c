"""Draw what `argo trace` prints for the recorded traces of tests/data as pictures, through headless Chromium.

PYTHONPATH=. python docs/results/trace/draw.py
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI

from argo.console_trace import show_hops, show_trace
from argo.hop import hop_figures
from argo.jaeger import parse_traces

HERE = Path(__file__).parent
RECORDING = HERE.parents[2] / "tests" / "data" / "jaeger-traces.json"
SCALE = 0.75


def _picture(console: Console, title: str, path: Path) -> None:
    # Rich names a font on another host; a picture takes the machine's own.
    svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title=title, theme=MONOKAI), flags=re.DOTALL)
    svg = re.sub(r"font-family: Fira Code[^;]*;", "font-family: DejaVu Sans Mono, monospace;", svg)
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None
    width, height = (round(float(each) * SCALE) for each in found.groups())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        sized = svg.replace("<svg ", f"<svg width={width} height={height} ", 1)
        page.write_text(f'<body style="margin:0">{sized}</body>')
        subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                f"--window-size={width},{height}",
                f"--screenshot={path}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
    # Few colours, so a palette loses nothing that shows.
    with Image.open(path) as drawn:
        drawn.convert("RGB").quantize(64).save(path, optimize=True)
    sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


def _console(width: int = 116) -> Console:
    return Console(record=True, width=width, highlight=False, markup=False, emoji=False, file=io.StringIO())


def main() -> None:
    """Draw one waterfall, and the hops of all."""
    traces = parse_traces(json.loads(RECORDING.read_text()))
    slowest = sorted(traces, key=lambda trace: -trace.tree.root.duration_s)
    console = _console()
    show_trace(console, slowest[0])
    _picture(console, "argo trace show last", HERE / "waterfall.png")
    console = _console(100)
    show_hops(console, traces, hop_figures(traces), slowest[:3])
    _picture(console, "argo trace hops --since 1h", HERE / "hops.png")


if __name__ == "__main__":
    main()
