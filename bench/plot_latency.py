"""The figure of a latency record: distribution, components, cumulative distribution, box plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from bench.figure import COLOURS, axes_grid, save, style
from bench.latency_score import component_times, score
from bench.record import Run

__all__ = ["plot_latency"]

_BUDGET: Final[Any] = {"color": "#D55E00", "linestyle": "--", "linewidth": 1.4}
_LEGEND: Final[Any] = {"frameon": True, "framealpha": 0.9, "edgecolor": "none"}
"""Lines pass beneath it."""
_FAR: Final = 3.0
"""A budget this many times the longest latency would squeeze the figures together on its axis."""
_SLOW: Final = ((50, COLOURS[0]), (95, COLOURS[2]), (99, COLOURS[4]))


def plot_latency(run: Run, path: Path) -> None:
    """Draw the four panels, from the record alone.

    Args:
        run: A record of `latency` with at least one answered question.
        path: PNG to write.
    """
    scores = score(run)
    answered = [row for row in run.of_kind("question") if not row["error"]]
    latency = np.asarray([row["latency_ms"] for row in answered])
    with style():
        figure, (histogram, bars, cumulative, boxes) = axes_grid(2, 2, width=12.0, height=8.5)
        _histogram(histogram, latency, scores)
        _bars(bars, scores)
        _cumulative(cumulative, latency, scores)
        _boxes(boxes, latency, component_times(answered))
        figure.suptitle(_title(run, scores), fontsize=12)
        save(figure, path)


def _title(run: Run, scores: dict[str, Any]) -> str:
    settings = run.head["settings"]
    if settings["concurrency"] is None:
        load = f"{settings['rate_per_s']:g} questions/s (Poisson)"
    else:
        load = f"{settings['concurrency']} in flight"
    about = settings["note"] or settings["engine"] or "the stack's engines"
    answered = scores["questions"] - scores["errors"]
    return f"Latency of {answered:,} of {scores['questions']:,} questions, {load}: {about}"


def _histogram(axes: Axes, latency: np.ndarray[Any, Any], scores: dict[str, Any]) -> None:
    axes.hist(latency, bins=min(40, max(10, round(len(latency) ** 0.5) * 2)), color=COLOURS[5], edgecolor="white")
    for name, colour, line in (("mean", "#000000", "-"), ("p50", COLOURS[0], "-.")):
        value = scores["latency_ms"][name]["value"]
        label = f"{'median' if name == 'p50' else name} {value:,.0f} ms"
        axes.axvline(value, color=colour, linestyle=line, linewidth=1.2, label=label)
    budget_ms = scores["budget_ms"]
    if budget_ms <= _FAR * latency.max():
        axes.axvline(budget_ms, label=f"budget {budget_ms:,} ms", **_BUDGET)
    else:
        axes.plot([], [], label=f"budget {budget_ms:,} ms, beyond this axis", **_BUDGET)
    inside = scores["inside"]
    axes.set_title(f"Distribution: {inside['value'] * 100:.1f} % inside the budget")
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("questions")
    if latency.min() < latency.max() / 2:
        axes.set_xlim(left=0)
    axes.legend(**_LEGEND)


def _bars(axes: Axes, scores: dict[str, Any]) -> None:
    rows = scores["components"][::-1]
    place = np.arange(len(rows))
    mean = [row["mean_ms"] for row in rows]
    ends = [[row["mean_ms"] - row["low"] for row in rows], [row["high"] - row["mean_ms"] for row in rows]]
    axes.barh(place + 0.2, mean, 0.38, xerr=ends, color=COLOURS[0], capsize=2, label="exclusive time")
    axes.barh(place - 0.2, [row["critical_ms"] for row in rows], 0.38, color=COLOURS[1], label="on the critical path")
    reach = max(max(row["high"], row["critical_ms"]) for row in rows)
    for at, row in zip(place, rows, strict=True):
        longest = max(row["high"], row["critical_ms"])
        text = f"{row['share'] * 100:.1f} % / {row['critical_share'] * 100:.1f} %"
        axes.annotate(text, (longest + reach * 0.015, at), va="center", fontsize=8)
    axes.set_xlim(0, reach * 1.3)
    axes.set_yticks(place, [_named(row["component"]) for row in rows])
    axes.grid(axis="y", visible=False)
    axes.set_title("Components: each column adds up to the mean")
    axes.set_xlabel("mean ms a question, 95 % intervals")
    axes.legend(loc="lower right" if mean[0] < reach / 2 else "upper right", **_LEGEND)


def _cumulative(axes: Axes, latency: np.ndarray[Any, Any], scores: dict[str, Any]) -> None:
    budget_ms = scores["budget_ms"]
    ordered = np.sort(latency)
    # Of all questions: one that failed is never answered, so that the curve then ends below 100 %.
    share = np.arange(1, len(ordered) + 1) / scores["questions"] * 100
    axes.step(np.concatenate([ordered[:1], ordered]), np.concatenate([[0.0], share]), where="post", color="#000000")
    for q, colour in _SLOW:
        value = scores["latency_ms"][f"p{q}"]["value"]
        axes.axvline(value, color=colour, linestyle=":", linewidth=1.4, label=f"P{q} {value:,.0f} ms")
    axes.axvline(budget_ms, label=f"budget {budget_ms:,} ms", **_BUDGET)
    low, high = float(ordered[0]), float(max(ordered[-1], budget_ms))
    if high > _FAR * float(ordered[-1]) or high > 20 * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_minor_formatter(FuncFormatter(_plain_minor))
    axes.set_ylim(0, 101)
    axes.set_title("Cumulative distribution")
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("answered within, % of questions")
    axes.legend(loc="lower right", **_LEGEND)


def _boxes(axes: Axes, latency: np.ndarray[Any, Any], times: dict[str, tuple[list[float], list[float]]]) -> None:
    samples = {"latency": [float(value) for value in latency]}
    # A logarithmic axis has no place for what took no time.
    samples |= {name: [value for value in exclusive if value > 0] for name, (exclusive, _) in times.items()}
    shown = [(name, values) for name, values in samples.items() if values][::-1]
    drawn = axes.boxplot(
        [values for _, values in shown],
        orientation="horizontal",
        whis=(5, 95),
        widths=0.6,
        patch_artist=True,
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "#888888"},
        medianprops={"color": "#000000"},
    )
    for (name, _), box in zip(shown, drawn["boxes"], strict=True):
        box.set_facecolor(COLOURS[1] if name == "latency" else COLOURS[5])
    labels = [f"{_named(name)} ({len(values):,})" for name, values in shown]
    axes.set_yticks(range(1, len(shown) + 1), labels)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.grid(axis="y", visible=False)
    axes.set_title("By question: quartiles, whiskers at P5 and P95")
    axes.set_xlabel("exclusive ms, of the questions (their number) in which it took any")


def _named(component: str) -> str:
    return component.replace("_", " ")


def _plain(value: float, _: int) -> str:
    return f"{value:,g}"


def _plain_minor(value: float, _: int) -> str:
    """Labels at 2 and 5 between the powers of ten."""
    lead = value / 10 ** np.floor(np.log10(value))
    return f"{value:,g}" if round(float(lead)) in (2, 5) else ""
