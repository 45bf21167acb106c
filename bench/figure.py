"""What all figures share: their size, their colours, and how they are saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["COLOURS", "axes_grid", "save", "style"]

COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Told apart by readers with any colour vision.

Source: Okabe and Ito (2008), "Color Universal Design".
"""
_DPI: Final = 150
# Matplotlib's type of these is a literal of all their names.
_STYLE: Final[Any] = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "font.size": 10,
    "figure.dpi": _DPI,
    "savefig.dpi": _DPI,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw within this block as every figure of the project is drawn."""
    with matplotlib.rc_context(_STYLE):
        yield


def axes_grid(
    rows: int, columns: int, *, width: float = 10.0, height: float = 7.0, **fields: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, row by row; width and height in inches.

    No window system is asked for: the figure belongs to no global state and is drawn to a file alone.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    made = figure.subplots(rows, columns, squeeze=False, **fields)
    return figure, [axes for row in made for axes in row]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the time and the versions that would make each file another."""
    figure.savefig(path, metadata={"Software": None})
