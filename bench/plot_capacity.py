"""Figure of questions inside the budget against load, from a saved record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bench.capacity import score
from bench.figure import COLOURS, axes_grid, save, style
from bench.record import Run

__all__ = ["plot_capacity"]

_MARKERS: Final = "osD^vP*X"


def plot_capacity(run: Run, path: Path) -> None:
    """Draw share inside the budget and 99th percentile against load, with the budget told to the stack and without.

    Args:
        run: A record of `capacity`.
        path: PNG to write.
    """
    scores, budget_ms = score(run), run.head["settings"]["budget_ms"]
    strategies = list(dict.fromkeys(row["strategy"] for row in scores))
    with style():
        figure, panels = axes_grid(2, 2, height=7.5, sharex=True, sharey="row")
        for column, (told, title) in enumerate(((budget_ms, "budget told to the stack"), (0, "not told"))):
            inside, slow = panels[column], panels[2 + column]
            for number, strategy in enumerate(strategies):
                rows = [row for row in scores if row["strategy"] == strategy and row["told_budget_ms"] == told]
                look: dict[str, Any] = {"color": COLOURS[number % 8], "marker": _MARKERS[number % 8], "markersize": 5}
                at = [row["at"] * 100 for row in rows]
                shares = [row["inside"] * 100 for row in rows]
                ends = [
                    [row["inside"] * 100 - row["inside_low"] * 100 for row in rows],
                    [row["inside_high"] * 100 - row["inside"] * 100 for row in rows],
                ]
                inside.errorbar(at, shares, yerr=ends, label=strategy, capsize=3, **look)
                timed = [row for row in rows if row["p99_ms"] is not None]
                slow.plot([row["at"] * 100 for row in timed], [row["p99_ms"] for row in timed], label=strategy, **look)
            inside.set_title(title)
            inside.set_ylim(-3, 103)
            slow.axhline(budget_ms, color="#555555", linestyle="--", linewidth=1)
            slow.annotate(
                f"budget {budget_ms:,} ms",
                (1, budget_ms),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                xytext=(-2, 3),
                ha="right",
                fontsize=8,
                color="#555555",
            )
            slow.set_yscale("log")
            slow.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            slow.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            slow.yaxis.set_minor_formatter(NullFormatter())
            slow.set_xlabel("offered load, % of the capacity measured first")
        panels[0].set_ylabel(f"answered within {budget_ms:,} ms, %")
        panels[2].set_ylabel("99th percentile of latency, ms")
        panels[0].legend(loc="lower left")
        settings = run.head["settings"]
        engines = settings["note"] or settings["engine"] or "the stack's engines"
        figure.suptitle(f"Questions inside the budget: {engines}; 95 % intervals", fontsize=12)
        save(figure, path)
