"""Figures from the saved JSON lines, and a table of every rung as a ratio to the first of its run.

plot.py FOLDER LINES ...: writes ladder.png and in_flight.png to the folder; reads those lines only.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


@dataclass
class Measured:
    """A rung at one level, stack and bare, rounds put together."""

    rung: str
    in_flight: int
    run: int
    records: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def latency_s(self, bench: str, percentile: int) -> float | None:
        """Percentile over the samples of all rounds."""
        samples = [one for record in self.records.get(bench, []) for one in record["samples"]["latency_s"]]
        if not samples:
            return None
        if percentile == 50:
            return statistics.median(samples)
        return sorted(samples)[min(len(samples) - 1, round(percentile / 100 * (len(samples) - 1)))]

    def ttft_s(self, bench: str) -> float | None:
        """Median time to the first words of the answer."""
        samples = [one for record in self.records.get(bench, []) for one in record["samples"]["ttft_s"]]
        return statistics.median(samples) if samples else None

    def rate(self, bench: str) -> float | None:
        """Questions a second over all rounds."""
        records = [record for record in self.records.get(bench, []) if record["questions"]]
        if not records:
            return None
        return sum(record["questions"] for record in records) / sum(record["wall_s"] for record in records)


def read(paths: Iterable[Path]) -> tuple[list[Measured], list[Mapping[str, Any]]]:
    """Measured rungs in their order, and what the predecessor's way took; each file may hold several runs."""
    found: dict[tuple[int, str, int], Measured] = {}
    predecessor: list[Mapping[str, Any]] = []
    run = 0
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["bench"] == "machine":
                run += 1
            elif record["bench"] == "predecessor" and "question_s" in record:
                predecessor.append(record)
            elif record["bench"] in ("stack", "bare") and record["questions"]:
                replicas = record.get("replicas", 1)
                name = record["rung"] + (f", {replicas} of each" if replicas > 1 else "")
                key = (run, name, record["in_flight"])
                one = found.setdefault(key, Measured(name, record["in_flight"], run))
                one.records.setdefault(record["bench"], []).append(record)
    return list(found.values()), predecessor


def table(measured: Sequence[Measured]) -> str:
    """Every rung beside the bare engines and as a ratio to the first rung of its run."""
    lines = [
        "| run | rung | in flight | p50 ms | p95 ms | TTFT ms | questions/s | bare p50 ms | over bare ms | bare/s "
        "| share of bare | p50 to first rung | questions/s to first rung |",
        "| --- " * 13 + "|",
    ]
    first: dict[tuple[int, int], Measured] = {}
    for one in measured:
        base = first.setdefault((one.run, one.in_flight), one)
        p50, rate, bare_p50, bare_rate = one.latency_s("stack", 50), one.rate("stack"), None, one.rate("bare")
        if p50 is None or rate is None:
            continue
        bare_p50 = one.latency_s("bare", 50)
        cells = [str(one.run), one.rung, str(one.in_flight), _ms(p50), _ms(one.latency_s("stack", 95))]
        cells += [_ms(one.ttft_s("stack")), f"{rate:.1f}", _ms(bare_p50)]
        cells += [_ms(p50 - bare_p50) if bare_p50 else "", f"{bare_rate:.1f}" if bare_rate else ""]
        cells += [f"{rate / bare_rate:.2f}" if bare_rate else ""]
        cells += [_ratio(p50, base.latency_s("stack", 50)), _ratio(rate, base.rate("stack"))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f}"


def _ratio(value: float, base: float | None) -> str:
    return "" if not base else f"{value / base:.2f}"


def draw_ladder(measured: Sequence[Measured], predecessor: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Median latency of one question at a time, from the predecessor's way down, on a logarithmic axis."""
    bars = [
        (f"transformers {one['rung']}, {one['attention']}", statistics.median(one["question_s"]), "#b0b0b0")
        for one in predecessor
    ]
    # Rungs of one run were measured on one host within minutes of each other; other runs had other neighbours.
    runs = sorted({one.run for one in measured})
    bars += [
        (f"run {one.run}: {one.rung}", value, ("#4878a8", "#7aa6d0")[runs.index(one.run) % 2])
        for one in measured
        if one.in_flight == 1 and (value := one.latency_s("stack", 50)) is not None
    ]
    figure, axes = pyplot.subplots(figsize=(9, 0.3 * len(bars) + 1.2))
    places = range(len(bars), 0, -1)
    axes.barh(places, [value for _, value, _ in bars], color=[colour for _, _, colour in bars])
    axes.set_yticks(places, [name for name, _, _ in bars], fontsize=8)
    for place, (_, value, _) in zip(places, bars, strict=True):
        axes.text(value, place, f" {value:.2f} s", va="center", fontsize=8)
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlim(right=2.2 * max(value for _, value, _ in bars))
    axes.set_xlabel("seconds of one question at a time, median (log); dotted: the near-real-time bound")
    _save(figure, path)


def draw_in_flight(measured: Sequence[Measured], path: Path) -> None:
    """Throughput against median latency, a line a rung, points by questions in flight."""
    figure, axes = pyplot.subplots(figsize=(8, 5))
    lines: dict[tuple[int, str], list[Measured]] = {}
    beside_bare = {one.run for one in measured if one.rate("bare")}
    for one in measured:
        if one.run in beside_bare:
            lines.setdefault((one.run, one.rung), []).append(one)
    for (_, rung), points in lines.items():
        for bench, style in (("stack", "-o"), ("bare", "--s")):
            drawn = sorted((one for one in points if one.rate(bench)), key=lambda one: one.in_flight)
            if len(drawn) < 2:
                continue
            xs = [one.latency_s(bench, 50) for one in drawn]
            axes.plot(xs, [one.rate(bench) for one in drawn], style, label=f"{rung}, {bench}", markersize=4)
            if bench == "bare":
                for x, one in zip(xs, drawn, strict=True):
                    axes.annotate(
                        str(one.in_flight),
                        (x, one.rate(bench)),
                        fontsize=8,
                        xytext=(5, -10),
                        textcoords="offset points",
                    )
    axes.set_xlabel("seconds of a question, median; points are marked with the questions in flight")
    axes.set_ylabel("questions/s")
    axes.legend(fontsize=7)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Print the table and write the figures."""
    folder, paths = Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]]
    measured, predecessor = read(paths)
    print(table(measured))
    draw_ladder(measured, predecessor, folder / "ladder.png")
    draw_in_flight(measured, folder / "in_flight.png")


if __name__ == "__main__":
    main()
