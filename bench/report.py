"""Tables for a reader, and the one line of JSON for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

__all__ = ["last_line", "overhead_tables", "refusal_table", "retrieval_tables"]

_RETRIEVAL_COLUMNS: Final = (
    "strategy",
    "found",
    "recall",
    "95 % interval",
    "searches",
    "p50 ms",
    "p95 ms",
    "refused",
    "refused unansw.",
    "Brier",
    "errors",
)


def last_line(value: Mapping[str, Any]) -> None:
    """Write the JSON object as one line, last, on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.0f} %"


def _rows(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def retrieval_tables(
    console: Console, scores: Sequence[Mapping[str, Any]], comparison: Sequence[Mapping[str, Any]]
) -> None:
    """Recall, refusals and latency by strategy; recall by difficulty; the reliability of relevance."""
    _rows(
        console,
        "All evidence kept, at most 10 passages and 2,000 words",
        _RETRIEVAL_COLUMNS,
        [
            [
                score["strategy"],
                f"{score['found']}/{score['questions']}",
                _percent(score["recall_at_10"]),
                "..".join(_number(end) for end in score["recall_interval_95"]),
                _number(score["mean_searches"]),
                *(_number((score["latency_ms"] or {}).get(key), 1) for key in ("p50", "p95")),
                _percent(score["refused_answerable"]),
                _percent(score["refused_unanswerable"]),
                _number(score["brier"], 3),
                str(score["errors"]),
            ]
            for score in scores
        ],
    )
    names = sorted({name for score in scores for name in score["by_difficulty"]})
    _rows(
        console,
        "By difficulty",
        ["strategy", *names],
        [
            [score["strategy"], *(f"{group['found']}/{group['n']}" for group in map(score["by_difficulty"].get, names))]
            for score in scores
        ],
    )
    for score in scores:
        _reliability(console, score)
    for row in comparison:
        console.print(
            f"{row['first']} less {row['second']}: {row['recall_difference']:+.2f} "
            f"(95 % {row['interval_95'][0]:+.2f}..{row['interval_95'][1]:+.2f}); "
            f"only {row['first']}: {', '.join(row['only_first']) or 'none'}; "
            f"only {row['second']}: {', '.join(row['only_second']) or 'none'}",
            highlight=False,
        )


def _reliability(console: Console, score: Mapping[str, Any]) -> None:
    for what, title in (
        ("passages", "relevance of a kept passage against whether it carries evidence"),
        ("best_of_question", "best relevance of a question against whether all its evidence was kept"),
    ):
        figures = score["relevance"][what]
        if figures is None:
            continue
        _rows(
            console,
            f"{score['strategy']}: {title} (n {figures['n']}, Brier {figures['brier']:.3f}, "
            f"calibration error {figures['expected_error']:.3f})",
            ["relevance", "n", "mean", "share true", "95 % interval"],
            [
                [
                    f"{row['from_probability']:.1f}..{row['to_probability']:.1f}",
                    str(row["n"]),
                    _number(row["mean_probability"]),
                    _number(row["share_true"]),
                    f"{row['low']:.2f}..{row['high']:.2f}",
                ]
                for row in figures["bins"]
            ],
        )


def refusal_table(console: Console, score: Mapping[str, Any]) -> None:
    """How soon questions over capacity were refused."""
    sides = (
        ("callers", str(score["refused"]), score["refusal_ms"]),
        ("handler", str(score["served"]), score["handler_ms"]),
        ("a timer, late by", "-", score["timer_late_ms"]),
    )
    _rows(
        console,
        "Refusals",
        ["seen by", "refused", "p50 ms", "p95 ms", "p99 ms"],
        [
            [side, refused, *(_number((times or {}).get(key), 2) for key in ("p50", "p95", "p99"))]
            for side, refused, times in sides
        ],
    )
    _rows(
        console,
        "Beside them",
        ["handler within 10 ms", "try again in s", "taken", "answered meanwhile"],
        [
            [
                _number(score["within_10_ms"], 4),
                _number(score["retry_after_s"], 3),
                str(score["taken"]),
                str(score["answered_meanwhile"]),
            ]
        ],
    )


def overhead_tables(
    console: Console, phases: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]
) -> None:
    """Latency and throughput by phase, where a question's time went, and processor time by process."""
    names = [phase["phase"] for phase in phases]
    _rows(
        console,
        "Latency and throughput",
        [
            "phase",
            "questions",
            "in flight",
            "p50 ms",
            "p95 ms",
            "mean ms",
            "questions/s",
            "cores used",
            "by others",
            "errors",
        ],
        [
            [
                phase["phase"],
                str(phase["questions"]),
                str(phase["in_flight"]),
                *(_number((phase["latency_ms"] or {}).get(key), 1) for key in ("p50", "p95", "mean")),
                _number(phase["questions_per_s"], 1),
                _number(phase["cpu_cores_used"]),
                _number(phase["others_cores_used"]),
                str(phase["errors"]),
            ]
            for phase in phases
        ],
    )
    for key, title in (
        ("own_ms", "Where a question's time goes: exclusive ms a question; the shares add up to its mean"),
        ("cpu_ms_per_question", "Processor time, ms a question"),
    ):
        owners = list(dict.fromkeys(owner for phase in phases for owner in phase[key]))
        _rows(
            console,
            title,
            ["", *names],
            [[owner, *(_number(phase[key].get(owner)) for phase in phases)] for owner in owners],
        )
    methods = sorted({method for phase in phases for method in phase["hops"]})
    _rows(
        console,
        "Calls: number a question / mean ms / of which inside the service",
        ["", *names],
        [[method, *(_hop(phase["hops"].get(method)) for phase in phases)] for method in methods],
    )
    for target in targets:
        console.print(
            f"{'met' if target['met'] else 'MISSED'}: {target['what']}, got {target['got']:.1f}", highlight=False
        )


def _hop(row: Mapping[str, float] | None) -> str:
    return f"{row['calls_per_question']:.2f} / {row['mean_ms']:.2f} / {row['service_mean_ms']:.2f}" if row else "-"
