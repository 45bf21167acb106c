"""Figures from the saved JSON lines, and a table of every rung as a ratio to the first of its run.

plot.py FOLDER LINES ...: writes ladder.png, beside_bare.png and in_flight.png to the folder; reads those lines only.
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
                key = (run, record["rung"], record["in_flight"])
                one = found.setdefault(key, Measured(record["rung"], record["in_flight"], run))
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
        (f"transformers {one['rung']}\n{one['attention']}", statistics.median(one["question_s"])) for one in predecessor
    ]
    bars += [
        (one.rung, value)
        for one in measured
        if one.in_flight == 1 and (value := one.latency_s("stack", 50)) is not None
    ]
    figure, axes = pyplot.subplots(figsize=(9, 0.32 * len(bars) + 1.5))
    axes.barh([name for name, _ in bars][::-1], [value for _, value in bars][::-1], color="#4878a8")
    for place, (_, value) in enumerate(reversed(bars)):
        axes.text(value, place, f" {value:.2f} s", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("e2e_s of one question at a time, median (log)")
    axes.margins(x=0.15)
    _save(figure, path)


def draw_beside_bare(measured: Sequence[Measured], path: Path) -> None:
    """Questions a second of stack and bare engines, each rung at its highest level."""
    both = [one for one in measured if one.rate("stack") and one.rate("bare")]
    names = [f"{one.rung}\n{one.in_flight} in flight" for one in both]
    figure, axes = pyplot.subplots(figsize=(max(6, 0.9 * len(both) + 2), 4))
    for shift, bench, colour in ((-0.2, "stack", "#4878a8"), (0.2, "bare", "#b0b0b0")):
        axes.bar(
            [x + shift for x in range(len(both))],
            [one.rate(bench) or 0 for one in both],
            0.4,
            color=colour,
            label=bench,
        )
    axes.set_xticks(range(len(both)), names, rotation=60, ha="right", fontsize=7)
    axes.set_ylabel("questions/s")
    axes.legend()
    _save(figure, path)


def draw_in_flight(measured: Sequence[Measured], path: Path) -> None:
    """Throughput against median latency, a line a rung, points by questions in flight."""
    figure, axes = pyplot.subplots(figsize=(8, 5))
    lines: dict[tuple[int, str], list[Measured]] = {}
    for one in measured:
        lines.setdefault((one.run, one.rung), []).append(one)
    for (_, rung), points in lines.items():
        for bench, style in (("stack", "-o"), ("bare", "--s")):
            drawn = sorted((one for one in points if one.rate(bench)), key=lambda one: one.in_flight)
            if len(drawn) < 2:
                continue
            xs = [one.latency_s(bench, 50) for one in drawn]
            axes.plot(xs, [one.rate(bench) for one in drawn], style, label=f"{rung}, {bench}", markersize=4)
            for x, one in zip(xs, drawn, strict=True):
                axes.annotate(
                    str(one.in_flight), (x, one.rate(bench)), fontsize=7, xytext=(3, 3), textcoords="offset points"
                )
    axes.set_xlabel("e2e_s, median")
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
    draw_beside_bare(measured, folder / "beside_bare.png")
    draw_in_flight(measured, folder / "in_flight.png")


if __name__ == "__main__":
    main()
