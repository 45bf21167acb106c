"""Figure of throughput and latency against the number in flight, from a saved record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from bench.figure import COLOURS, axes_grid, save, style
from bench.record import Run
from bench.throughput import score

__all__ = ["plot_throughput"]

_LATENCY: Final = (
    ("p50_ms", "question, median", "-", "o", 0),
    ("p95_ms", "question, 95th percentile", "--", "s", 0),
    ("ttft_p50_ms", "first words, median", "-", "^", 2),
    ("ttft_p95_ms", "first words, 95th percentile", "--", "v", 2),
)


def plot_throughput(run: Run, path: Path) -> None:
    """Draw questions and tokens a second, latency, time per output token and GPU use against the number in flight.

    What a run does not have, such as tokens without a language model, has no panel.

    Args:
        run: A record of `throughput`.
        path: PNG to write.
    """
    scores = score(run)
    panels = [_questions]
    if any(row["tokens_per_s"] is not None for row in scores):
        panels.append(_tokens)
    panels.append(_latency)
    if any(row["tpot_p50_ms"] is not None for row in scores):
        panels.append(_tpot)
    if any(row["gpu_use"] is not None for row in scores):
        panels.append(_gpu)
    columns = len(panels) if len(panels) < 4 else (len(panels) + 1) // 2
    rows = -(-len(panels) // columns)
    with style():
        figure, made = axes_grid(rows, columns, width=4.6 * columns, height=0.8 + 3.5 * rows)
        for axes, draw in zip(made, panels, strict=False):
            draw(axes, scores)
            _level_axis(axes, [row["in_flight"] for row in scores])
        for spare in made[len(panels) :]:
            spare.set_visible(False)
        settings = run.head["settings"]
        what = settings["note"] or settings["engine"] or "the stack's engines"
        chunks = f"{settings['repeat']} chunks of {settings['chunk']} each level, 95 % intervals over the chunks"
        figure.suptitle(f"Throughput: {what}\n{chunks}", fontsize=11)
        save(figure, path)


def _level_axis(axes: Axes, levels: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(levels)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("in flight")


def _rate(axes: Axes, scores: Sequence[Mapping[str, Any]], name: str, colour: str) -> None:
    rows = [row for row in scores if row[name] is not None]
    at, mean = [row["in_flight"] for row in rows], [row[name] for row in rows]
    # A single chunk has no interval.
    ends = [
        [row[name] - (row[f"{name}_low"] or row[name]) for row in rows],
        [(row[f"{name}_high"] or row[name]) - row[name] for row in rows],
    ]
    axes.errorbar(at, mean, yerr=ends, color=colour, marker="o", markersize=5, capsize=3)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def _questions(axes: Axes, scores: Sequence[Mapping[str, Any]]) -> None:
    _rate(axes, scores, "questions_per_s", COLOURS[0])
    axes.set_title("Questions")
    axes.set_ylabel("questions a second")


def _tokens(axes: Axes, scores: Sequence[Mapping[str, Any]]) -> None:
    _rate(axes, scores, "tokens_per_s", COLOURS[1])
    axes.set_title("Tokens")
    axes.set_ylabel("completion tokens a second")


def _latency(axes: Axes, scores: Sequence[Mapping[str, Any]]) -> None:
    for name, label, line, marker, colour in _LATENCY:
        rows = [row for row in scores if row[name] is not None]
        if rows:
            look: dict[str, Any] = {"color": COLOURS[colour], "linestyle": line, "marker": marker, "markersize": 5}
            axes.plot([row["in_flight"] for row in rows], [row[name] for row in rows], label=label, **look)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("Latency")
    axes.set_ylabel("ms")
    _legend_below(axes)


def _legend_below(axes: Axes) -> None:
    # The curves may be anywhere in their panel.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _tpot(axes: Axes, scores: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for row in scores if row["tpot_p50_ms"] is not None]
    at = [row["in_flight"] for row in rows]
    axes.plot(at, [row["tpot_p50_ms"] for row in rows], color=COLOURS[3], marker="o", label="median")
    axes.plot(
        at, [row["tpot_p95_ms"] for row in rows], color=COLOURS[3], linestyle="--", marker="s", label="95th percentile"
    )
    axes.set_ylim(0, 1.08 * max(row["tpot_p95_ms"] for row in rows))
    axes.set_title("Time per output token")
    axes.set_ylabel("ms a token")
    _legend_below(axes)


def _gpu(axes: Axes, scores: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for row in scores if row["gpu_use"] is not None]
    axes.plot([row["in_flight"] for row in rows], [100 * row["gpu_use"] for row in rows], color=COLOURS[4], marker="o")
    axes.set_ylim(0, 103)
    axes.set_title("GPU use")
    axes.set_ylabel("busy, % (mean of the GPUs)")
