"""Tables of a saved record of `strategies`, for a terminal and for Markdown."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.record import Run
from bench.strategy_pair import comparisons, unchanged
from bench.strategy_score import score
from bench.table import interval, number, percent
from bench.variant import PLAIN

__all__ = ["Table", "flat", "tables"]


@dataclass(frozen=True)
class Table:
    """Cells under their columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(run: Run, *, all_pairs: bool) -> list[Table]:
    """All tables of a record, by set and budget.

    Args:
        run: The record.
        all_pairs: Every pair of strategies; otherwise each with the first one only.
    """
    plain = [row for row in score(run) if row["variant"] == PLAIN]
    pairs = comparisons(run)
    made: list[Table] = []
    for (name, budget_ms), group in itertools.groupby(plain, key=lambda row: (row["set"], row["budget_ms"])):
        rows = list(group)
        where = f"{name}, {f'budget {budget_ms:,} ms' if budget_ms else 'no budget'}"
        made.append(_quality(where, rows, run))
        made.append(_difficulty(where, rows, run))
        made.append(_work(where, rows))
        if rows[0]["coverage"]:
            made.append(_coverage(where, rows))
        among = [row for row in pairs if (row["set"], row["budget_ms"]) == (name, budget_ms)]
        first = rows[0]["strategy"]
        shown = [row for row in among if all_pairs or row["first"] == first]
        if shown:
            made.append(_pairs(where, rows[0]["measure"], shown))
    if same := unchanged(run):
        made.append(_unchanged(same))
    return made


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's figures as scalars, for a file of comma-separated values."""
    made = {name: value for name, value in row.items() if not isinstance(value, list | dict)}
    for name, group in row["by_difficulty"].items():
        made |= {f"{name}_{field}": group[field] for field in ("n", "quality", "low", "high")}
    for entry in row["coverage"]:
        at = f"at_{entry['coverage'] * 100:g}"
        made |= {f"{at}_{field}": entry[field] for field in ("n", "accuracy", "low", "high")}
    return made | {f"floor_{name.replace(',', '').replace(' ', '_')}": value for name, value in row["floors"].items()}


def _quality(where: str, rows: Sequence[Mapping[str, Any]], run: Run) -> Table:
    choice, measure = bool(rows[0]["floors"]), rows[0]["measure"]
    own = ("chosen", "right of those", "95 %", "guessed") if choice else ("evidence found",)
    columns = ("strategy", measure, "95 %", *own, "abstained", "degraded", "errors")
    cells = [
        [
            row["strategy"],
            percent(row["quality"]),
            _points(row["quality_low"], row["quality_high"]),
            *(_own(row) if choice else (percent(row["evidence_recall"]),)),
            percent(row["abstained"]),
            percent(row["degraded"]),
            str(row["errors"]),
        ]
        for row in rows
    ]
    blank = ["-"] * (len(columns) - 2)
    cells += [[name, "refused", *blank] for name in run.head["refused"]]
    cells += [[f"({name})", percent(value), *blank] for name, value in rows[0]["floors"].items()]
    return Table(f"{where}: {measure} on {rows[0]['questions']:,} questions", columns, cells)


def _own(row: Mapping[str, Any]) -> Iterator[str]:
    yield percent(row["chosen"])
    yield percent(row["chosen_accuracy"])
    yield _points(row["chosen_low"], row["chosen_high"])
    yield percent(row["guessed"])


