"""Figure of quality against cost and against latency, from a saved record of `strategies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bench.figure import COLOURS, axes_grid, save, style
from bench.record import Run
from bench.strategy_score import score
from bench.variant import PLAIN

__all__ = ["pareto", "plot_strategies"]

_MARKERS: Final = "osD^vP*X"
_WIDE: Final = 20
"""Ratio of the largest to the smallest from which an axis is logarithmic."""
_AGAINST: Final = {
    "mean_cost": "cost a question, in answer quality before its weight",
    "p50_ms": "median latency, ms",
}


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that none beats: none is at least as cheap and as good, and better in one of the two.

    Args:
        points: Cost, smaller is better, and quality, larger is better.

    Returns:
        By cost, then by quality; equal points are all of them on the front.
    """
    front = [
        place
        for place, (cost, quality) in enumerate(points)
        if not any(
            other_cost <= cost and other >= quality and (other_cost, other) != (cost, quality)
            for other_cost, other in points
        )
    ]
    return sorted(front, key=lambda place: points[place])


def plot_strategies(run: Run, path: Path) -> None:
    """Draw quality against cost and latency: a row of panels for each set, budgets by fill, the best joined by a line.

    Args:
        run: A record of `strategies`.
        path: PNG to write.
    """
    rows = [row for row in score(run) if row["variant"] == PLAIN and row["mean_cost"] is not None]
    sets = list(dict.fromkeys(row["set"] for row in rows))
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    budgets = list(dict.fromkeys(row["budget_ms"] for row in rows))
    looks = {name: (COLOURS[place % 8], _MARKERS[place % 8]) for place, name in enumerate(strategies)}
    with style():
        figure, panels = axes_grid(max(1, len(sets)), 2, height=1.2 + 3.6 * max(1, len(sets)), sharey="row")
        for place, name in enumerate(sets):
            here = [row for row in rows if row["set"] == name]
            for axes, field in zip(panels[2 * place : 2 * place + 2], _AGAINST, strict=True):
                _panel(axes, here, field, looks, budgets)
            panels[2 * place].set_ylabel(f"{name}: {here[0]['measure']}, %")
        figure.legend(
            handles=_legend(looks, budgets),
            loc="outside lower center",
            ncols=min(8, len(strategies) + len(budgets) + 1),
        )
        figure.suptitle(f"Quality against what it takes: {_engine(run)}; 95 % intervals", fontsize=12)
        save(figure, path)


def _engine(run: Run) -> str:
    engine = run.head["stack"].get("synthesizer", {}).get("engine") or {"name": "unknown", "model": ""}
    return f"{engine['name']} engine, {engine['model']}" if engine["model"] else f"{engine['name']} engine"


def _panel(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    field: str,
    looks: Mapping[str, tuple[str, str]],
    budgets: Sequence[int],
) -> None:
    order = list(looks)
    for budget_ms in budgets:
        here = [row for row in rows if row["budget_ms"] == budget_ms]
        points = [(row[field], row["quality"] * 100) for row in here]
        front = [points[place] for place in pareto(points)]
        axes.step(
            *zip(*front, strict=True), where="post", color="#999999", linewidth=1, linestyle=_line(budget_ms), zorder=1
        )
        for row in here:
            colour, marker = looks[row["strategy"]]
            quality = row["quality"] * 100
            axes.errorbar(
                row[field],
                quality,
                yerr=[[quality - row["quality_low"] * 100], [row["quality_high"] * 100 - quality]],
                color=colour,
                marker=marker,
                # The next one is smaller, so that strategies at one place show as rings around each other.
                markersize=max(4.0, 12.0 - 2.0 * order.index(row["strategy"])) + (0.0 if budget_ms else 3.0),
                markerfacecolor=colour if budget_ms else "none",
                elinewidth=0.8,
                capsize=2,
                linestyle="none",
            )
    for (at, quality), names in _together(rows, field).items():
        axes.annotate(
            " = ".join(names), (at, quality), textcoords="offset points", xytext=(-10, 8), ha="right", fontsize=7
        )
    for number, (name, value) in enumerate(rows[0]["floors"].items()):
        at_left = number % 2  # Two guessers are often about as good, and their names must not lie on each other.
        axes.axhline(value * 100, color="#BBBBBB", linewidth=0.8, linestyle=":", zorder=0)
        axes.annotate(
            name,
            (0 if at_left else 1, value * 100),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(2 if at_left else -2, 2),
            ha="left" if at_left else "right",
            fontsize=7,
            color="#777777",
        )
    axes.set_xlabel(_AGAINST[field])
    _scale(axes, [row[field] for row in rows])


def _together(rows: Sequence[Mapping[str, Any]], field: str) -> dict[tuple[float, float], list[str]]:
    """Strategies that lie at one place, which their markers alone would not tell."""
    found: dict[tuple[float, float], list[str]] = {}
    for row in rows:
        names = found.setdefault((row[field], row["quality"] * 100), [])
        if row["strategy"] not in names:
            names.append(row["strategy"])
    return {place: names for place, names in found.items() if len(names) > 1}


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """From zero on; logarithmic where the largest dwarfs the smallest."""
    axes.margins(x=0.12)
    if min(values) > 0 and max(values) > _WIDE * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)


def _line(budget_ms: int) -> Literal["-", "--"]:
    return "-" if budget_ms else "--"


def _legend(looks: Mapping[str, tuple[str, str]], budgets: Sequence[int]) -> list[Line2D]:
    entries = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=name)
        for name, (colour, marker) in looks.items()
    ]
    entries += [
        Line2D(
            [],
            [],
            color="#666666",
            marker="o",
            markerfacecolor="#666666" if budget_ms else "white",
            linestyle=_line(budget_ms),
            label=f"{budget_ms:,} ms budget" if budget_ms else "no budget",
        )
        for budget_ms in budgets
    ]
    return entries
