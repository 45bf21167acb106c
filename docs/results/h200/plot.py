"""The figure of data/runs.jsonl: latency and throughput of the stack beside the same engines bare."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
SERIES = {
    ("stack", "run9"): ("ARGO, a pool of BLAS threads in each service", "tab:gray"),
    ("stack", "run17"): ("ARGO, one BLAS thread", "tab:blue"),
    ("bare", "run17"): ("the same two engines, bare", "tab:orange"),
}


def main() -> None:
    """Draw and save."""
    records = [json.loads(line) for line in (HERE / "data/runs.jsonl").read_text().splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), constrained_layout=True)
    for (bench, run), (label, colour) in SERIES.items():
        rows = [row for row in records if (row["bench"], row["run"]) == (bench, run) and row["label"] == "default"]
        levels = [row["in_flight"] for row in rows]
        left.plot(levels, [row["latency_s"]["p50"] for row in rows], marker="o", color=colour, label=label)
        left.plot(levels, [row["latency_s"]["p95"] for row in rows], marker=".", ls=":", color=colour)
        right.plot(levels, [row["questions_per_s"] for row in rows], marker="o", color=colour, label=label)
    for axes, unit in ((left, "latency, s (solid p50, dotted p95)"), (right, "questions per second")):
        axes.set(xscale="log", xlabel="questions in flight", ylabel=unit, xticks=[1, 16, 64, 256])
        axes.set_xticklabels(["1", "16", "64", "256"])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    left.set(yscale="log", yticks=[0.5, 1, 2, 4, 8], yticklabels=["0.5", "1", "2", "4", "8"])
    left.minorticks_off()
    right.legend(frameon=False, fontsize=8)
    figure.suptitle("One H200, Qwen2.5-1.5B shape, vLLM 0.26: three subqueries of 50 tokens, one answer of 200")
    figure.savefig(HERE / "stack.png", dpi=110)


if __name__ == "__main__":
    main()
