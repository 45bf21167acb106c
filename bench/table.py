"""One table in three places: a terminal, Markdown, and a file of comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["interval", "markdown", "number", "percent", "show", "write_csv"]


def number(value: float | None, digits: int = 2) -> str:
    """A figure with so many decimals; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if value is None else f"{value * 100:.{digits}f} %"


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Two ends of an interval, or the one that there is; a dash where there is none."""
    if low is None:
        return "-" if high is None else f"up to {high:,.{digits}f}"
    return f"from {low:,.{digits}f}" if high is None else f"{low:,.{digits}f}..{high:,.{digits}f}"


def show(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others, which hold figures, to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        # Square brackets in a name are no markup.
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    console.print(table)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table, with a line break at its end."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the fields of them all, in order of first appearance; None is left empty.

    Args:
        path: File to write, over whatever is there.
        rows: Scalars by field.
    """
    fields = list(dict.fromkeys(field for row in rows for field in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
