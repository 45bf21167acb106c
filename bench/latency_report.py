"""What a latency record is turned into: tables on a terminal, the same as Markdown, two CSV files, and the figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console

from bench.latency_score import PERCENTILES, measurement_rows, score, summary_rows
from bench.plot_latency import plot_latency
from bench.record import Run
from bench.table import interval, markdown, number, percent, show, write_csv

__all__ = ["duration", "report"]

_LATENCY: Final = ("", "latency ms", "95 % interval")
_FIRST: Final = ("first words ms", "95 % interval")
_COMPONENTS: Final = (
    "component",
    "mean ms",
    "95 % interval",
    "share",
    "p50 ms",
    "p95 ms",
    "critical path ms",
    "its share",
)
_STATISTICS: Final = ("mean", "sd", "min", *(f"p{q}" for q in PERCENTILES), "max")
_NAMES: Final = {"p50": "median (p50)"}


def report(run: Run, console: Console) -> dict[str, Any]:
    """Print the tables, and write Markdown, CSV files and the figure beside the record.

    Returns:
        The scores, with the files under "files".
    """
    scores = score(run)
    stem = run.stem
    tables = _tables(run, scores)
    for title, columns, rows in tables:
        show(console, title, columns, rows)
    lines = _lines(scores)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    parts = [f"**{title}**\n\n{markdown(columns, rows)}" for title, columns, rows in tables]
    files = {
        "tables": stem.with_suffix(".md"),
        "measurements": stem.with_name(f"{stem.name}-measurements.csv"),
        "summary": stem.with_name(f"{stem.name}-summary.csv"),
    }
    files["tables"].write_text("\n".join([*parts, *(f"- {line}" for line in lines), ""]), encoding="utf-8")
    write_csv(files["measurements"], measurement_rows(run))
    write_csv(files["summary"], summary_rows(scores))
    if scores["latency_ms"] is not None:
        files["figure"] = stem.with_suffix(".png")
        plot_latency(run, files["figure"])
    return {**scores, "files": files}


def _tables(run: Run, scores: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    latency, first = scores["latency_ms"], scores["first_delta_ms"]
    if latency is None:
        return []
    settings = run.head["settings"]
    load = (
        f"{settings['rate_per_s']:g} questions/s, latency from the intended start"
        if settings["concurrency"] is None
        else f"{settings['concurrency']} in flight"
    )
    rows = [
        [
            _NAMES.get(name, name),
            *_figure(latency[name]),
            *(_figure(first[name]) if first else ()),
        ]
        for name in _STATISTICS
    ]
    components = [
        [
            row["component"].replace("_", " "),
            number(row["mean_ms"]),
            interval(row["low"], row["high"]),
            percent(row["share"]),
            number(row["p50_ms"]),
            number(row["p95_ms"]),
            number(row["critical_ms"]),
            percent(row["critical_share"]),
        ]
        for row in scores["components"]
    ]
    components.append(
        [
            "sum",
            number(sum(row["mean_ms"] for row in scores["components"])),
            "",
            percent(sum(row["share"] for row in scores["components"])),
            "",
            "",
            number(sum(row["critical_ms"] for row in scores["components"])),
            percent(sum(row["critical_share"] for row in scores["components"])),
        ]
    )
    answered = scores["questions"] - scores["errors"]
    return [
        (f"Latency of {answered:,} questions, {load}", [*_LATENCY, *(_FIRST if first else ())], rows),
        ("Where the time goes: exclusive ms a question, and what its end waited for", list(_COMPONENTS), components),
    ]


def _figure(figure: Mapping[str, float | None]) -> list[str]:
    return [number(figure["value"], 1), interval(figure["low"], figure["high"], 1)]


def _lines(scores: Mapping[str, Any]) -> list[str]:
    inside, rate = scores["inside"], scores["throughput"]
    lines = [
        f"within {scores['budget_ms']:,} ms: {percent(inside['value'])} "
        f"(95 % {interval(inside['low'] * 100, inside['high'] * 100, 1)} %), "
        f"{inside['n']:,} of {scores['questions']:,} questions, "
        f"{scores['errors']:,} of which failed{_failures(scores)}",
        f"{scores['distinct']:,} of the questions differ; {scores['degraded']:,} answers were degraded, "
        f"{scores['abstained']:,} abstained; a question took {number(scores['mean_searches'])} searches, "
        f"{number(scores['mean_prompt_tokens'], 0)} prompt and {number(scores['mean_completion_tokens'], 0)} "
        "completion tokens",
    ]
    if rate is not None:
        lines += [
            f"{rate['extrapolated_questions']:,} questions would take {duration(rate['extrapolated_s'])} "
            f"(95 % {duration(rate['extrapolated_low_s'])} to {duration(rate['extrapolated_high_s'])}): {rate['how']}",
        ]
    if scores["others_cores_used"] is not None:
        lines.append(
            f"stack and load generator used {number(scores['cores_used'])} cores, "
            f"everything else on this machine {number(scores['others_cores_used'])}"
        )
    if scores["generator_late_p99_ms"] > 10:
        lines.append(f"the load generator was up to {scores['generator_late_p99_ms']:.0f} ms late (p99): it was busy")
    return lines


def _failures(scores: Mapping[str, Any]) -> str:
    """The failed ones by status, most frequent first; empty where none failed."""
    named = ", ".join(f"{count:,} {status}" for status, count in scores["failures"].items())
    return f" ({named})" if named else ""


def duration(seconds: float) -> str:
    """A time as a reader would say it: "8.3 s", "12.5 min", "3.2 h"."""
    if seconds < 120:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
