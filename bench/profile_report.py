"""What a record of profiles is turned into: tables on a terminal, the same as Markdown, and a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console

from bench.profile_score import score_profiles
from bench.record import Run
from bench.table import interval, markdown, number, percent, show, write_csv

__all__ = ["report"]

_ROLES: Final = ("decomposer", "synthesizer")
_CONFIGURATION: Final = ("profile", "decomposer", "synthesizer", "what it is")
_LATENCY: Final = ("profile", "mean ms", "p50 ms", "p95 ms", "inside", "per s", "speed-up", "95 % interval", "errors")
_ANSWERS: Final = (
    "profile",
    "similarity",
    "95 % interval",
    "same text",
    "prompt tokens",
    "of which cached",
    "completion tokens",
    "degraded",
)


def report(run: Run, console: Console) -> list[dict[str, Any]]:
    """Print the tables, and write Markdown and CSV beside the record.

    Returns:
        The scores of the profiles, in their order.
    """
    scores = score_profiles(run)
    settings, reference = run.head["settings"], scores[0]["reference"]
    against = f"against {reference}" if reference else "against none, since none answered"
    tables = [
        ("Configuration", _CONFIGURATION, [_configuration(row) for row in run.of_kind("profile")]),
        (
            f"Latency of {settings['count']:,} questions, {settings['concurrency']} in flight; speed-up {against}",
            _LATENCY,
            [_latency(score) for score in scores],
        ),
        (
            f"Answers: similarity (ROUGE-L) {against}; tokens a question",
            _ANSWERS,
            [_answers(score) for score in scores],
        ),
    ]
    for title, columns, rows in tables:
        show(console, title, columns, rows)
    stem = run.stem
    text = "\n".join(f"**{title}**\n\n{markdown(columns, rows)}" for title, columns, rows in tables)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    write_csv(stem.with_suffix(".csv"), [_flat(score) for score in scores])
    return scores


def _configuration(row: Mapping[str, Any]) -> list[str]:
    engines = [row["engines"].get(role) for role in _ROLES]
    named = ["-" if engine is None else " ".join(filter(None, (engine["name"], engine["model"]))) for engine in engines]
    return [row["profile"], *named, _what(row)]


def _what(row: Mapping[str, Any]) -> str:
    if row["error"]:
        lines = str(row["error"]).splitlines()
        # A service says in its log why it does not start; what the launcher makes of it comes last.
        return next((line.partition("ERROR")[2].strip() for line in lines if "ERROR" in line), lines[-1])
    described, own = row["described"], [f"{name}={value}" for name, value in row["own"].items()]
    changes = [f"{one['setting']} {one['before']} -> {one['after']}" for one in described.get("changes", ())]
    label = (
        [described["label"] if not changes else f"{described['base']} with {'; '.join(changes)}"] if described else []
    )
    return ", ".join([*label, *own]) or "-"


def _latency(score: Mapping[str, Any]) -> list[str]:
    latency, speed = score["latency_ms"] or {}, score["speed_up"] or {}
    return [
        score["profile"],
        *(number(latency.get(name, {}).get("value"), 1) for name in ("mean", "p50", "p95")),
        percent(score["inside"]["value"]),
        number(score["questions_per_s"], 1),
        number(speed.get("value")),
        interval(speed.get("low"), speed.get("high")),
        str(score["errors"]),
    ]


def _answers(score: Mapping[str, Any]) -> list[str]:
    alike = score["similarity"] or {}
    return [
        score["profile"],
        number(alike.get("value")),
        interval(alike.get("low"), alike.get("high")),
        percent(score["same_text"], 0),
        number(score["mean_prompt_tokens"], 0),
        number(score["mean_cached_tokens"], 0),
        number(score["mean_completion_tokens"], 0),
        str(score["degraded"]),
    ]


def _flat(score: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the file: figures with their ends beside them."""
    row: dict[str, Any] = {}
    for name, value in score.items():
        if name == "latency_ms":
            for statistic, figure in (value or {}).items():
                row |= {f"latency_{statistic}_ms": figure["value"]}
                row |= {f"latency_{statistic}_{end}_ms": figure[end] for end in ("low", "high")}
        elif isinstance(value, dict) and "value" in value:
            row |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        elif not isinstance(value, dict):
            row[name] = value
    return row
