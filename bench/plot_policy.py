"""Figures of a policy sweep, from a saved record: values, thresholds, action bands, and what two thresholds lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from bench.figure import COLOURS, axes_grid, save, style
from bench.plot_band import band_legend, draw_bands
from bench.policy_course import LOGARITHMIC
from bench.policy_grid import PARAMETERS
from bench.policy_sweep import relative_loss
from bench.record import Run

__all__ = ["plot_policy"]

_LABEL: Final = {
    "retrieve_cost": "cost of one subquery $c_r$",
    "cost_weight": r"cost weight $\mu$",
    "success_probability": "success probability $p_s$",
}
_RATIO: Final = {"constant": r"gain ratio $\delta_p/\delta_r$", "evidence": "gain ratio $p_p/p_s$"}
_DASHES: Final = (0, (4, 1.5))
# A threshold holds at a value, not between two.
_CONT: Final[dict[str, Any]] = {"linestyle": _DASHES, "drawstyle": "steps-mid"}
_VERDICTS: Final = ("one_action", "two_threshold", "interleaved")
_LOSSES: Final[dict[str, Any]] = {"loss": "-", "reported_loss": _DASHES}
_LEAST_LOSS: Final = 1e-6  # what the record's digits tell from none


def plot_policy(run: Run, stem: Path) -> list[Path]:
    """Draw every figure of a record.

    Args:
        run: A record of `policy sweep`.
        stem: The figures' path without the end of their names.

    Returns:
        The PNGs that were written.
    """
    paths = []
    with style():
        # A run that was broken off has no courses.
        for name, kind, draw in (("value", "value", _values), ("loss", "setting", _losses)):
            if run.of_kind(kind):
                paths.append(_at(stem, name))
                draw(run, paths[-1])
        for budget_ms in dict.fromkeys(row["budget_ms"] for row in run.of_kind("course")):
            paths.append(_at(stem, f"threshold-{_budget_name(budget_ms)}"))
            _thresholds(run, budget_ms, paths[-1])
        for process, budget_ms in dict.fromkeys((_process(row), row["budget_ms"]) for row in run.of_kind("course")):
            paths.append(_at(stem, f"band-{process.replace(':', '-')}-{_budget_name(budget_ms)}"))
            _bands(run, process, budget_ms, paths[-1])
        for budget_ms in dict.fromkeys(row["budget_ms"] for row in run.of_kind("time_left")):
            paths.append(_at(stem, f"time-left-{_budget_name(budget_ms)}"))
            _times(run, budget_ms, paths[-1])
    return paths


def _at(stem: Path, name: str) -> Path:
    return stem.with_name(f"{stem.name}-{name}.png")


def _budget_name(budget_ms: int) -> str:
    return f"{budget_ms}ms" if budget_ms else "no-budget"


def _budget_text(budget_ms: int) -> str:
    return f"budget {budget_ms:,} ms" if budget_ms else "no budget"


def _process(row: Mapping[str, Any]) -> str:
    return f"{row['tracker']}:{row['n_foci']}"


def _process_text(process: str) -> str:
    """A process for titles: under `constant` the foci bound the fan-out alone."""
    name, _, foci = process.partition(":")
    if name == "constant":
        return f"constant, fan-out up to {foci}" if foci != "1" else "constant, fan-out 1"
    return f"evidence, {foci} {'focus' if foci == '1' else 'foci'}"


def _names(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[int], list[str]]:
    """The processes, budgets and quality functions of rows, each in order of first appearance."""
    return (
        list(dict.fromkeys(map(_process, rows))),
        list(dict.fromkeys(row["budget_ms"] for row in rows)),
        list(dict.fromkeys(row["quality"] for row in rows)),
    )


def _colours(run: Run) -> dict[str, str]:
    """A colour for each quality function of a record."""
    return dict(zip(_names([*run.of_kind("value"), *run.of_kind("course")])[2], COLOURS, strict=False))


def _values(run: Run, path: Path) -> None:
    """V(U) by quality function; dashed what ending at U is worth."""
    rows, colours = run.of_kind("value"), _colours(run)
    processes, budgets, _ = _names(rows)
    figure, panels = axes_grid(
        len(processes),
        len(budgets),
        width=1.5 + 4.4 * len(budgets),
        height=0.8 + 2.5 * len(processes),
        sharex=True,
        sharey=True,
    )
    for axes, (process, budget_ms) in zip(panels, ((p, b) for p in processes for b in budgets), strict=True):
        marker = "o" if process.startswith("evidence") else ""
        shown = [row for row in rows if _process(row) == process and row["budget_ms"] == budget_ms]
        axes.set_visible(bool(shown))
        for row in shown:
            look: dict[str, Any] = {"color": colours[row["quality"]], "marker": marker, "markersize": 3.5}
            axes.plot(row["progress"], row["value"], **look)
            axes.plot(row["progress"], row["end_value"], linestyle="--", linewidth=1, alpha=0.8, **look)
        axes.set_title(f"{_process_text(process)}; {_budget_text(budget_ms)}")
        axes.set_ylim(-0.03, 1.03)
    for axes in panels[-len(budgets) :]:
        axes.set_xlabel("progress $U$")
    for axes in panels[:: len(budgets)]:
        axes.set_ylabel("answer quality")
    handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    handles += [
        Line2D([], [], color="#555555", label="$V(U)$, optimal"),
        Line2D([], [], color="#555555", linestyle="--", linewidth=1, label=r"$\sigma(U)$, ending now"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    save(figure, path)


def _thresholds(run: Run, budget_ms: int, path: Path) -> None:
    """theta_cont and theta_star along each parameter, by quality function."""
    rows, colours = [row for row in run.of_kind("course") if row["budget_ms"] == budget_ms], _colours(run)
    processes = _names(rows)[0]
    figure, panels = axes_grid(
        len(processes), len(PARAMETERS), width=12.0, height=1.0 + 2.3 * len(processes), sharey=True
    )
    for axes, (process, name) in zip(panels, ((p, n) for p in processes for n in PARAMETERS), strict=True):
        for row in rows:
            if _process(row) == process and row["varied"] == name:
                colour = colours[row["quality"]]
                axes.plot(row["at"], row["theta_star"], color=colour, linewidth=1.4, drawstyle="steps-mid")
                axes.plot(row["at"], row["theta_cont"], color=colour, linewidth=1.4, **_CONT)
                lone = [
                    u if verdict == "interleaved" else np.nan
                    for u, verdict in zip(row["theta_star"], row["verdict"], strict=True)
                ]
                axes.plot(row["at"], lone, color=colour, linestyle="", marker="x", markersize=3.5)
        _parameter_axis(axes, name, process.partition(":")[0])
        axes.set_ylim(-0.03, 1.03)
    for axes, process in zip(panels[:: len(PARAMETERS)], processes, strict=True):
        axes.set_ylabel("progress $U$")
        axes.set_title(_process_text(process), loc="left")
    handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    handles += [
        Line2D([], [], color="#555555", label=r"$\theta_{star}$"),
        Line2D([], [], color="#555555", linestyle=_DASHES, label=r"$\theta_{cont}$"),
        Line2D([], [], color="#555555", linestyle="", marker="x", markersize=4, label="interleaved: no two thresholds"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=7)
    figure.suptitle(f"Thresholds of the optimal policy, {_budget_text(budget_ms)}", fontsize=12)
    save(figure, path)


def _parameter_axis(axes: Axes, name: str, tracker: str) -> None:
    axes.set_xlabel(_LABEL.get(name) or _RATIO[tracker])
    if name in LOGARITHMIC:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _bands(run: Run, process: str, budget_ms: int, path: Path) -> None:
    """The action of every U and value of each parameter; a row of panels for each quality function."""
    rows = [row for row in run.of_kind("course") if row["budget_ms"] == budget_ms and _process(row) == process]
    qualities = _names(rows)[2]
    figure, panels = axes_grid(
        len(qualities), len(PARAMETERS), width=12.0, height=1.2 + 2.1 * len(qualities), sharey=True, sharex="col"
    )
    for axes, (sigma, name) in zip(panels, ((q, n) for q in qualities for n in PARAMETERS), strict=True):
        row = next((row for row in rows if row["quality"] == sigma and row["varied"] == name), None)
        if row is None:
            axes.set_visible(False)
            continue
        draw_bands(axes, row["at"], row["bands"], _grid(row))
        axes.plot(row["at"], row["theta_star"], color="#000000", linewidth=1.1, drawstyle="steps-mid")
        axes.plot(row["at"], row["theta_cont"], color="#000000", linewidth=1.1, **_CONT)
        if sigma == qualities[-1]:
            _parameter_axis(axes, name, row["tracker"])
        elif name in LOGARITHMIC:
            axes.set_xscale("log")
    for axes, sigma in zip(panels[:: len(PARAMETERS)], qualities, strict=True):
        axes.set_ylabel("progress $U$")
        axes.set_title(f"{sigma} quality", loc="left")
    handles = [
        *band_legend([text for row in rows for text in row["bands"]]),
        Line2D([], [], color="#000000", linewidth=1.1, label=r"$\theta_{star}$"),
        Line2D([], [], color="#000000", linewidth=1.1, linestyle=_DASHES, label=r"$\theta_{cont}$"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    figure.suptitle(f"Optimal action: {_process_text(process)}, {_budget_text(budget_ms)}", fontsize=12)
    save(figure, path)


def _grid(row: Mapping[str, Any]) -> int | None:
    """Foci of a process whose progress is a multiple of 1 / foci; None where it is on an even grid."""
    return int(row["n_foci"]) if row["tracker"] == "evidence" else None


def _times(run: Run, budget_ms: int, path: Path) -> None:
    """The action of every U and time left."""
    rows = [row for row in run.of_kind("time_left") if row["budget_ms"] == budget_ms]
    processes, _, qualities = _names(rows)
    figure, panels = axes_grid(
        len(processes), len(qualities), width=12.0, height=1.2 + 2.3 * len(processes), sharex=True, sharey="row"
    )
    for axes, (process, sigma) in zip(panels, ((p, q) for p in processes for q in qualities), strict=True):
        row = next((row for row in rows if _process(row) == process and row["quality"] == sigma), None)
        if row is None:
            axes.set_visible(False)
            continue
        draw_bands(axes, row["time_left_ms"], row["bands"], _grid(row))
        axes.set_title(f"{_process_text(process)}\n{sigma}", fontsize=9, loc="left")
    for axes in panels[:: len(qualities)]:
        axes.set_ylabel("progress $U$")
    for axes in panels[-len(qualities) :]:
        axes.set_xlabel("time left, ms")
    figure.legend(
        handles=band_legend([text for row in rows for text in row["bands"]]), loc="outside lower center", ncols=6
    )
    figure.suptitle(f"Optimal action by time left, {_budget_text(budget_ms)}", fontsize=12)
    save(figure, path)


def _losses(run: Run, path: Path) -> None:
    """Verdicts by process and budget, and the distribution of what two thresholds lose."""
    rows = run.of_kind("setting")
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((_process(row), row["budget_ms"]), []).append(row)
    figure, (bars, curves) = axes_grid(1, 2, width=12.0, height=max(4.4, 1.8 + 0.45 * len(groups)))
    labels = [f"{_process_text(process)}\n{_budget_text(budget_ms)}" for process, budget_ms in groups]
    left = np.zeros(len(groups))
    for verdict, colour in zip(_VERDICTS, (COLOURS[5], COLOURS[2], COLOURS[3]), strict=True):
        share = np.array([100 * sum(row["verdict"] == verdict for row in each) / len(each) for each in groups.values()])
        bars.barh(labels, share, left=left, color=colour, label=verdict.replace("_", " "))
        left += share
    bars.invert_yaxis()
    bars.tick_params(axis="y", labelsize=8)
    bars.set_xlim(0, 100)
    bars.set_xlabel("settings, %")
    bars.set_title("Verdict where the question begins", pad=26)
    bars.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    by_process = _by_process(rows)
    for number, each in enumerate(by_process.values()):
        for field, line in _LOSSES.items():
            ordered = np.sort([max(relative_loss(row, field), _LEAST_LOSS) for row in each])
            share = 100 * (1 - np.arange(len(ordered)) / len(ordered))
            curves.step(ordered, share, where="pre", color=COLOURS[number % 8], linestyle=line, linewidth=1.5)
    curves.set_xscale("log")
    curves.set_xlim(_LEAST_LOSS * 1.05, 1.0)
    curves.set_ylim(0, 100)
    curves.set_xlabel("share of $V(0)$ that is lost")
    curves.set_ylabel("settings that lose at least so much, %")
    curves.set_title("What two thresholds lose of the optimum")
    handles = [
        Line2D([], [], color=COLOURS[number % 8], label=_process_text(name)) for number, name in enumerate(by_process)
    ]
    handles += [
        Line2D([], [], color="#555555", label="best two thresholds"),
        Line2D([], [], color="#555555", linestyle=_DASHES, label="as the table reports them"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    save(figure, path)


def _by_process(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(_process(row), []).append(row)
    return found
