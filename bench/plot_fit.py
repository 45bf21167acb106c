"""Figure of evidence recall against searches before and after a policy fit, from a saved record."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.lines import Line2D

from bench.figure import COLOURS, axes_grid, save, style
from bench.held_out import score
from bench.record import Run

__all__ = ["plot_fit"]

_MARKERS: Final = "osD^vP*X"


def plot_fit(run: Run, path: Path) -> None:
    """Draw recall, with its 95 % interval, against mean searches: a panel for each split, budgets told by their fill.

    Args:
        run: A record of `policy fit` with held-out questions.
        path: PNG to write.
    """
    splits = list(dict.fromkeys(row["split"] for row in run.of_kind("question")))
    scores = {split: [row for row in score(run, split) if row["searches"] is not None] for split in splits}
    names = list(dict.fromkeys(row["run"] for rows in scores.values() for row in rows))
    budgets = sorted({row["budget_ms"] for rows in scores.values() for row in rows})
    with style():
        figure, panels = axes_grid(1, len(splits), width=5.0 * len(splits) + 1, height=5.2)
        for axes, split in zip(panels, splits, strict=True):
            for row in scores[split]:
                place = names.index(row["run"])
                filled = row["budget_ms"] == budgets[0]
                axes.errorbar(
                    row["searches"],
                    row["recall"] * 100,
                    yerr=[
                        [(row["recall"] - row["recall_low"]) * 100],
                        [(row["recall_high"] - row["recall"]) * 100],
                    ],
                    color=COLOURS[place % 8],
                    marker=_MARKERS[place % 8],
                    markersize=7,
                    markerfacecolor=COLOURS[place % 8] if filled else "white",
                    capsize=3,
                    linestyle="none",
                )
            axes.set_title(f"{split}: {scores[split][0]['questions']:,} questions")
            axes.set_xlabel("mean searches a question")
            axes.set_xlim(left=0)
        panels[0].set_ylabel("questions with all their evidence kept, %")
        figure.legend(handles=_legend(names, budgets), loc="outside lower center", ncols=3)
        figure.suptitle("A policy fitted to sessions of other questions; 95 % intervals", fontsize=12)
        save(figure, path)


def _legend(names: list[str], budgets: list[int]) -> list[Line2D]:
    """What colours and fills mean."""
    runs = [
        Line2D([], [], color=COLOURS[place % 8], marker=_MARKERS[place % 8], linestyle="none", label=name)
        for place, name in enumerate(names)
    ]
    fills = [
        Line2D(
            [],
            [],
            color="#555555",
            marker="o",
            markerfacecolor="#555555" if place == 0 else "white",
            linestyle="none",
            label=f"{budget_ms:,} ms" if budget_ms else "no budget",
        )
        for place, budget_ms in enumerate(budgets)
    ]
    return runs + (fills if len(budgets) > 1 else [])