def _difficulty(where: str, rows: Sequence[Mapping[str, Any]], run: Run) -> Table:
    names = list(rows[0]["by_difficulty"])
    pool = run.head["sets"][rows[0]["set"]]["pool"]
    cells = [
        [
            row["strategy"],
            *(_cell(group["quality"], group["low"], group["high"]) for group in row["by_difficulty"].values()),
            *(_cell(row[mean], row[f"{mean}_low"], row[f"{mean}_high"]) for mean in ("macro", "weighted")),
        ]
        for row in rows
    ]
    for floor in rows[0]["floors"]:
        shares = {name: group["floors"][floor] for name, group in rows[0]["by_difficulty"].items()}
        macro = sum(shares.values()) / len(shares)
        weighted = sum(share * pool[name] for name, share in shares.items()) / sum(pool[name] for name in shares)
        cells.append([f"({floor})", *(percent(share) for share in (*shares.values(), macro, weighted))])
    sizes = [f"{name}, n {group['n']:,}" for name, group in rows[0]["by_difficulty"].items()]
    weights = " : ".join(f"{pool[name]:,}" for name in names)
    title = f"{where}: {rows[0]['measure']} by difficulty; macro gives each the same weight, weighted {weights}"
    return Table(title, ("strategy", *sizes, "macro", "weighted"), cells)


def _work(where: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    inside = f"inside {rows[0]['inside_ms']:,} ms"
    columns = (
        "strategy",
        "searches",
        "notes",
        "tokens in",
        "out",
        "cost",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        inside,
        "95 %",
    )
    cells = [
        [
            row["strategy"],
            number(row["mean_searches"]),
            number(row["mean_reasoning_steps"]),
            number(row["mean_prompt_tokens"], 0),
            number(row["mean_completion_tokens"], 0),
            number(row["mean_cost"], 3),
            *(number(row[f"p{q}_ms"], 0) for q in (50, 95, 99)),
            percent(row["inside"]),
            _points(row["inside_low"], row["inside_high"]),
        ]
        for row in rows
    ]
    return Table(f"{where}: work a question", columns, cells)


def _coverage(where: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    shares = [percent(entry["coverage"], 0) for entry in rows[0]["coverage"]]
    cells = [
        [
            row["strategy"],
            *(_cell(entry["accuracy"], entry["low"], entry["high"]) for entry in row["coverage"]),
        ]
        for row in rows
    ]
    cells += [
        [f"({name})", *(percent(entry["floors"][name]) for entry in rows[0]["coverage"])] for name in rows[0]["floors"]
    ]
    title = f"{where}: accuracy on the share of questions that is surest; guessers on {rows[0]['strategy']}'s"
    return Table(title, ("strategy", *shares), cells)


def _pairs(where: str, measure: str, pairs: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("first less second", measure, "95 %", "only first", "only second", "p", "searches", "cost", "ms", "95 %")
    return Table(f"{where}: paired differences", columns, [_pair(row) for row in pairs])


def _pair(row: Mapping[str, Any]) -> list[str]:
    quality = row["quality"]
    counts = [str(quality[name]) if quality["p"] is not None else "-" for name in ("only_first", "only_second")]
    latency = row.get("latency_ms", {})
    return [
        f"{row['first']} - {row['second']}",
        f"{quality['difference'] * 100:+.1f}",
        _points(quality["low"], quality["high"], signed=True),
        *counts,
        _p(quality["p"]),
        *(_signed(row.get(name, {}).get("difference"), digits) for name, digits in (("searches", 2), ("cost", 3))),
        _signed(latency.get("difference"), 0),
        f"{latency['low']:+.0f}..{latency['high']:+.0f}" if latency else "-",
    ]


def _unchanged(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("strategy", "variant", "questions", "own choice kept", "95 %", "most probable kept", "95 %")
    cells = [
        [
            row["strategy"],
            row["variant"],
            str(row["questions"]),
            *_kept(row, "own"),
            *_kept(row, "picked"),
        ]
        for row in rows
    ]
    return Table("Choices where the options are put another way", columns, cells)


def _kept(row: Mapping[str, Any], name: str) -> Iterator[str]:
    yield percent(row[name])
    yield _points(row[f"{name}_low"], row[f"{name}_high"])


def _cell(value: float, low: float, high: float) -> str:
    """A share with its interval in one cell."""
    return f"{percent(value)} ({_points(low, high)})"


def _points(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Two ends of an interval in percentage points."""
    if low is None or high is None:
        return "-"
    return f"{low * 100:+.1f}..{high * 100:+.1f}" if signed else interval(low * 100, high * 100, 1)


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else number(value, 3)


def _signed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"
