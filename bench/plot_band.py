"""Maps of the chosen action over progress and something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bench.figure import COLOURS

__all__ = ["band_at", "band_legend", "draw_bands"]

_RETRIEVE: Final = ("#C6DDF1", "#084081")
"""Fan-out 1 and the widest; those between lie between them."""
_WIDEST: Final = 8
_REASON: Final = COLOURS[1]
_TERMINATE: Final = "#F2F2F2"
_MOST_TICKS: Final = 4
_CELLS: Final = 400
"""Rows of pixels over progress in [0, 1]."""


def band_at(text: str, progress: float) -> str:
    """The action's code at a progress, in bands such as "R2@0 P@0.35 T@0.42"."""
    code = ""
    for band in text.split():
        action, _, start = band.partition("@")
        # A band begins at its first grid point, which the text rounds.
        if float(start) <= progress + 1e-4:
            code = action
    return code


def _colour(code: str) -> tuple[float, float, float]:
    if code == "P":
        return to_rgb(_REASON)
    if code == "T":
        return to_rgb(_TERMINATE)
    share = (int(code[1:]) - 1) / (_WIDEST - 1)
    # Fan-outs of 1 to 3 are the usual ones; the root tells them apart.
    light, dark = (np.array(to_rgb(end)) for end in _RETRIEVE)
    red, green, blue = light + (dark - light) * np.sqrt(share)
    return float(red), float(green), float(blue)


def _name(code: str) -> str:
    return {"P": "REASON", "T": "TERMINATE"}.get(code) or f"RETRIEVE({code[1:]})"


def band_legend(texts: Sequence[str]) -> list[Patch]:
    """A patch for each action that occurs in these bands: RETRIEVE by fan-out, then REASON and TERMINATE."""
    found = {band.partition("@")[0] for text in texts for band in text.split()}
    order = sorted(found, key=lambda code: ("RPT".index(code[0]), int(code[1:] or 0)))
    return [Patch(facecolor=_colour(code), edgecolor="#999999", linewidth=0.5, label=_name(code)) for code in order]


def _edges(at: Sequence[float]) -> NDArray[np.float64]:
    """Edges of cells around rising values, halfway between neighbours."""
    values = np.asarray(at, dtype=np.float64)
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[values[0]], middle, [values[-1]]])


def draw_bands(axes: Axes, at: Sequence[float], texts: Sequence[str], n_foci: int | None) -> None:
    """Fill a panel with the action of every progress, from below, and every value, from left to right.

    Args:
        axes: Panel to fill.
        at: Values, rising.
        texts: The bands at each.
        n_foci: Where progress counts foci: each of its points is shown as a stripe around it; None for a grid that
            is drawn as if it had no gaps.
    """
    if n_foci is None:
        rows = np.linspace(0.0, 1.0, _CELLS)
        edges = np.linspace(0.0, 1.0, _CELLS + 1)
    else:
        rows = np.arange(n_foci + 1) / n_foci
        edges = np.clip((np.arange(n_foci + 2) - 0.5) / n_foci, -0.5 / n_foci, 1 + 0.5 / n_foci)
    codes = [[band_at(text, float(u)) for text in texts] for u in rows]
    known = sorted({code for line in codes for code in line})
    numbers = np.array([[known.index(code) for code in line] for line in codes])
    look: dict[str, Any] = {
        "cmap": ListedColormap([_colour(code) for code in known]),
        "vmin": -0.5,
        "vmax": len(known) - 0.5,
    }
    axes.pcolormesh(_edges(at), edges, numbers, rasterized=True, **look)
    if n_foci is not None:
        for edge in edges[1:-1]:
            axes.axhline(float(edge), color="#FFFFFF", linewidth=0.8)
        apart = 1 if n_foci <= _MOST_TICKS else 2
        axes.set_yticks(rows[::apart], [f"{k}/{n_foci}" for k in range(0, n_foci + 1, apart)])
    axes.grid(False)
