"""A comparison as tables: on a terminal, as Markdown, and as comma-separated values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bench.comparison import OTHER_WORK, Compared, Unlike
from bench.saved_run import SavedRun
from bench.table import interval, markdown, number, show, write_csv

__all__ = ["comparison_row", "report"]

_COLUMNS: Final = ("", "questions", "A", "B", "B / A", "95 % interval", "B - A", "95 % interval", "B is")
_FIGURES: Final = ("", "A", "B", "B / A")
_NEAR: Final = 0.01
"""Figures without samples that are this near to each other are only counted."""
_MOST: Final = 25
"""Of the others, as many are shown; the last line of output holds them all."""
_ALONE: Final = "Figures without samples: how much of a difference is noise is not known"


def report(
    first: SavedRun,
    second: SavedRun,
    compared: Sequence[Compared],
    alone: Sequence[tuple[str, float, float]],
    differences: Sequence[Unlike],
    console: Console,
    stem: Path,
) -> dict[str, Path]:
    """Print what differs and the tables, and write them as Markdown, with the comparison as a CSV file.

    Args:
        first: Side A.
        second: Side B.
        compared: Figures with samples.
        alone: Figures without.
        differences: What else the runs differ in.
        console: Where the tables go.
        stem: Path of the files, without its ending.

    Returns:
        The files.
    """
    lines = [f"A is {first.name} ({_made(first)})", f"B is {second.name} ({_made(second)})"]
    lines += [f"differs: {each}" for each in differences]
    tables = [*_sampled(compared), *_alone(alone)]
    notes = _notes(compared, alone, differences)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for title, columns, rows in tables:
        show(console, title, columns, rows)
    for line in notes:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    files = {"tables": stem.with_name(f"{stem.name}.md"), "comparison": stem.with_name(f"{stem.name}.csv")}
    parts = ["".join(f"- {line}\n" for line in lines)]
    parts += [f"**{title}**\n\n{markdown(columns, rows)}" for title, columns, rows in tables]
    parts.append("".join(f"- {line}\n" for line in notes))
    files["tables"].write_text("\n".join(parts), encoding="utf-8")
    write_csv(files["comparison"], [comparison_row(each) for each in compared])
    return files


def _made(run: SavedRun) -> str:
    return f"{run.bench}, {run.head.get('at', 'at an unknown time')}, commit {str(run.head.get('commit', '?'))[:12]}"


def comparison_row(compared: Compared) -> dict[str, Any]:
    """One comparison as scalars, for files and for the last line of output."""
    change = asdict(compared.change)
    return {
        "group": compared.group,
        "figure": compared.name,
        "first_n": compared.first_n,
        "second_n": compared.second_n,
        "paired": compared.paired,
        **change,
        "floor": compared.floor,
        "p": compared.p,
        "verdict": compared.verdict,
    }


def _sampled(compared: Sequence[Compared]) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    groups: dict[str, list[Compared]] = {}
    for each in compared:
        if each.same:
            continue
        groups.setdefault(each.group, []).append(each)
    return [(label or "Questions", _COLUMNS, [_cells(each) for each in rows]) for label, rows in groups.items()]


def _cells(each: Compared) -> list[str]:
    change = each.change
    digits = _digits(change.first, change.second)
    same = each.first_n == each.second_n
    return [
        each.name,
        f"{each.first_n:,}{' pairs' if each.paired else ''}" if same else f"{each.first_n:,} | {each.second_n:,}",
        number(change.first, digits),
        number(change.second, digits),
        number(change.ratio, 3),
        interval(change.ratio_low, change.ratio_high, 3),
        _signed(change.difference, digits),
        f"{_signed(change.low, digits)}..{_signed(change.high, digits)}",
        each.verdict,
    ]


def _digits(first: float, second: float) -> int:
    """Decimals that tell the two apart without a tail of digits."""
    largest = max(abs(first), abs(second))
    return 1 if largest >= 100 else 2 if largest >= 1 else 3


def _signed(value: float, digits: int) -> str:
    return f"{value:+,.{digits}f}"


def _alone(alone: Sequence[tuple[str, float, float]]) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    rows = []
    for name, first, second in _apart(alone)[:_MOST]:
        digits = _digits(first, second)
        ratio = second / first if first else None
        rows.append([name, number(first, digits), number(second, digits), number(ratio, 3)])
    return [(_ALONE, _FIGURES, rows)] if rows else []


def _apart(alone: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Those that are not near each other, the farthest apart first."""
    return sorted(
        (each for each in alone if not _near(*each[1:])),
        key=lambda each: abs(each[2] - each[1]) / max(abs(each[1]), abs(each[2])),
        reverse=True,
    )


def _near(first: float, second: float) -> bool:
    return abs(second - first) <= _NEAR * max(abs(first), abs(second))


def _notes(
    compared: Sequence[Compared], alone: Sequence[tuple[str, float, float]], differences: Sequence[Unlike]
) -> list[str]:
    notes = []
    same = [f"{each.group}: {each.name}" if each.group else each.name for each in compared if each.same]
    if same:
        notes.append(f"the same in every question: {', '.join(same)}")
    judged = len(compared) - len(same)
    if judged:
        beyond = sum(each.verdict != "noise" for each in compared)
        notes.append(
            f"{beyond} of {judged} figures differ by more than the noise of questions within a run (95 %: 1 in 20 "
            "would by chance alone); --again RECORD shows how far whole runs of the same thing are apart"
        )
    if any(each.floor for each in compared):
        notes.append("a difference also had to exceed what the runs given with --again differ from A")
    if any(each.what == OTHER_WORK for each in differences):
        notes.append(
            "a machine was busy with other work, of which no interval here knows: times may differ by that alone"
        )
    apart = len(_apart(alone))
    if len(alone) > min(apart, _MOST):
        notes.append(
            f"figures without samples: {len(alone) - apart} within {_NEAR:.0%} of each other are not shown"
            + (f", nor are {apart - _MOST} that are less far apart than those above" if apart > _MOST else "")
        )
    if not compared and not alone:
        notes.append("the runs have no figure in common")
    return notes
